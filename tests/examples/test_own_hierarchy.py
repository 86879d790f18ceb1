"""The example that runs from a description to a picture."""

import numpy as np
import pytest
from matplotlib.image import imread

import optioncoagent as oc
from optioncoagent.examples import own_hierarchy
from optioncoagent.gallery import TERMINATE


def test_its_gradient_is_checked_by_three_roads():
    found = own_hierarchy.check(episodes=20_000)
    assert found.difference < 1e-8 and found.errors < 5 and found.size > 0.01
    # eight states that are not the end: 2 manager, 2 · 4 · 2 termination, 2 · 4 option, 4 · 4 action
    assert found.entries == 8 * (2 + 16 + 8 + 16)


def test_what_the_largest_of_many_errors_is_expected_to_be():
    assert own_hierarchy.largest_of(1) == pytest.approx(np.sqrt(2 / np.pi), abs=1e-6)
    assert own_hierarchy.largest_of(2) == pytest.approx(2 / np.sqrt(np.pi), abs=1e-6)
    drawn = np.abs(np.random.default_rng(0).normal(size=(20_000, 336))).max(axis=1)
    assert own_hierarchy.largest_of(336) == pytest.approx(drawn.mean(), abs=0.01)


def test_what_is_checked_is_the_gradient(monkeypatch):
    exact = oc.policy_gradient
    monkeypatch.setattr(oc, "policy_gradient", lambda *given: {name: 1.1 * x for name, x in exact(*given).items()})
    found = own_hierarchy.check(episodes=20_000)
    assert found.difference > 0.01 and found.errors > 5


@pytest.fixture(scope="module")
def steps():
    agent = oc.CoagentActorCritic("MiniGrid-Empty-5x5-v0", own_hierarchy.describe, seed=0, num_envs=2, num_steps=16).learn(64)
    return own_hierarchy.play(agent, max_steps=60)


def test_an_episode_is_what_the_coagents_said(steps):
    assert len(steps) > 20
    ended = [step.outputs["termination"] == TERMINATE for step in steps]
    for before, now, over in zip(steps, steps[1:], ended[1:], strict=False):
        assert over or now.outputs["option"] == before.outputs["option"]
    assert 0 < sum(ended[1:]) < len(steps) - 1
    assert len({step.outputs["option"] for step in steps}) > 1
    for step in steps:
        assert step.policy.shape == (4, 7) and step.policy.sum(axis=1) == pytest.approx(1)
        assert step.policy[step.outputs["option"], step.outputs["action"]] > 0


def test_from_the_description_to_the_picture(tmp_path, capsys):
    out = tmp_path / "own.png"
    own_hierarchy.OwnHierarchy("MiniGrid-Empty-5x5-v0", 2_000, out=out).run()
    told = capsys.readouterr().out
    assert "central differences" in told and "the largest of 336 (of as many normals: 3.1)" in told and "evaluated: 100 episodes" in told
    height, width, _ = imread(out).shape
    assert height > 500 and width > 800
