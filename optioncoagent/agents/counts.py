"""Compiled counting of observations: a 64-bit hash, a table of counts for the whole run, a set for each environment's episode.

Memory is fixed when the arrays are made. Two observations that share an entry of the table (one in 2^24 pairs does) share a count; the
sets hold whole hashes. A set that is three quarters full takes nothing new until the episode ends: what is not in it is then not counted.
"""

from __future__ import annotations

import numpy as np

from optioncoagent.compiling import njit

_OFFSET, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31 = np.uint64(27), np.uint64(30), np.uint64(31)
_LARGEST = np.uint32(0xFFFFFFFF)


@njit(cache=True, nogil=True)
def hash_rows(rows, hashes):
    """Fold rows of bytes (m, bytes) into hashes (m,) uint64: FNV-1a, its bits mixed by the end of SplitMix64."""
    for i in range(rows.shape[0]):
        h = hashes[i] ^ _OFFSET
        for j in range(rows.shape[1]):
            h = (h ^ np.uint64(rows[i, j])) * _PRIME
        h = (h ^ (h >> _30)) * _MIX_1
        h = (h ^ (h >> _27)) * _MIX_2
        hashes[i] = h ^ (h >> _31)


@njit(cache=True, nogil=True)
def insert(key, keys, stamps, episode, size):
    """Is `key` new to the set of this episode? It is put in, if so. One environment's set, open addressing: keys and stamps (capacity,);
    an entry counts if its stamp is `episode`. size: entries so far.
    """
    mask = np.uint64(keys.size - 1)
    slot = key & mask
    while stamps[slot] == episode:
        if keys[slot] == key:
            return False
        slot = (slot + np.uint64(1)) & mask
    if 4 * size >= 3 * keys.size:
        return False
    keys[slot], stamps[slot] = key, episode
    return True


@njit(cache=True, nogil=True)
def visit(key, i, episodic, counts, keys, stamps, episode, size):
    """Count an observation met by environment i, once in an episode if `episodic`. Was it counted?"""
    if episodic:
        if not insert(key, keys[i], stamps[i], episode[i], size[i]):
            return False
        size[i] += 1
    entry = key & np.uint64(counts.size - 1)
    if counts[entry] < _LARGEST:
        counts[entry] += np.uint32(1)
    return True


@njit(cache=True, nogil=True)
def count_and_pay(hashes, start, pays, episodic, power, difference, counts, keys, stamps, episode, size, bonus):
    """Count the observations of a rollout in their order, and write the bonus of each step.

    hashes (num_steps + 1, num_envs): observations, the one after the last step among them. start, pays, bonus (num_steps, num_envs): is
    it the first step of an episode; does it pay for the observation it leads to. The rest is what `exploration.CountBonus` keeps.
    """
    mask = np.uint64(counts.size - 1)
    for t in range(start.shape[0]):
        for i in range(start.shape[1]):
            here, there = hashes[t, i], hashes[t + 1, i]
            bonus[t, i] = 0.0
            if start[t, i]:
                episode[i] += 1
                size[i] = 0
                visit(here, i, episodic, counts, keys, stamps, episode, size)
            if pays[t, i] and visit(there, i, episodic, counts, keys, stamps, episode, size):
                # b = max( N(o')^-p − d N(o)^-p, 0 )
                before = difference * max(counts[here & mask], np.uint32(1)) ** -power
                bonus[t, i] = max(counts[there & mask] ** -power - before, 0.0)
