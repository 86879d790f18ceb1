"""What steps are paid for exploring: by the library, and by a script with a Counter and sets."""

from collections import Counter

import numpy as np
import torch

import optioncoagent as oc
from optioncoagent.agents.exploration import CountBonus
from optioncoagent.agents.rollout import collect

PLAIN = dict(num_options=2, hidden_sizes=(), int_coef=1.0)


def bonuses(env, counting, num_steps, rollouts, table=2**16, episode=2**8):
    """What the steps (num_steps · rollouts, num_envs) of an environment are paid, and the counts at the end."""
    agent = oc.OptionCritic(env, num_steps=num_steps, **PLAIN)
    counts = CountBonus(agent.spec, env.num_envs, 1.0, counting, table, episode)
    agent.running = agent._start()
    parts = [counts.bonus(collect(agent.module, agent.sampler, agent.spec, agent.running, num_steps)) for _ in range(rollouts)]
    return torch.cat(parts).numpy(), counts


def expected(episodes, num_steps, counting, next_step):
    """The same from the script, with a Counter and a set for each environment; and the Counter."""

    def steps(environment):
        for observations in environment:
            yield from ((observations, k) for k in range(len(observations) - 1))
            if next_step:
                yield observations, None  # the step that resets

    counts, met, paid = Counter(), [set() for _ in episodes], np.zeros((num_steps, len(episodes)))
    streams = [steps(environment) for environment in episodes]
    for t in range(num_steps):
        for i, stream in enumerate(streams):
            observations, k = next(stream)
            if k is None:
                continue
            if k == 0:
                met[i] = {observations[0]}
                counts[observations[0]] += 1
            here, there = observations[k], observations[k + 1]
            if k + 2 == len(observations) or (counting.episodic and there in met[i]):
                continue
            met[i].add(there)
            counts[there] += 1
            paid[t, i] = max(counts[there] ** -counting.power - counting.difference * counts[here] ** -counting.power, 0)
    return paid, counts


def random_episodes(seed, num_envs, num_observations, longest=12, number=200):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, longest, size=(num_envs, number))
    return [[rng.integers(num_observations, size=n).tolist() for n in row] for row in lengths]
