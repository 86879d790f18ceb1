"""A hierarchy of your own, from its description to what its options do, in a minute or two on one core.

    python -m optioncoagent.examples.own_hierarchy [--env-id MiniGrid-DoorKey-5x5-v0] [--total-timesteps 60000] [--out own_hierarchy.png]

1. describe    what each coagent reads and when it executes: `describe`
2. check       its gradient, exact beside central differences and beside sampled episodes: `check`
3. train       it on MiniGrid, from the same description
4. see         an episode: pictures, which output of which coagent was in force, what each option would have done: `play`, `draw`

Change `describe`; the rest follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import tyro
from scipy.special import erf

import optioncoagent as oc
from optioncoagent import outputs
from optioncoagent.network import CoagentNetwork

ACTIONS = ("left", "right", "forward", "pick up", "drop", "toggle", "done")  # MiniGrid's
PICTURES = 6


def describe(num_actions: int) -> CoagentNetwork:
    """Four options that end where they have learned to, chosen under a plan that a manager makes anew every eight steps on average.

    S_t ──► manager                     executes at the first step, then with probability 1/8
               │   ω_{t-1}
               ▼    ▼
    S_t ──► termination ┄┄ gates ┄┄► option ──► action
                                      ▲ manager, S_t
    """
    return oc.CoagentNetwork(
        [
            oc.Coagent("manager", 2, executes=lambda x: 1 / 8 + 7 / 8 * x.start),
            oc.Coagent("termination", 2, upstream=("manager",), previous=("option",), executes=lambda x: ~x.start, initial=oc.TERMINATE),
            oc.Coagent("option", 4, upstream=("manager",), executes=lambda x: x.upstream["termination"] == oc.TERMINATE),
            oc.Coagent("action", num_actions, upstream=("option",)),
        ]
    )


class Check(NamedTuple):
    """difference: the largest between the exact gradient and central differences. errors: the largest distance of the gradient from
    sampled episodes, in standard errors, over `entries` of them, those that episodes vary. size: the largest entry of the gradient."""

    difference: float
    errors: float
    entries: int
    size: float


def check(episodes: int = 100_000) -> Check:
    """The gradient of the description on the 3x3 gridworld, at random parameters, by three roads."""
    mdp = oc.MDP.from_env(gym.make("optioncoagent_envs:OptionCoagent/Gridworld-v0"), gamma=0.9)
    network = describe(mdp.num_actions)
    params = network.init_params(mdp.num_observations, seed=0)
    exact = oc.policy_gradient(mdp, network, params)
    slopes = oc.finite_difference(mdp, network, params)
    sampled = oc.estimate_gradient(mdp, network, params, episodes)
    return Check(
        max(float(np.abs(exact[name] - slopes[name]).max()) for name in exact),
        max(float((np.abs(sampled.mean[name] - exact[name]) / (sampled.standard_error[name] + 1e-9)).max()) for name in exact),
        sum(int((error > 0).sum()) for error in sampled.standard_error.values()),
        max(float(np.abs(exact[name]).max()) for name in exact),
    )


def largest_of(n: int) -> float:
    """The expectation of the largest absolute value of n independent standard normals: what the errors of a right gradient come to."""
    x = np.linspace(0.0, 10.0, 10_001)
    # E max = ∫ 1 − Pr(|Z| ≤ x)^n dx
    return float(np.trapezoid(1 - erf(x / np.sqrt(2)) ** n, x))


class Step(NamedTuple):
    """image: before the action. outputs: {coagent: its output}. policy: (options, actions), what each option would do here."""

    image: np.ndarray
    outputs: dict[str, int]
    policy: np.ndarray


def play(agent: oc.CoagentActorCritic, seed: int = 3, max_steps: int = 100) -> list[Step]:
    """An episode in the level of that seed."""
    from optioncoagent_envs import make_minigrid

    env = make_minigrid(agent.interface.env_id, num_envs=1, seed=seed, render_mode="rgb_array")
    observation, _ = env.reset(seed=seed)
    steps, state, over = list[Step](), None, False
    while not over and len(steps) < max_steps:
        image: Any = env.render()
        policy = agent.probabilities(observation, state)["action"][0]
        action, state = agent.predict(observation, state)
        outputs, _ = agent.acted
        steps.append(Step(image[0], {name: int(output[0]) for name, output in outputs.items()}, policy))
        observation, _, terminated, truncated, _ = env.step(action)
        over = bool(terminated[0] or truncated[0])
    env.close()
    return steps


def draw(network: CoagentNetwork, steps: list[Step], title: str) -> Any:
    """A matplotlib Figure: pictures of the episode, the outputs in force, and the probability of each action under each option."""
    from matplotlib.figure import Figure

    num_options = network["option"].num_outputs
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    grid = figure.add_gridspec(3, 1, height_ratios=[2.2, 1.2, 2.8])
    figure.suptitle(title, fontsize=10)

    shown = np.unique(np.linspace(0, len(steps) - 1, PICTURES).round().astype(int))
    cells = grid[0].subgridspec(1, PICTURES)
    for column, t in enumerate(shown):
        axes = figure.add_subplot(cells[column])
        axes.imshow(steps[t].image)
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"step {t}, option {steps[t].outputs['option']}", fontsize=8)

    axes = figure.add_subplot(grid[1])
    names = [name for name in network.names if name != "action"]
    outputs = np.array([[step.outputs[name] for step in steps] for name in names])
    axes.imshow(outputs, aspect="auto", cmap="tab10", vmin=0, vmax=10, interpolation="nearest")
    for row, column in np.ndindex(*outputs.shape):
        axes.text(column, row, str(outputs[row, column]), ha="center", va="center", fontsize=6, color="white")
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("step", fontsize=8)
    axes.set_title(f"outputs in force, step by step (termination: {oc.TERMINATE} ends the option)", fontsize=9)

    panels = grid[2].subgridspec(1, num_options)
    image: Any = None
    for option in range(num_options):
        axes = figure.add_subplot(panels[option])
        image = axes.imshow([step.policy[option] for step in steps], aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        for t, step in enumerate(steps):
            if step.outputs["option"] == option:
                axes.plot(step.outputs["action"], t, "o", color="C3", markersize=3)
        axes.set_xticks(range(len(ACTIONS)), ACTIONS, rotation=90, fontsize=7)
        axes.set_title(f"option {option}", fontsize=9)
        axes.set_yticks([]) if option else axes.set_ylabel("step", fontsize=8)
    figure.colorbar(image, ax=figure.axes[-num_options:], label="probability (dots: what was done)", shrink=0.9)
    return figure


@dataclass(frozen=True)
class OwnHierarchy:
    """Describe a hierarchy, check its gradient, train it on MiniGrid, see its options."""

    env_id: str = "MiniGrid-DoorKey-5x5-v0"
    """A task of MiniGrid."""
    total_timesteps: int = 60_000
    """Steps of training."""
    seed: int = 0
    """Seed of the training."""
    out: Path = Path("own_hierarchy.png")
    """Picture to write."""

    def run(self) -> None:
        outputs.check_file("out", self.out, outputs.PICTURES)
        network = describe(len(ACTIONS))
        print(f"{network}\nwhat the next step must know: {network.memory}; what the critic knows: {network.critic_inputs}")
        found = check()
        print(f"the gradient, exact: {found.size:.3f} at most; from central differences {found.difference:.1e}")
        usual = f"of as many normals: {largest_of(found.entries):.1f}"
        print(f"from samples {found.errors:.1f} standard errors, the largest of {found.entries} ({usual})")

        agent = oc.CoagentActorCritic(self.env_id, describe, seed=self.seed)
        agent.learn(self.total_timesteps, progress_bar=True)
        print(f"evaluated: {agent.evaluate(100)}")

        steps = play(agent)
        title = f"{self.env_id} after {agent.num_timesteps:,} steps of training: an episode of {len(steps)} steps"
        with outputs.whole(self.out) as file:
            draw(agent.network, steps, title).savefig(file, dpi=110)
        print(self.out)


if __name__ == "__main__":
    tyro.cli(OwnHierarchy).run()
