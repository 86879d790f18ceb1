"""Claim: the more a gradient form takes the expectation over, the less it varies: in all, the expected form tens to hundreds of times less
than sampled returns with a baseline, the marginal form another quarter to a third.

For networks on finite MDPs: the variance of one episode's gradient, summed over the parameters of a coagent, over that of the expected
form, for each form of `optioncoagent.simulate.forms`, all from the same number of episodes and with the exact critic; and the largest
distance of an entry's mean from the exact gradient, in standard errors. What the expected form's variance is itself, stands below.

    python benchmarks/variance.py [--episodes 20000] [--threads 2] [--only four-rooms …]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import tyro

import optioncoagent as oc
from optioncoagent.exact import critic_values
from optioncoagent.network import Coagent, CoagentNetwork
from optioncoagent.simulate.forms import FORMS


def bits(num_actions: int) -> CoagentNetwork:
    """Two layers of two bits and an action, each of which executes with probability 1/2 (after ACN, appendix D)."""
    below = [Coagent(name, 2, executes=0.5) for name in ("unit_1_0", "unit_1_1")]
    above = [Coagent(name, 2, observes=False, upstream=("unit_1_0", "unit_1_1"), executes=0.5) for name in ("unit_2_0", "unit_2_1")]
    action = Coagent("action", num_actions, observes=False, upstream=("unit_2_0", "unit_2_1"), executes=0.5)
    return CoagentNetwork([*below, *above, action])


def environment(env_id: str, gamma: float) -> oc.MDP:
    return oc.MDP.from_env(gym.make(f"optioncoagent_envs:OptionCoagent/{env_id}"), gamma)


Problem = tuple[oc.MDP, CoagentNetwork]
PROBLEMS: dict[str, tuple[str, Callable[[], Problem]]] = {
    "gridworld": ("3x3 gridworld, 4 options", lambda: (environment("Gridworld-v0", 0.99), oc.option_critic(4, 4))),
    "four-rooms": ("four rooms, 4 options", lambda: (environment("FourRooms-v0", 0.99), oc.option_critic(4, 4))),
    "two-levels": ("3x3 gridworld, options (2, 3)", lambda: (environment("Gridworld-v0", 0.99), oc.option_critic((2, 3), 4))),
    "three-levels": ("3x3 gridworld, options (2, 2, 2)", lambda: (environment("Gridworld-v0", 0.99), oc.option_critic((2, 2, 2), 4))),
    "bits": ("3x3 gridworld, four asynchronous bits", lambda: (environment("Gridworld-v0", 0.99), bits(4))),
}


@dataclass(frozen=True)
class Benchmark:
    episodes: int = 20_000
    """Of each form."""
    threads: int = 1
    """Threads of the simulator."""
    seed: int = 0
    """Of the parameters, and of the episodes."""
    only: tuple[str, ...] = tuple(PROBLEMS)
    """Names of PROBLEMS."""


def row(mdp: oc.MDP, network: CoagentNetwork, command: Benchmark, form: str) -> dict[str, float] | None:
    """Variance of each coagent's part, {name: variance}, "all": of their sum, "bias": largest, in standard errors. None if not for it."""
    params = network.init_params(mdp.num_observations, command.seed)
    q = critic_values(mdp, network, params)
    baseline = q.reshape(mdp.num_states, -1).mean(axis=1) if form == "score, baseline" else None
    critic = None if form.startswith("score") else q
    try:
        estimate = oc.estimate_gradient(
            mdp, network, params, command.episodes, command.seed, None, command.threads, baseline, True, form.split(",")[0], critic
        )
    except ValueError:
        if "multi_update" not in form:
            raise
        return None
    exact = oc.policy_gradient(mdp, network, params)
    found = {name: float((error**2).sum()) * command.episodes for name, error in estimate.standard_error.items()}
    z = [np.abs(estimate.mean[n] - exact[n])[e > 1e-9] / e[e > 1e-9] for n, e in estimate.standard_error.items()]
    return found | {"all": sum(found.values()), "bias": float(np.concatenate([part.ravel() for part in z]).max())}


def main(command: Benchmark) -> None:
    for name in command.only:
        title, make = PROBLEMS[name]
        mdp, network = make()
        print(f"\n{title}: variance over that of the expected form, {command.episodes:,} episodes of each")
        print(f"{'':22}", *(f"{n:>14}" for n in (*network.names, "all")), f"{'largest bias':>14}")
        base = row(mdp, network, command, "expected")
        assert base is not None
        for form in ("score", "score, baseline", *(form for form in FORMS if form != "score")):
            found = row(mdp, network, command, form)
            if found is not None:
                ratios = (f"{found[n] / base[n]:14.3g}" for n in (*network.names, "all"))
                print(f"{form:22}", *ratios, f"{found['bias']:14.1f}", flush=True)
        print(f"{'expected, itself':22}", *(f"{base[n]:14.3g}" for n in (*network.names, "all")))


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
