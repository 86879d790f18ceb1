"""The state that torch keeps for a process or a thread of it, threads, rounding and random numbers: changed for a block, and put back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import torch

_RANDOM_STATE = RLock()


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Run a block (or, as a decorator, a function) with this many threads of torch, and put their number back."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def tiny_is_zero() -> Iterator[None]:
    """Run a block in which numbers below the least normal one (1e-38 in single precision) are 0 in this thread: processors take many times
    as long with them. Adam's moments of a weight whose gradient is 0 are such numbers after some 800 steps, and stay so, since 0.9 times
    the least of them is rounded to itself."""
    before = bool(torch.tensor(1e-39, dtype=torch.float32, device="cpu") * 1 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Run a block with torch's global random state, of the CPU, set from (seed, name), and put it back: one block at a time, since all
    threads of the process share it."""
    with _RANDOM_STATE:
        state = torch.get_rng_state()
        torch.default_generator.manual_seed(derive_seed(seed, name))
        try:
            yield
        finally:
            torch.set_rng_state(state)


def derive_seed(seed: int, name: str) -> int:
    """A seed for one named source of randomness."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "little")
