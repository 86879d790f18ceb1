"""optioncoagent audit."""

import csv
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from small import GRIDWORLD

import optioncoagent as oc
from optioncoagent import auditing
from optioncoagent.agents.evaluation import Episode, Evaluation
from optioncoagent.auditing import command
from optioncoagent.auditing.command import Audit, _enumerate, _returns, discounted_successes
from optioncoagent.cli import main

SMALL = dict(num_envs=4, num_steps=32, hidden_sizes=(16,), num_options=2, seed=0)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["optioncoagent", "audit", *map(str, arguments)])
    main()


@pytest.mark.parametrize(("horizon", "cost"), [pytest.param([], 0.0, marks=pytest.mark.slow), (["--horizon"], 0.01)])
def test_a_level_of_minigrid(monkeypatch, tmp_path, capsys, horizon, cost):
    """The exact return is that of episodes on the environment itself: under the horizon to the letter. Costs are no part of either."""
    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", deliberation_cost=cost, **SMALL).learn(2048)
    agent.save(tmp_path / "run")
    run(monkeypatch, tmp_path / "run", "--num-episodes", 200, "--rollouts", 16, "--csv", tmp_path / "rows.csv", *horizon)
    printed = capsys.readouterr().out
    exact, mean, error = map(float, re.search(r"exact (\S+), 200 episodes (\S+) ± (\S+)", printed).groups())
    assert 0 < exact < 1 and abs(exact - mean) < 4.5 * error + (0 if horizon else 0.02)
    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["coagent"] for row in rows} == {"termination", "option", "action"}
    for row in rows:
        assert re.search(rf"^{row['coagent']} +{row['form']}\*? +{row['critic']} .*{re.escape(row['deviation'])}", printed, re.MULTILINE)


def test_a_toy_text_environment(monkeypatch, tmp_path, capsys):
    oc.OptionCritic(GRIDWORLD, gamma=0.9, **SMALL).save(tmp_path / "run")
    run(monkeypatch, tmp_path / "run", "--num-episodes", 3, "--rollouts", 16)
    printed = capsys.readouterr().out
    assert "3 episodes: return" in printed and "critic, own: error" in printed


def test_costs_of_an_additive_network_are_no_part_of_its_return():
    network = oc.CoagentNetwork([oc.Coagent("a", 2, cost=0.5), oc.Coagent("action", 4, upstream=("a",), additive=True)])
    agent = oc.CoagentActorCritic(GRIDWORLD, network, gamma=0.9, num_envs=4, num_steps=32, hidden_sizes=(16,))
    mdp = oc.MDP.from_env(GRIDWORLD, 0.9)
    free = oc.CoagentNetwork([replace(c, cost=0.0, additive=False) for c in network.coagents])
    found = _returns(agent, mdp, Audit(Path(), num_episodes=2), SimpleNamespace(expected_return=0.0))
    assert found.exact == oc.expected_return(mdp, free, agent.params(mdp)) < 0


