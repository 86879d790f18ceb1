"""What rows of runs come to over seeds: pure functions, with scipy's trimmed mean and bootstrap.

The interquartile mean and its stratified bootstrap interval are those of Agarwal et al., "Deep Reinforcement Learning at the Edge of the
Statistical Precipice" (NeurIPS 2021): runs are resampled within each task, never between tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FloatArray = NDArray[np.float64]
Columns = Mapping[str, FloatArray]  # {column of metrics.csv: one number for each update}

TRIM = 0.25  # cut off at each end by the interquartile mean
RESAMPLES = 2_000
EPISODES = 100  # a mean return over fewer does not count as having reached a threshold
FEWEST = 4  # seeds of which a bootstrap interval is drawn; of three it would hold the truth three times in four, of two half of the time


def standard_error(values: Any) -> Any:
    """Of the mean of independent values, along the first axis; NaN of one."""
    values = np.asarray(values)
    n = len(values)
    return (values.std(axis=0, ddof=1) if n > 1 else np.full_like(values.mean(axis=0), np.nan)) / np.sqrt(n)


def pooled(count: FloatArray, mean: FloatArray, squares: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The mean of all values, and its standard error, from parts along the last axis: how many values each has, their mean and
    Σ (x - mean)². The error of a single value is NaN."""
    total = count.sum(axis=-1)
    centre = (count * mean).sum(axis=-1) / total
    # Chan, Golub & LeVeque (1983): Σ (x - centre)² = Σ_parts squares + count (mean - centre)²
    deviations = (squares + count * (mean - centre[..., None]) ** 2).sum(axis=-1)
    return centre, np.sqrt(deviations / np.where(total > 1, total - 1, np.nan) / total)


class Interval(NamedTuple):
    """An estimate (by default the interquartile mean) and the ends of its interval."""

    iqm: Any
    low: Any
    high: Any


def iqm(values: Any, axis: int = 0) -> Any:
    """Interquartile mean: of the middle half; of fewer than four values the mean of all."""
    return stats.trim_mean(values, TRIM, axis=axis)


def interval(strata: Sequence[Any], confidence: float = 0.95, estimate: Any = iqm) -> Interval:
    """An estimate from all values, and its bootstrap interval (percentiles), each stratum resampled by itself.

    strata: one array for each task, of one final number for each seed, (seeds,), or of one curve for each seed, (seeds, points); the
    answer is a number or (points,). The ends are NaN where a stratum has fewer than `FEWEST` seeds, which do not say how much runs differ;
    of four or five of one task, an interval of 95 % in name holds the truth in about 90 % of cases. estimate: a function like np.mean of
    values and the axis that goes, by default the interquartile mean.
    """
    samples = [np.asarray(sample, dtype=np.float64) for sample in strata]

    def estimated(*parts: FloatArray, axis: int) -> Any:
        return estimate(np.concatenate(parts, axis=axis), axis=axis)

    centre = estimated(*samples, axis=0)
    if fewest_seeds(samples) < FEWEST:
        return Interval(centre, np.full_like(centre, np.nan)[()], np.full_like(centre, np.nan)[()])
    found = stats.bootstrap(
        samples,
        estimated,
        n_resamples=RESAMPLES,
        confidence_level=confidence,
        method="percentile",
        axis=0,
        vectorized=True,
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return Interval(centre, found.low, found.high)


class Reached(NamedTuple):
    """When a run reached a threshold; infinite if it did not."""

    frames: float
    seconds: float


def time_to_threshold(run: Columns, threshold: float, episodes: int = EPISODES) -> Reached:
    """The first update at which the mean return over the last episodes (metrics.csv takes 100) is at least the threshold.

    frames are timesteps; seconds those of all updates so far, which a run that was stopped in between has spent as well. episodes: how
    many must have ended before a mean counts. Of environments that begin together the episodes that end first are short ones, and where
    success ends an episode the good ones: with many more than fifty environments such means say too much of them, again and again.
    """
    passed = (run["return_mean"] >= threshold) & (run["episodes"] >= episodes)
    if not passed.any():
        return Reached(np.inf, np.inf)
    update = int(np.argmax(passed))
    return Reached(float(run["timesteps"][update]), seconds(run, update + 1))


def fallen(run: Columns, threshold: float, part: float = 0.8) -> float:
    """Of the steps after a threshold (above 0) was first reached, the share in which the mean return is below that part of it.

    NaN if it was not reached, or at the last update.
    """
    passed = (run["return_mean"] >= threshold) & (run["episodes"] >= EPISODES)
    after = np.cumsum(passed)[:-1] > 0  # updates, from the one after it was reached
    steps = np.diff(run["timesteps"])
    below = run["return_mean"][1:] < part * threshold
    return float(steps[after & below].sum() / steps[after].sum()) if after.any() else float("nan")


def seconds(run: Columns, updates: int | None = None) -> float:
    """Seconds spent in the first updates, all by default: the sum of the columns that hold times."""
    return float(sum(values[:updates].sum() for name, values in run.items() if name.startswith("seconds")))


def median(values: Any) -> float:
    """The upper one of two in the middle, so that infinity has no mean with anything."""
    return float(np.sort(values)[len(values) // 2])


def middle_ratio(ratios: Any) -> float:
    """The median of ratios in [0, ∞], of two in the middle their geometric mean: that of the inverse ratios is its inverse.

    Of 0 and ∞ it is 1, as nothing says which side is ahead; of either and another number it is 0 or ∞.
    """
    values = np.sort(ratios)
    lower, upper = float(values[(len(values) - 1) // 2]), float(values[len(values) // 2])
    if lower == 0 and np.isinf(upper):
        return 1.0
    return lower if lower == upper else float(np.sqrt(lower * upper))


def sooner(
    ours: Sequence[Any], theirs: Sequence[Any], resamples: int = RESAMPLES, hierarchical: bool = False, confidence: float = 0.95
) -> tuple[float, float, float]:
    """The probability that a run of ours needs fewer frames than one of theirs, ties counted half, and the ends of its interval.

    ours, theirs: an array of frames for each task, of any numbers of seeds; the mean over tasks, each with the same weight ("probability
    of improvement" of Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice"). The interval is of these
    tasks, seeds drawn anew within each; hierarchical: of tasks like these, which are drawn anew first; that one is too wide where
    tasks hardly differ, as the seeds then count twice.
    """
    wins = [(x[:, None] < y) + (x[:, None] == y) / 2 for x, y in zip(ours, theirs, strict=True)]

    rng = np.random.default_rng(0)

    def drawn(wins: list[FloatArray], times: int) -> FloatArray:
        """Means over these tasks, seeds drawn anew so many times, (times,)."""
        sizes = [size for won in wins for size in won.shape]
        parts = np.split(rng.integers(np.repeat(sizes, sizes), size=(times, sum(sizes))), np.cumsum(sizes)[:-1], axis=1)
        means = [won[i[:, :, None], j[:, None]].mean((1, 2)) for won, i, j in zip(wins, parts[::2], parts[1::2], strict=True)]
        return np.mean(means, axis=0)

    if hierarchical:
        means = np.concatenate([drawn([wins[i] for i in rng.integers(len(wins), size=len(wins))], 1) for _ in range(resamples)])
    else:
        means = drawn(wins, resamples)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(np.mean([won.mean() for won in wins])), float(low), float(high)


def fewest_seeds(frames: Iterable[Any]) -> int:
    """The smallest number of seeds that any of these tasks, or agents, has; frames: an array for each."""
    return min(map(len, frames))
