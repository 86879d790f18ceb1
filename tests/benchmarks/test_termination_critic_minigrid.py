"""The termination critic of the deep learner: what it counts, and the gradient that this comes to, against the exact one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from run_folders import benchmark
from small import SMALL, random_mdp

from optioncoagent.agents.rollout import Rollout, collect
from optioncoagent.agents.targets import make_batch
from optioncoagent.gallery import TERMINATE, option_critic


@pytest.fixture
def critic(monkeypatch):
    """The benchmark; it imports what lies beside it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return benchmark("termination_critic_minigrid")


def rollout(places, options, ends, terminated=(), truncated=(), start=()):
    """One environment: the place and the option of each step, where a termination was asked and ended one, and how steps ended."""
    T = len(options)

    def at(indices):
        return torch.tensor([[t in indices] for t in range(T)])

    option = torch.tensor(options)[:, None]
    previous = torch.cat([torch.zeros(1, 1, dtype=torch.long), option[:-1]])
    first = at({0, *start})
    return Rollout(
        observation={}, start=first, valid=torch.ones(T, 1, dtype=torch.bool), age=torch.zeros(T, 1), previous={"option": previous},
        outputs={"option": option, "termination": torch.where(at(ends), TERMINATE, 1 - TERMINATE)}, executed={"termination": ~first},
        reward=torch.zeros(T, 1), terminated=at(terminated), truncated=at(truncated), last={}, final_index=torch.zeros(0, 2),
        final_observation=None, places=np.array([*places, 9]).reshape(-1, 1, 1),
    )  # fmt: skip


def test_where_options_ended_and_what_going_on_led_to(critic):
    # option 0 from place 3 to 5, option 1 from there to the end of the episode; option 0 from 3 on, left by the rollout
    seen = critic.endings(rollout([3, 4, 5, 4, 3, 4], [0, 0, 1, 1, 0, 0], ends={2}, terminated={3}, start={4}), 2)
    places = [3, 4, 5]
    assert seen.p.tolist() == [[0, 0, 1, 0], [0, 0, 0, 1]] and seen.often.tolist() == [1, 1]
    assert seen.known[:, 0].tolist() == [False, True, False, True, False, True]  # the last by what the second step went on to
    assert places[int(np.argmax(seen.p[0]))] == 5 and seen.values[1, 0, 1 - TERMINATE] == 0.0  # ln 1


def test_what_a_time_limit_cut_off_ended_nowhere(critic):
    ended = dict(places=[3, 4, 5, 4], options=[0, 0, 0, 0], ends=set(), start={3})
    assert critic.endings(rollout(**ended, terminated={2}), 1).p[0, -1] == 1.0
    cut = critic.endings(rollout(**ended, truncated={2}), 1)
    assert cut.often[0] == 0 and not cut.known.any()


def collected(critic, steps):
    """A rollout of tables that do not learn, on a small MDP whose episodes end."""
    mdp = random_mdp(seed=5, num_states=6, gamma=1 - 1e-9)
    network = option_critic(4, mdp.num_actions)
    env = SyncVectorEnv([mdp.to_env] * 16, autoreset_mode=AutoresetMode.SAME_STEP)
    agent = critic.Foretelling(env, network, hidden_sizes=(), dtype="float64", **SMALL | {"num_envs": 16})
    agent.set_params(mdp, network.init_params(mdp.num_observations, seed=1, scale=1.0))
    agent.running = agent._start()
    found = collect(agent.module, agent.sampler, agent.spec, agent.running, steps)
    (shown,), (last,) = found.observation.values(), found.last.values()
    return mdp, agent, replace(found, places=torch.cat([shown, last[None]]).reshape(steps + 1, 16, 1).numpy())


@pytest.mark.slow
def test_what_terminations_learn_from_is_the_exact_gradient(critic):
    mdp, agent, found = collected(critic, 6000)
    params, seen, exact = agent.params(mdp), critic.endings(found), benchmark("termination_critic")
    assert seen.p == pytest.approx(exact.places(mdp, params), abs=0.02)

    b = option_critic(4, mdp.num_actions).policies(params, mdp.num_observations)["termination"][..., TERMINATE]
    at = found.places[:-1, :, 0], found.previous["option"].numpy()
    ours, gap = np.zeros_like(b), seen.values[..., TERMINATE] - seen.values[..., 1 - TERMINATE]
    np.add.at(ours, at, seen.known * b[at] * (1 - b[at]) * gap)
    ours, theirs = ours / seen.often, exact.gradient(mdp, params)[..., TERMINATE]  # of each option by itself, however often it begins
    assert ours == pytest.approx(theirs, abs=0.05 * np.abs(theirs).max())


def test_the_terminations_alone_learn_from_it(critic):
    mdp, agent, found = collected(critic, 200)
    batch = make_batch(agent.module, agent.spec, found, agent.settings, agent.forms)
    seen = critic.endings(found)
    learned = agent.foretold(seen, batch.learned)
    of_termination = (agent.module.part == agent.loss_names.index("termination/loss"))[:-1]
    assert torch.equal(learned[:, :, ~of_termination], batch.learned[:, :, ~of_termination])
    assert torch.equal(learned[:, [0, 2]], batch.learned[:, [0, 2]])
    # Σ_u ∂ρ_u a_u is the same for all that is added to both values; in standard deviations of what ending is worth over going on
    pi, a = learned[:, 0, of_termination].exp(), learned[:, 1, of_termination]
    gap = torch.as_tensor((seen.values[..., TERMINATE] - seen.values[..., 1 - TERMINATE]).flatten())
    known = torch.as_tensor(seen.known.flatten())
    assert 0.3 < known.double().mean() < 1 and (a[~known] == 0).all()
    scale = gap[known].square().mean().sqrt()
    torch.testing.assert_close(a[known][:, TERMINATE], (pi[:, 0] * pi[:, 1] * gap / scale)[known], atol=1e-6, rtol=0.0)
    torch.testing.assert_close(a.sum(dim=1), torch.zeros(len(a), dtype=a.dtype), atol=1e-12, rtol=0.0)


@pytest.mark.slow
def test_terminations_that_learn_to_be_foretold_are(critic):
    H = {}
    for name in ("termination critic", "by the return"):
        agent = critic.make(critic.Run("Empty-5x5", name, 0))
        for _ in range(8):
            agent.update()
        H[name] = agent.seen["H"]
        assert agent.settings.int_counts == "place"
    assert H["termination critic"] < H["by the return"]


def test_every_row_is_of_a_run_the_script_knows(critic):
    found = critic.rows.read(critic.ROWS, critic.Run)
    assert found and all(run.task in critic.TASKS and run.agent in critic.AGENTS for run in found)
