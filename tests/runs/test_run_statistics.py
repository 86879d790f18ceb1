"""What rows of runs come to over seeds."""

import itertools

import numpy as np
import pytest

from optioncoagent.runs import statistics


def run(timesteps, returns, episodes=None, seconds=1.0):
    timesteps = np.array(timesteps, float)
    episodes = np.full(timesteps.size, 100.0) if episodes is None else np.array(episodes, float)
    times = {"seconds_acting": np.full(timesteps.size, seconds), "seconds_learning": np.full(timesteps.size, seconds)}
    return {"timesteps": timesteps, "return_mean": np.array(returns, float), "episodes": episodes, **times}


def test_the_interquartile_mean_is_that_of_the_middle_half():
    assert statistics.iqm([100.0, 1.0, 2.0, 3.0, 4.0, -50.0, 2.0, 3.0]) == np.mean([2, 2, 3, 3])
    assert statistics.iqm([1.0, 2.0, 9.0]) == 4.0


def test_few_seeds_have_no_interval():
    """One of three would be their range, which holds the mean of what they are drawn from three times in four: unless all are on one side
    of it."""
    for seeds in ([0.0], [0.0, 1.0], [0.0, 1.0, 5.0]):
        found = statistics.interval([seeds])
        assert found.iqm == np.mean(seeds) and np.isnan([found.low, found.high]).all()
    found = statistics.interval([[0.0, 1.0, 2.0, 3.0]])
    assert 0 <= found.low < found.iqm < found.high <= 3
    assert np.isnan(statistics.interval([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0, 3.0]]).low)


def test_every_task_is_resampled_by_itself():
    """Two tasks whose seeds agree leave nothing to chance, however far apart the tasks are."""
    assert statistics.interval([[0.0, 0.0, 0.0, 0.0], [8.0, 8.0, 8.0, 8.0]]) == (4.0, 4.0, 4.0)
    pooled = statistics.interval([[0.0, 0.0, 0.0, 0.0, 8.0, 8.0, 8.0, 8.0]])
    assert pooled.low < 4.0 < pooled.high


def test_the_interval_is_that_of_all_resamples():
    """For four seeds all 4^4 resamples can be written down."""
    values = np.array([0.1, 0.35, 0.4, 1.0])
    means = [statistics.iqm(np.array(resample)) for resample in itertools.product(values, repeat=4)]
    found = statistics.interval([values], confidence=0.8)
    assert found.iqm == pytest.approx(0.375)
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.1, 0.9]), abs=0.03)


def test_an_interval_of_curves_is_one_of_every_point():
    curves = np.random.default_rng(0).normal(size=(5, 3))
    band = statistics.interval([curves])
    for point in range(3):
        assert band.iqm[point] == statistics.iqm(curves[:, point])
        assert band.low[point] < band.iqm[point] < band.high[point]
    one = statistics.interval([curves[:1]])
    assert np.array_equal(one.iqm, curves[0]) and np.isnan(one.low).all() and np.isnan(one.high).all()
    assert np.isnan(statistics.interval([[1.0], [2.0, 3.0]]).low)


def test_a_threshold_is_reached_once_a_hundred_episodes_say_so():
    columns = run([10, 20, 30, 40], [0.95, 0.5, 0.9, 0.3], episodes=[3, 99, 100, 150], seconds=0.25)
    assert statistics.time_to_threshold(columns, 0.9) == (30.0, 1.5)
    assert statistics.time_to_threshold(columns, 0.9, episodes=1) == (10.0, 0.5)
    assert statistics.time_to_threshold(columns, 0.91) == (np.inf, np.inf)
    assert statistics.seconds(columns) == 2.0


def test_what_has_fallen_is_counted_in_steps_after_the_threshold():
    columns = run([10, 20, 60, 70, 100], [0.0, 0.95, 0.75, 0.71, 0.9], episodes=[99, 100, 120, 130, 150])
    assert statistics.fallen(columns, 0.9) == pytest.approx(10 / 80)  # 0.71 < 0.72 <= 0.75
    assert statistics.fallen(columns, 0.95) == pytest.approx(50 / 80)
    assert statistics.fallen(columns, 0.95, part=0.5) == 0.0
    assert np.isnan(statistics.fallen(columns, 0.96))
    assert np.isnan(statistics.fallen(run([10, 20], [0.0, 0.9], episodes=[99, 100]), 0.9))  # nothing is known of later
    lucky = run([10, 20, 30, 40], [0.95, 0.1, 0.95, 0.95], episodes=[50, 99, 100, 150])  # a mean of 50 has reached nothing
    assert statistics.fallen(lucky, 0.9) == 0.0
    assert statistics.fallen(run([10, 20], [1.0, 0.5]), 1.0, part=0.5) == 0.0  # at the part, and not below


