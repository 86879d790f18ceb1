"""A stream of random numbers for each episode: xoshiro256++ (Blackman & Vigna 2021), seeded by SplitMix64 from (key, episode).

Which thread runs an episode, and when, changes nothing. Two runs with the same key give their episodes the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from optioncoagent.compiling import njit

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_11, _17, _19, _23, _27, _30, _31, _41, _45 = (np.uint64(n) for n in (11, 17, 19, 23, 27, 30, 31, 41, 45))
_UNIT = 2.0**-53


def key_of(seed: int | Sequence[int]) -> np.uint64:
    """64 bits from a seed, or from several, well mixed, where zeros at the end do not count (see NumPy's `SeedSequence`).

    Raises ValueError for None, which would be another seed each time."""
    if not all(isinstance(part, int | np.integer) and part >= 0 for part in np.ravel(seed)):
        raise ValueError(f"seed={seed!r}: give an integer of at least 0")
    return np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]


@njit(cache=True, nogil=True)
def split_mix(x):
    """One output of SplitMix64 at position x."""
    z = (x ^ (x >> _30)) * _MIX_1
    z = (z ^ (z >> _27)) * _MIX_2
    return z ^ (z >> _31)


@njit(cache=True, nogil=True)
def seeded(key, episode):
    """State of the stream of one episode."""
    x = split_mix(key + np.uint64(episode) * _STEP)
    return split_mix(x), split_mix(x + _STEP), split_mix(x + _STEP + _STEP), split_mix(x + _STEP + _STEP + _STEP)


@njit(cache=True, nogil=True)
def uniform(a, b, c, d):
    """A number in [0, 1) with 53 bits, and the next state of the stream."""
    total = a + d
    result = ((total << _23) | (total >> _41)) + a
    shifted = b << _17
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    d = (d << _45) | (d >> _19)
    return np.int64(result >> _11) * _UNIT, a, b, c, d
