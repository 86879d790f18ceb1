"""Codes and words stand for MiniGrid's objects."""

from __future__ import annotations

import pytest
from minigrid.core.world_object import Box, Key

from optioncoagent_envs.minigrid.engine.codes import EMPTY, NUM_CODES, WORDS, code_of, is_named, object_of, word_of


@pytest.mark.parametrize("code", range(EMPTY, NUM_CODES))
def test_codes_stand_for_objects(code):
    obj = object_of(code)
    assert code_of(obj, is_named(code)) == code
    assert word_of(obj) == WORDS[code]
    if obj is not None:
        assert list(obj.encode()) == [WORDS[code] >> shift & 255 for shift in (0, 8, 16)]


def test_what_has_no_code():
    for thing in (Box("red", Box("red")), type("Own", (Key,), {})("red")):
        with pytest.raises(ValueError):
            code_of(thing)
    for code in (0, NUM_CODES, 255):
        with pytest.raises(ValueError):
            object_of(code)
