"""Large networks: the tick by factors and its chain, never built, give the numbers of the dense solver; what is too large is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import cases, horizon_cases
from witness import assert_same

from optioncoagent.exact.chain import chain
from optioncoagent.exact.large import LargeChain


@settings(max_examples=200)
@given(cases())
def test_the_factored_chain_is_the_dense_one(case):
    assert_dense(*case)


@given(cases(sharing=True))
def test_sharing(case):
    assert_dense(*case)


@given(horizon_cases())
def test_horizon(case):
    assert_dense(*case)


def assert_dense(mdp, network, params):
    """J and every local gradient; or both refuse in the same words."""
    mdp = mdp.unrolled
    dense, factored = chain(mdp, network, params), LargeChain(mdp, network, params)
    assert factored.expected_return == pytest.approx(dense.expected_return, rel=1e-10, abs=1e-11)
    for name in network.names:
        assert_same({name: factored.local_gradient(name)}, {name: dense.local_gradient(name)}, 1e-9)
