"""The compiled stream draws what NumPy's generator draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optioncoagent_envs.minigrid.engine.random import below, generator_of, shuffle, stream_of


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**64), st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 2**31 + 5)), max_size=30))
def test_draws_are_numpys(seed, ranges):
    generator = np.random.Generator(np.random.PCG64(seed))
    stream = stream_of(generator)
    for low, count in ranges:
        assert below(stream, low, low + count) == generator.integers(low, low + count)
        numbers = list(range(count % 20))
        shuffled = np.array(numbers)
        generator.shuffle(numbers)
        shuffle(stream, shuffled)
        assert shuffled.tolist() == numbers
    assert generator_of(stream).bit_generator.state == generator.bit_generator.state


def test_other_generators_are_refused():
    with pytest.raises(ValueError, match="MT19937"):
        stream_of(np.random.Generator(np.random.MT19937(0)))
