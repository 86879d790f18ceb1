"""Corridors: what is exact of the first episode, and when a run counts as learned."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from run_folders import benchmark

import optioncoagent as oc


@pytest.fixture
def corridors(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))  # it imports what lies beside it
    return benchmark("long_corridors")


@pytest.mark.parametrize("n", [2, 7])
def test_an_even_policy_needs_n_squared_less_n_steps(corridors, n):
    for agent in ("flat", "4 options", "2 options, made, 1"):  # left and right are as likely, whatever the option
        assert corridors.at_first(agent, n) == pytest.approx(n * (n - 1))


def test_what_holds_actions_is_sooner_at_the_end(corridors):
    steps = {agent: corridors.at_first(agent, 20) for agent in corridors.AGENTS}
    assert max(steps["flat, sticky"], steps["flat, gated"], steps["2 options, made"], steps["2 options, made, 8"]) < steps["flat"] / 2
    assert steps["4 options, different"] > steps["flat"]


def test_every_agent_has_parameters_that_fit(corridors):
    for agent in corridors.AGENTS.values():
        network = agent.network()
        assert np.isfinite(oc.expected_return(corridors.corridor(5), network, agent.begins(network, 5, np.random.default_rng(0))))


def test_a_run_is_learned_after_the_first_twenty_short_episodes(corridors, monkeypatch):
    """Of 4 cells, 2 (n - 1) = 6 steps: the first run has a mean of 6 over episodes 10 … 29, the second never."""
    steps = np.full((2, corridors.EPISODES), 7)
    steps[0, 10:30] = 6
    monkeypatch.setattr(corridors, "actor_critic", lambda *_, **__: SimpleNamespace(steps=steps))
    found, learned = corridors.steps_until_learned("flat", 4, corridors.GRID[0], 2, 0, 1)
    assert learned.tolist() == [True, False] and found.tolist() == [70 + 120, 2 * 7 * corridors.EPISODES]


def test_rows_are_filled_once_and_shown(corridors, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(corridors, "ROWS", tmp_path / "rows.csv")
    monkeypatch.setattr(corridors, "SEEDS", 3)
    monkeypatch.setitem(corridors.TUNED, ("flat", 4), (8.0, 0.3, 0.5))
    corridors.fill(("flat",), (4,), 1)
    there = (tmp_path / "rows.csv").read_text()
    corridors.fill(("flat",), (4,), 1)
    assert (tmp_path / "rows.csv").read_text() == there and len(there.splitlines()) == 4
    corridors.table((4,))
    *_, line = capsys.readouterr().out.splitlines()
    assert line.startswith("| flat | 12 | ") and " ± " in line and "learned)" not in line
    corridors.picture((4,)).savefig(tmp_path / "picture.png")
