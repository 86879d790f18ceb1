"""The gridworld and four rooms: Gymnasium's own checks, frequencies against the tables, known optimal step counts."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from optioncoagent.mdp import MDP
from optioncoagent_envs.tabular.four_rooms import CELLS, DYNAMICS, EAST_DOORWAY, LOWER_RIGHT_ROOM, STATE, FourRooms
from optioncoagent_envs.tabular.gridworld import gridworld

IDS = ["OptionCoagent/Gridworld-v0", "OptionCoagent/FourRooms-v0"]


@pytest.mark.parametrize("env_id", IDS)
def test_gymnasium_checker(env_id):
    check_env(gym.make(f"optioncoagent_envs:{env_id}").unwrapped, skip_render_check=True)


@pytest.mark.parametrize("env_id", IDS)
def test_tables_make_an_mdp(env_id):
    mdp = MDP.from_env(gym.make(f"optioncoagent_envs:{env_id}"), gamma=0.9)
    assert mdp.terminal.sum() == 1


def _optimal_steps(env, goal):
    """Mean over starts of the optimal number of steps to the goal, by value iteration on the table."""
    T = np.zeros((len(env.cells), 4, len(env.cells)))
    for s, actions in env.P.items():
        for a, outcomes in actions.items():
            for p, successor, _, _ in outcomes:
                T[s, a, successor] += p
    v = np.zeros(len(env.cells))
    for _ in range(2000):
        v = (1 + T @ v).min(axis=1)
        v[goal] = 0
    return env.initial_state_distrib @ v


def test_gridworld_takes_four_steps():
    env = gridworld()
    assert _optimal_steps(env, 8) == 4
    assert env.P[0][0] == [(1.0, 0, -1.0, False)] and env.P[7][3] == [(1.0, 8, -1.0, True)]


@pytest.mark.parametrize(("dynamics", "steps"), [("text", 12.06), ("code", 8.39), ("script", 8.39)])
def test_four_rooms_optimal_steps(dynamics, steps):
    """12.06 and 8.39 are the published optimal means for the east doorway."""
    assert len(CELLS) == 104 and EAST_DOORWAY == 62 and len(LOWER_RIGHT_ROOM) == 20
    assert _optimal_steps(FourRooms(dynamics), EAST_DOORWAY) == pytest.approx(steps, abs=0.006)


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_four_rooms_frequencies(dynamics):
    """Sampled successors of one cell agree with the table within five standard errors."""
    env = FourRooms(dynamics)
    env.reset(seed=3)
    n, counts = 20_000, np.zeros(104)
    for _ in range(n):
        env.state = 40
        counts[env.step(3)[0]] += 1
    expected = np.zeros(104)
    for p, s, _, _ in env.P[40][3]:
        expected[s] += p
    assert expected.sum() == pytest.approx(1)
    assert (np.abs(counts / n - expected) <= 5 * np.sqrt(expected * (1 - expected) / n)).all()


def test_a_wall_stops_a_move_and_in_the_script_the_hop_too():
    """At the top-left corner, up is into the wall; right is open, and its neighbours are three."""
    corner, below, right = (STATE[cell] for cell in ((1, 1), (2, 1), (1, 2)))
    laws = {dynamics: {s: p for p, s, *_ in FourRooms(dynamics).P[corner][0]} for dynamics in DYNAMICS}
    assert laws["script"] == {corner: pytest.approx(1)}
    assert laws["code"] == laws["text"] == {corner: pytest.approx(2 / 3), below: pytest.approx(1 / 6), right: pytest.approx(1 / 6)}
    assert FourRooms("script").P[corner][3] == FourRooms("code").P[corner][3] != FourRooms("text").P[corner][3]


def test_goal_moves_and_moves_back():
    env = FourRooms()
    env.reset(seed=0, options={"goal": 70})
    assert env.goal == 70 and env.initial_state_distrib[70] == 0 and env.initial_state_distrib[62] > 0
    env.state = 69
    env.set_goal(EAST_DOORWAY)
    assert not any(terminated for _, _, _, terminated in env.P[69][3])
    for wrong in (104, 62.0, True, "62"):
        with pytest.raises(ValueError, match=f"goal={wrong!r}"):
            env.set_goal(wrong)
    assert env.goal == EAST_DOORWAY and env.initial_state_distrib.sum() == pytest.approx(1)
    for wrong in (1.9, -1, 4):
        with pytest.raises(ValueError, match=f"action={wrong}: it is one of 0 … 3"):
            env.step(wrong)


def test_render_draws_agent_and_goal():
    env = gridworld(render_mode="ansi")
    env.reset(seed=0)
    assert env.render() == "A..\n...\n..G"


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="dynamics='both'"):
        FourRooms("both")
    with pytest.raises(ValueError, match="size=1"):
        gridworld(1)
    with pytest.raises(ValueError, match="render_mode"):
        gridworld(render_mode="human")
