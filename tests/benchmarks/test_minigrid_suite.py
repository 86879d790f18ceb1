"""What the suite's table says is what its rows hold."""

from pathlib import Path

import numpy as np
import pytest
from run_folders import benchmark


@pytest.fixture
def suite(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return benchmark("minigrid_suite")


def row(agent, seed, final, frames, fallen, task="Empty-8x8", levels=18):
    """A run that reached each level, up to 0.90 unless there are fewer, at these frames, and nothing above; shares are of all levels."""
    reached = [str(frames)] * levels
    return {
        "task": task, "agent": agent, "seed": seed, "final_return": final, "reached_frames": " ".join(reached),
        "reached_seconds": " ".join(["1.0"] * len(reached)), "fallen": " ".join([str(fallen)] * len(reached)) if fallen is not None else "",
    }  # fmt: skip


def test_the_rows_that_there_are_have_a_share_for_every_level_that_was_reached(suite):
    """Of the agents whose runs were still there when the column came."""
    with_shares = [row for row in suite.read() if row["fallen"]]
    assert {"options", "flat"} <= {row["agent"] for row in with_shares}
    for row in with_shares:
        reached, shares = row["reached_frames"].split(), np.array(row["fallen"].split(), float)
        assert len(reached) - 1 <= len(shares) <= len(reached) and ((shares >= 0) & (shares <= 1)).all()


def test_what_had_fallen_back_and_what_ended_there_is_counted(suite, capsys):
    rows = [row("options", 0, 0.95, 1000, 0.1), row("options", 1, 0.3, 2000, 0.3), row("flat", 0, 0.9, 4000, None)]
    suite.table(rows, ["Empty-8x8"], ("options", "flat"))
    printed = capsys.readouterr().out
    assert "| Empty-8x8 | 0.85 | 2k | 1 | 2/2 | 20.0% | 0.950 0.300 | 4k | 1 | 1/1 |  | 0.900 |" in printed
    assert "options: below four fifths of what was reached for 20.0% of the steps afterwards, mean over tasks; in the final" in printed
    assert "evaluation 1 of 2 runs that learned are there, 1 below the return itself (Empty-8x8 1 of 2)" in printed
    assert "flat: below" not in printed and "| options / flat | 0.50 | 0.35 (1 tasks) | 1.00 |" in printed


def test_runs_that_learned_and_end_below_are_counted(suite, capsys):
    """The last one has not learned."""
    rows = [row("options", seed, *of) for seed, of in enumerate([(0.95, 1000, 0.1), (0.3, 2000, 0.3), (0.75, 2000, 0.2)])]
    suite.table([*rows, row("options", 3, 0.1, 2000, 0.0, levels=3)], ["Empty-8x8"], ("options",))
    assert "evaluation 1 of 3 runs that learned are there, 2 below the return itself (Empty-8x8 2 of 3)" in capsys.readouterr().out


def test_the_ratio_over_two_tasks_is_the_same_whichever_agent_is_divided(suite, capsys):
    frames = {("Empty-8x8", "options"): 1000, ("Empty-8x8", "flat"): 2000, ("DoorKey-8x8", "options"): 2000, ("DoorKey-8x8", "flat"): 1000}
    rows = [row(agent, 0, 0.9, x, 0.0, task=task) for (task, agent), x in frames.items()]
    suite.table(rows, ["Empty-8x8", "DoorKey-8x8"], ("options", "flat"))
    assert "| options / flat | 1.00 | 1.00 (2 tasks) | 0.50 |" in capsys.readouterr().out


def test_the_mean_ratio_is_over_tasks_that_every_run_of_both_learned(suite):
    """Of logarithms, so that the other way round it is the inverse; 0.5 on one task, 2 and 8 on another."""

    def learned(*frames):
        return suite.Learned(np.array(frames), *[np.array([])] * 3)

    found = {("A", "a"): learned(1000.0), ("A", "b"): learned(2000.0), ("B", "a"): learned(2000.0, 8000.0), ("B", "b"): learned(1000.0)}
    found |= {("C", "a"): learned(1000.0, np.inf), ("C", "b"): learned(1000.0), ("D", "a"): learned(1000.0)}
    there, back = suite.mean_ratio(found, ("a", "b")), suite.mean_ratio(found, ("b", "a"))
    assert there == (pytest.approx(2**0.5), 2) and back == (pytest.approx(0.5**0.5), 2)
    assert np.isnan(suite.mean_ratio({("C", "a"): learned(np.inf), ("C", "b"): learned(1.0)}, ("a", "b"))[0])


def test_a_pair_has_intervals_where_each_task_has_four_seeds_of_both(suite, capsys):
    rows = [row(agent, seed, 0.9, frames, None) for agent, frames in (("options", 1000), ("flat", 2000)) for seed in range(4)]
    suite.table(rows, ["Empty-8x8"], ("options", "flat"))
    assert "| options / flat | 0.50 [0.50, 0.50] | 0.50 [0.50, 0.50] (1 tasks) | 1.00 [1.00, 1.00] |" in capsys.readouterr().out
    suite.table(rows[:-1], ["Empty-8x8"], ("options", "flat"))
    assert "| options / flat | 0.50 | 0.50 (1 tasks) | 1.00 |" in capsys.readouterr().out


def test_what_has_no_row_is_run_and_nothing_else(suite, monkeypatch, tmp_path):
    """Of the agents asked for; the flat one lacks a task that options have."""
    ran, written = [], []
    there = [
        {"task": "A", "agent": "options", "seed": 0},
        {"task": "A", "agent": "flat", "seed": 1},
        {"task": "B", "agent": "flat", "seed": 1},
    ]
    monkeypatch.setitem(suite.STAGES, "small", (1_000, ["A", "B"]))
    monkeypatch.setattr(suite, "read", lambda: there)
    monkeypatch.setattr(suite, "check", lambda content, _: _Chosen(content))
    monkeypatch.setattr(suite, "run_sweep", lambda chosen, *_: ran.append(chosen.content) or {})
    monkeypatch.setattr(suite, "row_of", lambda trial, folder: trial)
    monkeypatch.setattr(suite, "write", written.extend)
    suite.fill(suite.Benchmark(stages=("small",), seeds=2, folder=tmp_path))
    found = sorted((tuple(c["tasks"]), tuple(c["settings"]), c["seeds"]) for c in ran)
    a, b = "MiniGrid-A-v0", "MiniGrid-B-v0"
    assert found == [((a,), ("flat",), [0]), ((a,), ("options",), [1]), ((b,), ("options",), [1]), ((b,), ("options", "flat"), [0])]
    assert {(c["settings"][name] == suite.AGENTS[name]) for c in ran for name in c["settings"]} == {True}
    ran.clear()
    suite.fill(suite.Benchmark(stages=("small",), seeds=1, folder=tmp_path, run=("flat-non-episodic",)))
    settings = {"flat-non-episodic": {"num_options": 1, "int_returns": "non-episodic"}}
    assert [(c["tasks"], c["settings"]) for c in ran] == [([a], settings), ([b], settings)]


class _Chosen:
    def __init__(self, content):
        self.content, self.trials = content, []


@pytest.mark.slow
def test_two_sweeps_of_a_stage_have_one_folder(suite, monkeypatch, tmp_path):
    """Really run, for a rollout each."""
    monkeypatch.setitem(suite.STAGES, "small", (512, ["Empty-5x5", "Empty-6x6"]))
    monkeypatch.setattr(suite, "ROWS", tmp_path / "rows.csv")
    run = suite.Benchmark(stages=("small",), seeds=1, folder=tmp_path / "runs")
    suite.fill(suite.replace(run, run=("flat",)))
    (flat,) = {tuple(sorted((row["task"], row["agent"]) for row in suite.read()))}
    assert flat == (("Empty-5x5", "flat"), ("Empty-6x6", "flat"))
    suite.fill(run)
    assert sorted((row["task"], row["agent"]) for row in suite.read()) == [
        ("Empty-5x5", "flat"), ("Empty-5x5", "options"), ("Empty-6x6", "flat"), ("Empty-6x6", "options")
    ]  # fmt: skip
