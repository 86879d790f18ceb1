"""Codes and words stand for MiniGrid's objects."""

from __future__ import annotations

import pytest
from minigrid.core.constants import COLOR_TO_IDX
from minigrid.core.world_object import Ball, Box, Door, Floor, Key, Lava

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
        with pytest.raises(ValueError, match="code"):
            code_of(thing)
    for code in (0, NUM_CODES, 255):
        with pytest.raises(ValueError, match="code"):
            object_of(code)


def test_what_no_code_says_is_named(monkeypatch):
    """A colour, or both of what a door is at most one of, is not left out."""
    blue, pink, old = Lava(), Floor("red"), Box("red", Key("red"))
    blue.color, pink.color, old.contains.color = "blue", "pink", "grey"
    assert code_of(old) == code_of(Box("red", Key("grey")))
    for thing, told in ((blue, "a blue Lava"), (Door("red", is_open=True, is_locked=True), "a red door that is both open and locked")):
        with pytest.raises(ValueError, match=f"{told} has no compiled code"):
            code_of(thing)
    for known in (False, True):
        if known:
            monkeypatch.setitem(COLOR_TO_IDX, "pink", 6)
        with pytest.raises(ValueError, match="a floor of the colour 'pink' has no compiled code"):
            code_of(pink)


def test_what_a_key_in_a_box_holds_is_not_lost():
    box = Box("red", Key("blue"))
    assert code_of(box)
    box.contains.contains = Ball("red")
    with pytest.raises(ValueError, match="no compiled code"):
        code_of(box)