def test_all_checkpoints_of_a_run_as_table_and_picture(monkeypatch, tmp_path, capsys):
    agent, home = oc.OptionCritic(GRIDWORLD, gamma=0.9, **SMALL), tmp_path / "run" / "checkpoints"
    for _ in range(2):
        agent.learn(128).save(home / f"step-{agent.num_timesteps:012d}")
    arguments = tmp_path / "run", "--checkpoints", "--num-episodes", 2, "--rollouts", 16
    run(monkeypatch, *arguments, "--out", tmp_path / "audit.png", "--csv", tmp_path / "rows.csv")
    printed = capsys.readouterr().out
    assert (tmp_path / "audit.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [step for step in dict.fromkeys(row["timesteps"] for row in rows)] == ["128", "256"]
    for step in ("128", "256"):
        assert re.search(rf"^after {step} steps: J exact -", printed, re.MULTILINE)
        mine = [row for row in rows if row["timesteps"] == step and row["coagent"] == "option" and row["form"] == "expected"]
        base, exact = next(row for row in mine if row["critic"] == "own"), next(row for row in mine if row["critic"] == "exact")
        line = " +".join(
            "lost" if row["lost"] == "True" else " +".join(re.escape(f"{float(row[key]):.3f}") for key in ("cosine", "norm_ratio"))
            for row in (base, exact, mine[-1])
        )
        assert mine[-1]["settings"] == "True" and re.search(rf"^ +{step}  option +expected +{line} ", printed, re.MULTILINE)


def test_what_cannot_be_audited_ends_with_one_line(monkeypatch, tmp_path, capsys):
    oc.OptionCritic(GRIDWORLD, gamma=0.9, **SMALL).save(tmp_path / "grid")
    oc.OptionCritic("CartPole-v1", **SMALL).save(tmp_path / "cart")
    foreign = oc.OptionCritic("CartPole-v1", **SMALL)
    foreign.interface = replace(foreign.interface, env_id="somebody:Else-v0")
    foreign.save(tmp_path / "foreign")
    for arguments, words in (
        ((tmp_path / "grid", "--level", 3), "--level and --horizon are for MiniGrid"),
        ((tmp_path / "grid", "--num-episodes", 0), "num_episodes=0"),
        ((tmp_path / "cart",), "CartPole-v1 has no toy_text tables"),
        ((tmp_path / "nothing",), "no agent"),
        ((tmp_path / "grid", "--checkpoints"), "holds no checkpoints"),
        ((tmp_path / "grid", "--out", tmp_path / "no" / "a.png"), "there is no folder"),
        ((tmp_path / "foreign",), "import somebody before"),
    ):
        with pytest.raises(SystemExit) as stopped:
            run(monkeypatch, *arguments)
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and words in error and len(error.strip().splitlines()) == 1


def test_an_environment_is_enumerated_as_it_was_made(tmp_path):
    slippery, firm = (_enumerate("FrozenLake-v1", kwargs, 0.9, Audit(tmp_path)) for kwargs in ({}, {"is_slippery": False}))
    assert slippery[1] == firm[1] == 100 and _enumerate("FrozenLake-v1", {"max_episode_steps": 20}, 0.9, Audit(tmp_path))[1] == 20
    assert set(firm[0].transition_matrix.data) == {1.0} != set(slippery[0].transition_matrix.data)
    with pytest.raises(ValueError, match="a level is enumerated without"):
        _enumerate("MiniGrid-Empty-5x5-v0", {"view": "full"}, 0.9, Audit(tmp_path))
    hopping, slipping = (_enumerate("OptionCoagent/FourRooms-v0", {"dynamics": d}, 0.9, Audit(tmp_path))[0] for d in ("code", "text"))
    own = _enumerate("optioncoagent_envs:OptionCoagent/Gridworld-v0", {}, 0.9, Audit(tmp_path))
    assert own[0].num_states == 10 and own[1] == gym.spec("OptionCoagent/Gridworld-v0").max_episode_steps
    assert hopping.num_states == 105 and (hopping.transition_matrix != slipping.transition_matrix).nnz


def test_a_level_of_ones_own_class_is_one_of_minigrids(monkeypatch, tmp_path, capsys):
    from minigrid.envs import EmptyEnv

    class Mine(EmptyEnv):
        pass

    gym.register("MineToAudit-v0", entry_point=Mine, kwargs={"size": 5})
    try:
        oc.OptionCritic("MineToAudit-v0", **SMALL).learn(2048).save(tmp_path / "run")
        run(monkeypatch, tmp_path / "run", "--num-episodes", 2, "--rollouts", 16)
    finally:
        gym.registry.pop("MineToAudit-v0")
    assert "exact" in capsys.readouterr().out


def test_discounted_successes():
    np.testing.assert_allclose(discounted_successes([0.9, 0.0, 0.2], [1, 50, 3], 0.5), [1.0, 0.0, 0.25])


def test_the_level_that_was_asked_for_is_audited_under_its_time_limit(monkeypatch, tmp_path):
    """The audit is of the level that was asked for, with the time limit of its episodes."""
    seen = []

    class Enough(Exception): ...

    def examine(*given):
        seen.append(given)
        raise Enough

    monkeypatch.setattr(auditing, "examine", examine, raising=False)
    oc.OptionCritic("MiniGrid-Empty-Random-5x5-v0", **SMALL).save(tmp_path / "a")
    levels = [oc.MDP.from_minigrid("MiniGrid-Empty-Random-5x5-v0", 0.99, seed=s, view="egocentric") for s in (0, 3)]
    first = [level.observations[0]["image"] for level in levels]
    assert (first[0] != first[1]).any()
    with pytest.raises(Enough):
        run(monkeypatch, tmp_path / "a", "--level", 3, "--rollouts", 16, "--seed", 5)
    ((_, mdp, rollouts, seed, max_steps),) = seen
    assert (mdp.observations[0]["image"] == first[1]).all() and (rollouts, seed, max_steps) == (16, 5, 100)


def test_the_error_is_that_of_the_mean(monkeypatch, tmp_path):
    agent = oc.OptionCritic("MiniGrid-Empty-Random-5x5-v0", **SMALL)
    agent.evaluate = lambda *given, **named: Evaluation.of([Episode(0.9, 1), Episode(0.0, 100), Episode(0.9, 1), Episode(0.0, 100)])
    found = command._returns(agent, SimpleNamespace(gamma=0.9), command.Audit(tmp_path), SimpleNamespace(expected_return=0.5))
    assert (found.mean, found.error) == pytest.approx((0.5, np.sqrt(1 / 3) / 2))
