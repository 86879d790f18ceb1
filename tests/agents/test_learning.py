"""Learning goes on, is the same for the same seed, and learns."""

import functools
import io
import sys

import numpy as np
import pytest
from small import GRIDWORLD, SMALL, appendix_d, same, without_times
from tqdm import tqdm

import optioncoagent as oc
from optioncoagent.agents import bar


def test_the_same_seed_gives_the_same_run():
    rows = [oc.OptionCritic("MiniGrid-Empty-5x5-v0", seed=seed, **SMALL).learn(200).update() for seed in (0, 0, 1)]
    assert same(*map(without_times, rows[:2])) and not same(*map(without_times, rows[1:]))


def test_learn_goes_on_in_whole_rollouts():
    agent = oc.OptionCritic("CartPole-v1", **SMALL)
    assert agent.learn(65) is agent and agent.num_timesteps == 128
    assert agent.learn(10).num_timesteps == 192


@pytest.mark.parametrize("says, updates", [(False, 2), (np.False_, 2), (None, 4), (True, 4), (0.0, 4)])
def test_a_callback_stops_with_false(says, updates):
    agent, seen, logged = oc.OptionCritic("CartPole-v1", **SMALL), [], []

    def callback(*given):
        seen.append(given)
        return says if len(seen) == 2 else None

    assert agent.learn(256, log=logged.append, callback=callback) is agent
    assert len(seen) == updates == len(logged) and agent.num_timesteps == 64 * updates
    assert all(given == (agent, row) for given, row in zip(seen, logged, strict=True))


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "network",
    [
        pytest.param(lambda n: appendix_d(n), id="appendix D"),
        pytest.param(lambda n: oc.option_critic((2, 2), n), id="two levels", marks=pytest.mark.slow),
    ],
)
def test_any_network_learns_the_gridworld(network, seed):
    """From about −40 for random moves; 4 steps are the least, and appendix D executes a coagent only every other step."""
    agent = oc.CoagentActorCritic(GRIDWORLD, network, hidden_sizes=(), learning_rate=0.02, seed=seed).learn(40_000)
    first = oc.CoagentActorCritic(GRIDWORLD, network, hidden_sizes=(), seed=seed).update()["return_mean"]
    assert first < -20 and np.mean(agent.recent, axis=0)[0] > -14


@pytest.mark.parametrize("lines", [0, 1, 2])
def test_a_progress_bar_that_cannot_be_written_ends_no_training(monkeypatch, lines):
    class Gone(io.StringIO):
        """Whoever read has gone after so many lines."""

        written = 0

        def write(self, text):
            self.written += 1
            if self.written > lines:
                raise BrokenPipeError
            return super().write(text)

    monkeypatch.setattr(sys, "stderr", gone := Gone())
    monkeypatch.setattr(bar, "tqdm", functools.partial(tqdm, mininterval=0))
    monkeypatch.setattr(tqdm, "monitor_interval", 0)
    agent = oc.OptionCritic(GRIDWORLD, num_options=2, **SMALL)
    assert agent.learn(256, progress_bar=True).num_timesteps == 256 and gone.written > lines
