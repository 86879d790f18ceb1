"""What the comparison of options with flat controls rests on: the controls are what they are said to be, and so are the statistics."""

from pathlib import Path

import numpy as np
import pytest
from run_folders import benchmark


@pytest.fixture(autouse=True)
def beside(monkeypatch):
    """Benchmarks import what lies beside them."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))


def weights(agent):
    return sum(parameter.numel() for parameter in agent.module.parameters())


def test_the_wide_agent_has_as_many_weights_as_four_options():
    pay = benchmark("where_options_pay")
    flat, wide, options = (pay.make(pay.Run("DoorKey-6x6", name, 0)) for name in ("flat", "flat, wide", "4 options"))
    assert weights(options) <= weights(wide) < 1.01 * weights(options) and weights(flat) < 0.9 * weights(options)


def test_the_sticky_agent_repeats_a_quarter_of_its_actions():
    pay = benchmark("where_options_pay")
    agent = pay.make(pay.Run("Empty-5x5", "flat, sticky", 0))
    row = agent.update()
    assert row["action/executed"] == pytest.approx(3 / 4, abs=0.05) and agent.network.memory == ("action",)


def test_all_actions_learn_in_the_same_form_and_the_bonus_is_as_said():
    pay = benchmark("where_options_pay")
    for name in pay.AGENTS:
        agent = pay.make(pay.Run("Empty-5x5 no bonus", name, 0))
        assert agent.forms["action"] == "score" and agent.settings.int_coef == 0
    assert pay.make(pay.Run("Empty-5x5", "flat", 0)).settings.int_coef == 0.005


def test_a_run_stops_at_the_target_or_at_the_limit(monkeypatch):
    pay = benchmark("where_options_pay")
    monkeypatch.setitem(pay.TASKS, "Empty-5x5", (40_000, 0.5))
    run, row = pay.train(pay.Run("Empty-5x5", "flat", 0))
    assert row["frames"] < 40_000 and row["return_mean"] >= 0.5
    monkeypatch.setitem(pay.TASKS, "Empty-5x5", (2_048, 2.0))
    run, row = pay.train(pay.Run("Empty-5x5", "2 x 2 options", 0))
    assert row["frames"] == np.inf and row["length"] > 1


def test_statistics_of_frames_that_may_be_infinite():
    rows = benchmark("rows")
    inf = np.inf
    assert rows.median([3, inf, 1]) == 3 and rows.median([1, 3, inf, inf]) == inf
    low, high = rows.median_interval([10.0, 20.0, 30.0, inf, inf])
    assert low == 10 and high == inf
    better, low, high = rows.sooner([np.array([1.0, 2.0, inf])], [np.array([2.0, inf, inf])])
    assert better == pytest.approx((3 + 2.5 + 1) / 9) and low < better < high  # 1: three; 2: a tie and two; ∞: two ties
    assert rows.sooner([np.array([1.0, 1.0]), np.array([inf, inf])], [np.array([2.0, 2.0]), np.array([5.0, 5.0])]) == (0.5, 0.5, 0.5)
