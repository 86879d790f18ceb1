"""What is said of functions that look at the state: values tell them apart, processes do not."""

import functools
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from optioncoagent.network.digests import digest

LIMIT, NOTHING = 0.1, object()


def factory(limit, also=None):
    return lambda x: x.state[:, 0] > limit


class Gate:
    def __init__(self, limit):
        self.limit = limit

    def __call__(self, x):
        return x.state > self.limit

    def method(self, x):
        return x.state < self.limit


def keyword(x, *, limit=0.1):
    return x.state > limit


def later(x):
    return x.state > keyword.__kwdefaults__["limit"]


def made():
    def unset(x):
        return x.state > (missing if x is None else 0.3)

    if LIMIT > 1:
        missing = 1.0
    return [
        lambda x: x.state > 0.1,
        lambda x: x.state > 0.9,
        lambda x: np.sin(x.state) ** 2,
        lambda x: np.cos(x.state) ** 2,
        functools.partial(keyword, limit=0.2),
        functools.partial(keyword, limit=0.3),
        Gate(0.1),
        Gate(0.9),
        Gate(0.1).method,
        factory(0.1),
        factory(0.2),
        factory(np.arange(3.0)),
        factory(np.arange(4.0)),
        factory(torch.zeros(2)),
        factory(torch),
        factory(np),
        factory(torch.Tensor),
        factory(io.StringIO()),
        factory({"a": 1, "b": {2, 3}}),
        lambda x, limit=NOTHING: x.state > 0,
        lambda x: x.state > LIMIT,
        unset,
        keyword,
    ]


def test_values_and_names_tell_functions_apart(monkeypatch):
    found = [digest(function) for function in made()]
    assert len({*found}) == len(found)
    assert found == [digest(function) for function in made()]  # made anew, at other addresses
    monkeypatch.setattr(sys.modules[__name__], "LIMIT", 0.2)
    changed = [digest(function) for function in made()]
    assert [a == b for a, b in zip(found, changed, strict=True)].count(False) == 1


def test_what_refers_to_itself_or_is_deep_or_shared_has_an_end():
    gate = Gate(0.1)
    gate.me, nested = gate, [gate]
    nested.append(nested)
    assert digest(gate) != digest(Gate(0.1)) and digest(Gate(nested)) != digest(Gate(0.1))
    chain = shared = None
    for _ in range(5000):
        chain = Gate(chain)
    for _ in range(60):
        shared = Gate((shared, shared))
    assert digest(chain) and digest(shared)


def test_another_process_says_the_same():
    folder = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {folder!r}); import test_digests as t; print([t.digest(f) for f in t.made()])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert said == str([digest(function) for function in made()])
