"""Alias tables: a draw from any finite law with one random number (Walker 1977; Vose 1991)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from optioncoagent.compiling import njit
from optioncoagent.network import FloatArray


@njit(cache=True, nogil=True)
def build_alias(law: FloatArray, width: int) -> tuple[FloatArray, NDArray[np.int32]]:
    """Alias tables of rows of `width` entries: draw k uniformly, keep it with probability threshold[k], else take alias[k] (Vose 1991)."""
    threshold, alias = np.ones(law.size), np.arange(law.size).astype(np.int32)
    scaled, stack = np.empty(width), np.empty(width, dtype=np.int64)
    for first in range(0, law.size, width):
        total = law[first : first + width].sum()
        if total <= 0:
            continue
        small, large = 0, width  # the stack holds small entries from the left, large ones from the right
        for k in range(width):
            scaled[k] = law[first + k] * width / total
            if scaled[k] < 1:
                stack[small] = k
                small += 1
            else:
                large -= 1
                stack[large] = k
        while small > 0 and large < width:
            small -= 1
            k, rich = stack[small], stack[large]
            threshold[first + k] = scaled[k]
            alias[first + k] = first + rich
            scaled[rich] -= 1 - scaled[k]
            if scaled[rich] < 1:
                large += 1
                stack[small] = rich
                small += 1
        while small > 0:  # rounding left them a hair below 1; an entry of probability 0 must not be drawn
            small -= 1
            k = stack[small]
            if scaled[k] < 0.5:
                threshold[first + k] = 0.0
                alias[first + k] = first + np.argmax(law[first : first + width])
    return threshold, alias