def test_of_frames_that_may_be_infinite_the_median_is_one_of_them():
    assert statistics.median([3, np.inf, 1]) == 3 and statistics.median([1, 3, np.inf, np.inf]) == np.inf


def test_the_middle_of_ratios_is_the_same_whichever_is_divided():
    for ratios in ([0.5, 2.0, 8.0], [0.5, 1.0, 2.0, 8.0], [0.0, 3.0], [0.0, 0.0], [2.0, np.inf], [np.inf, np.inf], [0.0, np.inf]):
        with np.errstate(divide="ignore"):
            inverse = 1 / np.array(ratios)
            middle = statistics.middle_ratio(ratios)
            assert statistics.middle_ratio(inverse) == pytest.approx(1 / np.float64(middle))
    assert statistics.middle_ratio([8.0, 0.5, 2.0]) == 2.0 and statistics.middle_ratio([1.0, 8.0, 0.5, 2.0]) == pytest.approx(2**0.5)


def test_who_is_sooner_is_counted_pair_by_pair():
    """By hand: 1 before all of three, 2 ties with one and is before two, ∞ ties with two."""
    better, low, high = statistics.sooner([np.array([1.0, 2.0, np.inf])], [np.array([2.0, np.inf, np.inf])])
    assert better == pytest.approx((3 + 2.5 + 1) / 9) and low < better < high
    ours, theirs = [np.array([1.0, 1.0]), np.array([np.inf, np.inf])], [np.array([2.0, 2.0]), np.array([5.0, 5.0])]
    assert statistics.sooner(ours, theirs) == (0.5, 0.5, 0.5)


def test_seeds_of_both_are_drawn_anew_by_themselves():
    """The ends are quantiles over all resamples of ours with all of theirs, not of pairs."""
    ours, theirs = np.array([1.0, 4.0]), np.array([2.0, 3.0])  # 1 is before both, 4 before neither
    means = [
        np.mean([float(x < y) for x in a for y in b])
        for a in itertools.product(ours, repeat=2)
        for b in itertools.product(theirs, repeat=2)
    ]
    assert statistics.sooner([ours], [theirs]) == (0.5, *np.quantile(means, [0.025, 0.975]))
    assert statistics.sooner([ours], [theirs], confidence=0.4) == (0.5, *np.quantile(means, [0.3, 0.7])) == (0.5, 0.5, 0.5)
    one, other = np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.5, 3.5])  # who is drawn with whom matters
    wins = one[:, None] < other
    draws = [*itertools.product(range(3), repeat=3)]
    means = [wins[np.ix_(i, j)].mean() for i in draws for j in draws]
    _, low, high = statistics.sooner([one], [other], resamples=20_000)
    assert np.allclose((low, high), np.quantile(means, [0.025, 0.975]), atol=0.06)


def test_every_task_has_the_same_weight_whatever_its_number_of_seeds():
    rng = np.random.default_rng(0)
    ours, theirs = [rng.normal(size=20), rng.normal(-1.0, size=4)], [rng.normal(size=10), rng.normal(size=5)]
    each = [statistics.sooner([a], [b])[0] for a, b in zip(ours, theirs, strict=True)]
    assert statistics.sooner(ours, theirs)[0] == pytest.approx(np.mean(each)) and abs(each[0] - each[1]) > 0.1


def test_an_interval_over_tasks_like_these_is_as_wide_as_tasks_differ():
    """Four tasks in which ours is always sooner and four in which it never is: nothing varies but which tasks there are."""
    ours, theirs = [np.array([1.0, 2.0])] * 4 + [np.array([5.0, 6.0, 7.0])] * 4, [np.array([3.0, 4.0])] * 8
    assert statistics.sooner(ours, theirs) == (0.5, 0.5, 0.5)
    middle, low, high = statistics.sooner(ours, theirs, hierarchical=True)
    assert (middle, low, high) == (0.5, 0.125, 0.875)  # the 2.5 % quantiles of the mean of eight coins
    alike = [np.array([1.0, 3.0, 5.0, 7.0])] * 8, [np.array([2.0, 4.0, 6.0])] * 8
    widths = [high - low for _, low, high in (statistics.sooner(*alike), statistics.sooner(*alike, hierarchical=True))]
    assert widths[1] == pytest.approx(widths[0], rel=0.1)  # tasks that do not differ add nothing
