"""NumPy's PCG64 stream in compiled code: the draws that MiniGrid's level generators make, bit for bit.

A stream is six uint64: the high and low half of the state, the same of the increment, and the half of the last 64-bit
draw that is still unused (whether there is one, and which). `below` is `Generator.integers`, `shuffle` is
`Generator.shuffle` of a list; `Generator.choice` of a range is one `below`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from optioncoagent_envs.compiling import njit

MASK = (1 << 64) - 1
MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645  # PCG's for 128 bits
MULTIPLIER_HIGH = np.uint64(MULTIPLIER >> 64)
MULTIPLIER_LOW = np.uint64(MULTIPLIER & MASK)
LOW32 = np.uint64(0xFFFFFFFF)
U1, U32, U58, U63, U64 = (np.uint64(bits) for bits in (1, 32, 58, 63, 64))


def stream_of(generator: np.random.Generator) -> np.ndarray:
    """The stream at which a NumPy generator stands: (6,) uint64. Raises ValueError if it is no PCG64."""
    state = generator.bit_generator.state
    if state["bit_generator"] != "PCG64":
        raise ValueError(f"MiniGrid draws from PCG64, not from {state['bit_generator']}")
    value, increment = state["state"]["state"], state["state"]["inc"]
    words = value >> 64, value & MASK, increment >> 64, increment & MASK, state["has_uint32"], state["uinteger"]
    return np.array(words, np.uint64)


def generator_of(stream: np.ndarray) -> np.random.Generator:
    """A NumPy generator that stands at the stream."""
    words = [int(word) for word in stream]
    state: Any = {"bit_generator": "PCG64", "has_uint32": words[4], "uinteger": words[5]}
    state["state"] = {"state": words[0] << 64 | words[1], "inc": words[2] << 64 | words[3]}
    bits = np.random.PCG64()
    bits.state = state
    return np.random.Generator(bits)


@njit(cache=True, nogil=True)
def next64(stream):
    """The next 64 bits: state = state * multiplier + increment (mod 2**128), then xor the halves and rotate."""
    high, low = stream[0], stream[1]
    # the product of the low halves, all 128 bits of it
    a, b = low >> U32, low & LOW32
    c, d = MULTIPLIER_LOW >> U32, MULTIPLIER_LOW & LOW32
    cross = b * c + ((b * d) >> U32)
    middle = a * d + (cross & LOW32)
    carry = a * c + (cross >> U32) + (middle >> U32)
    high = high * MULTIPLIER_LOW + low * MULTIPLIER_HIGH + carry + stream[2]
    low = low * MULTIPLIER_LOW
    low += stream[3]
    if low < stream[3]:
        high += U1
    stream[0], stream[1] = high, low
    turn = high >> U58
    mixed = high ^ low
    return (mixed >> turn) | (mixed << ((U64 - turn) & U63))


@njit(cache=True, nogil=True)
def next32(stream):
    """The next 32 bits; every second call uses what the call before left over."""
    if stream[4] != 0:
        stream[4] = 0
        return stream[5]
    word = next64(stream)
    stream[4] = U1
    stream[5] = word >> U32
    return word & LOW32


@njit(cache=True, nogil=True)
def below(stream, low, high):
    """`Generator.integers(low, high)`: Lemire's rejection; a range of one number draws nothing."""
    count = np.uint64(high - low)
    if count <= U1:
        return low
    product = next32(stream) * count
    if (product & LOW32) < count:
        threshold = (U1 << U32) % count
        while (product & LOW32) < threshold:
            product = next32(stream) * count
    return low + np.int64(product >> U32)


@njit(cache=True, nogil=True)
def shuffle(stream, values):
    """`Generator.shuffle` of a list, in place: each index by masking 32 bits and drawing again if it is too large."""
    for i in range(len(values) - 1, 0, -1):
        mask = np.uint64(1)
        while mask < np.uint64(i):
            mask = mask << U1 | U1
        j = next32(stream) & mask
        while j > np.uint64(i):
            j = next32(stream) & mask
        values[i], values[j] = values[j], values[i]
