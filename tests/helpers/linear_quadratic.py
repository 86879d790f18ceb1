"""A linear-quadratic task with options as a Gymnasium vector environment, and its return in closed form."""

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space


@dataclass(frozen=True)
class Task:
    """s' = drift s + push u + noise ε, paid −(state s² + effort (u − wish)²) at each of `horizon` steps; S_0 ~ N(mean, spread²)."""

    drift: float = 0.8
    push: float = 0.5
    noise: float = 0.3
    state: float = 1.0
    effort: float = 0.4
    wish: float = 0.3
    mean: float = 1.0
    spread: float = 0.7
    horizon: int = 4
    gamma: float = 0.9


class LinearQuadraticEnv(VectorEnv):
    """`num_envs` copies; all of them terminate after the horizon, together."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, task, num_envs, low=-np.inf, high=np.inf):
        self.task, self.num_envs = task, num_envs
        self.single_observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)
        self.single_action_space = gym.spaces.Box(low, high, (1,), np.float64)
        self.observation_space, self.action_space = (
            batch_space(space, num_envs) for space in (self.single_observation_space, self.single_action_space)
        )

    def _draw(self):
        self.s, self.t = self.np_random.normal(self.task.mean, self.task.spread, self.num_envs), 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._draw()
        return self.s[:, None], {}

    def step(self, action):
        task, u = self.task, action[:, 0]
        reward = -(task.state * self.s**2 + task.effort * (u - task.wish) ** 2)
        self.s, self.t = task.drift * self.s + task.push * u + task.noise * self.np_random.normal(size=self.num_envs), self.t + 1
        end = np.full(self.num_envs, self.t == task.horizon)
        if end[0]:
            self._draw()
        return self.s[:, None], reward, end, np.zeros_like(end), {}


def expected_return(task, k, c, log_scale, z, rate):
    """J of u ~ N(k_ω s + c_ω, σ_ω²), where ω ~ softmax(z) is drawn at the first step and then with probability `rate`; tensors (options,).

    ω does not depend on s, so that with p(ω), m(ω) = E[S_t 1{ω_t = ω}] and M(ω) = E[S_t² 1{ω_t = ω}], a = drift + push k, b = push c,

        E[−R_t] = Σ_ω state M + effort (k² M + 2 k (c − wish) m + ((c − wish)² + σ²) p)
        E[S_{t+1} 1] = a m + b p        E[S_{t+1}² 1] = a² M + 2 a b m + (b² + push² σ² + noise²) p

    before the options are drawn anew: p' = (1 − rate) p + rate π Σ p, and m', M' alike. At one step with one option that is
    −J = state E[S²] + effort (k² E[S²] + 2 k (c − wish) E[S] + (c − wish)² + σ²).
    """
    pi, variance = z.softmax(dim=0), (2 * log_scale).exp()
    p, m, M = pi, task.mean * pi, (task.mean**2 + task.spread**2) * pi
    a, b, d = task.drift + task.push * k, task.push * c, c - task.wish
    total = torch.zeros((), dtype=torch.float64)
    for t in range(task.horizon):
        paid = task.state * M + task.effort * (k**2 * M + 2 * k * d * m + (d**2 + variance) * p)
        total = total - task.gamma**t * paid.sum()
        m, M = a * m + b * p, a**2 * M + 2 * a * b * m + (b**2 + task.push**2 * variance + task.noise**2) * p
        p, m, M = ((1 - rate) * x + rate * pi * x.sum() for x in (p, m, M))
    return total


def clipped_return(task, k, c, log_scale, low, high):
    """J of one step from S_0 = mean with spread 0, where the environment takes x = centre + unit u, u ~ N(k s + c, σ²), within [low, high].

    With α, β the bounds and μ, τ the mean and deviation of x, standardised as α' = (α − μ) / τ, the moments of what is taken are

        E[X] = α Φ(α') + β (1 − Φ(β')) + μ (Φ(β') − Φ(α')) + τ (φ(α') − φ(β'))
        E[X²] = α² Φ(α') + β² (1 − Φ(β')) + (μ² + τ²) (Φ(β') − Φ(α')) + τ ((μ + α) φ(α') − (μ + β) φ(β'))
    """
    unit, centre = (high - low) / 2, (high + low) / 2
    mu, tau = centre + unit * (k * task.mean + c), unit * log_scale.exp()
    below, above = (low - mu) / tau, (high - mu) / tau
    cdf, pdf = torch.special.ndtr, lambda x: (-0.5 * x**2).exp() / np.sqrt(2 * np.pi)
    inside = cdf(above) - cdf(below)
    first = low * cdf(below) + high * cdf(-above) + mu * inside + tau * (pdf(below) - pdf(above))
    second = low**2 * cdf(below) + high**2 * cdf(-above) + (mu**2 + tau**2) * inside
    second = second + tau * ((mu + low) * pdf(below) - (mu + high) * pdf(above))
    return -(task.state * task.mean**2 + task.effort * (second - 2 * task.wish * first + task.wish**2)).sum()
