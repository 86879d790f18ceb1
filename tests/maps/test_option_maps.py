"""Maps of options: where the agent is in each state, what is added up in which cell, what is drawn."""

import sys

import gymnasium as gym
import numpy as np
import pytest
from matplotlib.figure import Figure
from small import GRIDWORLD, SMALL

import optioncoagent as oc
from optioncoagent import maps
from optioncoagent.cli import main
from optioncoagent.examples import own_hierarchy
from optioncoagent.experiments.gradients_command import Gradients, make_mdp
from optioncoagent.gallery import stochastic_layers
from optioncoagent.maps import option_maps
from optioncoagent.maps.drawing import arrows, draw
from optioncoagent.maps.occupancy import CellMaps, cell_maps
from optioncoagent.maps.plans import MINIGRID_ACTIONS, NOWHERE, FloorPlan, poses, read_level


@pytest.mark.parametrize("env_id", ["MiniGrid-DoorKey-5x5-v0", "MiniGrid-LavaCrossingS9N1-v0", "MiniGrid-RedBlueDoors-6x6-v0"])
def test_poses_are_those_of_the_environment(env_id):
    """A random walk in minigrid's own environment and in the enumerated MDP goes through the same cells, facing the same way."""
    mdp, plan = read_level(env_id, 0.99, seed=3)
    successor = mdp.transition_matrix.indices.reshape(mdp.num_states, mdp.num_actions)
    env = gym.make(env_id).unwrapped
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(20):
        env.reset(seed=3)
        state, terminated = 0, False
        for action in rng.integers(mdp.num_actions, size=100):
            if terminated:
                break
            assert divmod(int(plan.cell[state]), env.width) == (env.agent_pos[1], env.agent_pos[0])
            assert plan.facing[state] == env.agent_dir
            seen.add(int(plan.cell[state]))
            _, _, terminated, _, _ = env.step(action)
            state = successor[state, action]
    assert len(seen) > 3 and plan.cell[-1] == NOWHERE and (plan.cell[:-1] >= 0).all()
    assert not plan.walls.reshape(-1)[plan.cell[:-1]].any() and plan.starts.tolist() == [plan.cell[0]]


def test_marks_are_what_lies_there():
    env = gym.make("MiniGrid-DoorKey-5x5-v0").unwrapped
    env.reset(seed=0)
    _, plan = read_level("MiniGrid-DoorKey-5x5-v0", 0.99, seed=0)
    assert sorted(what for what, _ in plan.marks.values()) == ["door", "goal", "key"]
    for cell, mark in plan.marks.items():
        row, column = divmod(cell, 5)
        thing = env.grid.get(column, row)
        assert (thing.type, thing.color) == mark
    assert plan.walls.sum() == sum(thing is not None and thing.type == "wall" for thing in env.grid.grid)


def test_the_goals_of_tables_are_where_they_lie():
    """The gridworld's in a corner, OC's at the east doorway."""
    _, plan = read_level("OptionCoagent/Gridworld-v0", 0.99)
    assert plan.marks == {4 * 2 + 2: ("goal", "green")}
    _, plan = read_level("OptionCoagent/FourRooms-v0", 0.99)
    assert plan.marks == {7 * 13 + 9: ("goal", "green")} and 7 * 13 + 9 not in plan.starts and len(plan.starts) == 103


def test_a_level_that_moves_its_agent_otherwise_is_refused():
    """Two states; "left" leads to the second, and so does "forward": its facing is not known."""
    P = np.zeros((2, 7, 2))
    P[0, :, 0] = P[1, :, 1] = 1
    P[0, [0, 2]] = [0, 1]
    mdp = oc.MDP(P, np.ones((2, 7)), [1, 0], 0.9)
    with pytest.raises(ValueError, match="ways of its own"):
        poses(mdp, (1, 1), 0, 5)


def test_levels_without_a_plan_are_refused():
    with pytest.raises(ValueError, match="CartPole-v1 has no floor plan"):
        read_level("CartPole-v1", 0.99)
    with pytest.raises(ValueError, match="names the module no_such_module"):
        read_level("no_such_module:Env-v0", 0.99)
    assert "no_such_module" not in sys.modules
    with pytest.raises(ValueError, match="level=-1: the seed of a level is at least 0"):
        read_level("MiniGrid-Empty-5x5-v0", 0.99, seed=-1)


def test_only_what_is_known_to_be_a_plan_is_taken_for_one():
    """Cells and tables of somebody's own, whose actions may mean anything; a reward that only a wrapper pays."""

    class Mine(gym.Env):
        def __init__(self):
            rooms = gym.make("optioncoagent_envs:OptionCoagent/Gridworld-v0").unwrapped
            self.cells, self.P, self.initial_state_distrib = rooms.cells, rooms.P, rooms.initial_state_distrib
            self.observation_space, self.action_space = rooms.observation_space, rooms.action_space

    gym.register("Mine-v0", Mine)
    gym.register("MiniGrid-Paid-v0", lambda: gym.wrappers.TransformReward(gym.make("MiniGrid-Empty-5x5-v0"), lambda r: r - 1))
    try:
        with pytest.raises(ValueError, match="Mine-v0 has no floor plan"):
            read_level("Mine-v0", 0.99)
        with pytest.raises(ValueError, match="MiniGrid-Paid-v0 is wrapped in TransformReward"):
            read_level("MiniGrid-Paid-v0", 0.99)
        with pytest.raises(ValueError, match="MiniGrid-Paid-v0 is wrapped in TransformReward, of which the states of its grid say nothing"):
            oc.MDP.from_minigrid("MiniGrid-Paid-v0", 0.99)
        for env_id in ("Mine-v0", "MiniGrid-Paid-v0"):
            gym.registry.pop(env_id)
        gym.register("Paid-v0", lambda: gym.wrappers.TransformReward(gym.make("FrozenLake-v1"), lambda r: r - 1))
        with pytest.raises(ValueError, match="wrapped in TransformReward"):
            make_mdp(Gradients("Paid-v0"))
    finally:
        for env_id in ("Mine-v0", "MiniGrid-Paid-v0", "Paid-v0"):
            gym.registry.pop(env_id, None)


def corridor():
    """Three cells in a row, the goal on the right; up and down do nothing. Two options: 0 goes right, 1 goes left."""
    P = np.zeros((4, 4, 4))
    for s in range(3):
        P[s, :2, s] = 1
        P[s, 2, max(s - 1, 0)] = 1
        P[s, 3, s + 1] = 1
    P[3, :, 3] = 1
    mdp = oc.MDP(P, np.zeros((4, 4)), [1, 0, 0, 0], 0.5, np.arange(4) == 3)
    plan = FloorPlan(np.zeros((1, 3), bool), {}, np.array([0]), np.array([0, 1, 2, NOWHERE]), None, ("up", "down", "left", "right"))
    never = -np.inf
    params = {"termination": np.zeros((4, 2, 2)), "option": np.zeros((4, 2)), "action": np.full((4, 2, 4), never)}
    params["action"][:, 0, 3] = params["action"][:, 1, 2] = 0
    return mdp, plan, params


def of_options(mdp, params, plan):
    return cell_maps(mdp, oc.option_critic(2, 4), params, plan, "option")


def test_occupancies_by_hand():
    """Option 0 is always chosen and never ends: the cells have weights 1, 1/2, 1/4, and one choice is made in 7/4 steps."""
    mdp, plan, params = corridor()
    params["option"][:, 1] = -np.inf
    params["termination"][:, :, oc.TERMINATE] = -np.inf
    maps = of_options(mdp, params, plan)
    assert maps.time[:, 0] == pytest.approx(np.array([[4, 2, 1], [0, 0, 0]]) / 7)
    assert maps.chosen[0] == pytest.approx([1, 0, 0]) and maps.chosen[1].sum() == 0
    assert maps.ends[0, 1:] == pytest.approx([0, 0]) and np.isnan(maps.ends[0, 0]) and np.isnan(maps.ends[1]).all()
    assert maps.arrivals[0] == pytest.approx([0, 2 / 3, 1 / 3])
    assert maps.length[0] == pytest.approx(7 / 4)
    assert maps.policy[0, 0, :, 3] == pytest.approx([1, 1, 1]) and np.isnan(maps.policy[1]).all()
    # it ends at once: every step has a choice
    params["termination"][:, :] = np.where(np.arange(2) == oc.TERMINATE, 0, -np.inf)
    maps = of_options(mdp, params, plan)
    assert maps.chosen[0] == pytest.approx(np.array([4, 2, 1]) / 7) and maps.length[0] == pytest.approx(1)


def test_states_of_one_cell_are_weighted_by_time():
    """The cells of a corridor taken for one: terminations 0, 1/2 and 1 there have arrivals 0, 1/2, 1/4."""
    mdp, plan, params = corridor()
    params["option"][:, 1] = -np.inf
    params["termination"][0, 0] = [-np.inf, 0]
    params["termination"][2, 0] = [0, -np.inf]
    one = FloorPlan(plan.walls, {}, plan.starts, np.array([0, 0, 0, NOWHERE]), np.zeros(4, int), plan.actions)
    maps = of_options(mdp, params, one)
    assert maps.time.shape == (2, 4, 3) and maps.time[0, 0].tolist() == [1, 0, 0]
    assert maps.ends[0, 0] == pytest.approx((0.5 * 0.5 + 0.25 * 1) / 0.75)
    assert maps.chosen[0, 0] == 1


def panels(figure):
    return [axes for axes in figure.axes if axes.images]


def test_what_is_drawn():
    """Arrows point where the most probable action leads, numbers are where something happens, unused options are named, not drawn."""
    _, plan, _ = corridor()
    time = np.array([[[0.6, 0.3, 0.1]], [[0.0, 0.0, 0.0]]])
    policy = np.zeros((2, 1, 3, 4))
    policy[0, 0, 0, 3] = policy[0, 0, 1, 2] = policy[0, 0, 2, 0] = 1
    termination = np.array([[np.nan, 0.25, 0.5], [np.nan] * 3])
    arrivals, chosen = np.array([[0, 0.75, 0.25], [0, 0, 0]]), np.array([[1.0, 0, 0], [0, 0, 0]])
    figure = draw([CellMaps("option", policy, time, termination, arrivals, chosen, np.array([2.5, np.nan]))], plan, "corridor")
    does, runs, ends, is_chosen = panels(figure)[:4]
    steps = [np.subtract(patch._posA_posB[1], patch._posA_posB[0]) for patch in does.patches if hasattr(patch, "_posA_posB")]
    assert np.sign(np.round(steps, 6)).tolist() == [[1, 0], [-1, 0], [0, -1]]
    assert [[text.get_text() for text in axes.texts] for axes in (runs, ends, is_chosen)] == [["60", "30", "10"], ["25", "50"], ["100"]]
    assert does.get_ylabel() == "option 0\n100% of the time\n2.5 steps long"
    assert "not drawn: option 1" in figure.get_supxlabel() and figure.get_suptitle() == "corridor"


@pytest.mark.parametrize("env_id", ["MiniGrid-DoorKey-5x5-v0", "OptionCoagent/FourRooms-v0", "OptionCoagent/Gridworld-v0"])
def test_the_command_draws_an_agent(env_id, tmp_path, monkeypatch, capsys):
    oc.OptionCritic(env_id, num_options=2, **SMALL).save(tmp_path / "agent")
    monkeypatch.setattr(
        sys, "argv", ["optioncoagent", "maps", str(tmp_path / "agent"), "--level", "4", "--out", str(tmp_path / "maps.png")]
    )
    main()
    assert (tmp_path / "maps.png").read_bytes()[:4] == b"\x89PNG" and "maps.png" in capsys.readouterr().out


def test_colour_bars_of_large_plans_can_be_read():
    """There are no numbers in the cells, and shares are a percent or two."""
    figure = option_maps(oc.OptionCritic("OptionCoagent/FourRooms-v0", num_options=2, **SMALL))
    figure.canvas.draw()
    bars = [axes.get_xticklabels() for axes in figure.axes if not axes.images and axes.axison]
    assert len(bars) == 3 and all(len({label.get_text() for label in labels}) == len(labels) > 2 for labels in bars)


def captions(figure):
    return [axes.get_ylabel().split("\n")[0] for axes in figure.axes if axes.get_ylabel()]


def test_every_level_of_a_hierarchy_is_drawn():
    """A row for each output of each level, each with shares of its own; the lower options end whenever the upper ones do."""
    agent = oc.OptionCritic("MiniGrid-Empty-5x5-v0", (2, 3), **SMALL)
    figure = option_maps(agent)
    assert captions(figure) == ["option 1: 0", "option 1: 1", "option 2: 0", "option 2: 1", "option 2: 2"]
    mdp, plan = read_level("MiniGrid-Empty-5x5-v0", 0.99)
    upper, lower = (cell_maps(mdp, agent.network, agent.params(mdp), plan, name) for name in ("option_1", "option_2"))
    assert upper.time.shape[0] == 2 and lower.time.shape[0] == 3 and upper.time.sum() == pytest.approx(1) == lower.time.sum()
    assert upper.time.sum(axis=0) == pytest.approx(lower.time.sum(axis=0))
    assert (upper.ends * upper.arrivals)[upper.arrivals > 0].sum() < (lower.ends * lower.arrivals)[lower.arrivals > 0].sum()


def describe(num_actions):
    return own_hierarchy.describe(num_actions)


def test_networks_of_one_s_own_are_drawn(tmp_path, monkeypatch, capsys):
    """The manager, which decides one time in eight, and the options under it; from the command line with the description."""
    agent = oc.CoagentActorCritic("MiniGrid-Empty-5x5-v0", describe, **SMALL)
    figure = option_maps(agent)
    assert captions(figure) == ["manager 0", "manager 1", "option 0", "option 1", "option 2", "option 3"]
    ends = [axes.texts for axes in panels(figure)[12:14]]  # third column, first two rows
    assert {text.get_text() for texts in ends for text in texts} == {"12"}
    agent.save(tmp_path / "agent")
    words = ["maps", tmp_path / "agent", "--out", tmp_path / "m.png", "--network", "optioncoagent.examples.own_hierarchy:describe"]
    monkeypatch.setattr(sys, "argv", ["optioncoagent", *map(str, words)])
    main()
    assert (tmp_path / "m.png").exists()
    monkeypatch.setattr(sys, "argv", ["optioncoagent", *map(str, words[:-2])])
    with pytest.raises(SystemExit):
        main()
    assert "--network MODULE:NAME" in capsys.readouterr().err


def test_what_has_no_maps_is_refused():
    with pytest.raises(ValueError, match="environment object"):
        option_maps(oc.OptionCritic(gym.make("CartPole-v1")))
    with pytest.raises(ValueError, match="this agent's coagents are unit_1_0, "):
        option_maps(oc.CoagentActorCritic("MiniGrid-Empty-5x5-v0", lambda n: stochastic_layers((9,), n), **SMALL))
    looking = [oc.Coagent("option", 2, executes=lambda x: x.state["direction"] == 0), oc.Coagent("action", 7, upstream=("option",))]
    with pytest.raises(ValueError, match="coagent 'option' executes by what it observes"):
        option_maps(oc.CoagentActorCritic("MiniGrid-Empty-5x5-v0", oc.CoagentNetwork(looking), **SMALL))


def test_what_never_executes_is_drawn_without_a_choice():
    network = oc.CoagentNetwork([oc.Coagent("option", 2, executes=0.0, initial=1), oc.Coagent("action", 4, upstream=("option",))])
    mdp, plan, params = corridor()
    maps = cell_maps(mdp, network, {"option": params["option"], "action": np.zeros((4, 2, 4))}, plan, "option")
    assert maps.time[1].sum() == pytest.approx(1) and np.isinf(maps.length[1])
    figure = draw([maps], plan, "never")
    assert captions(figure) == ["option 1"] and not panels(figure)[3].texts


def test_the_level_of_maps_is_the_one_asked_for(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(maps, "option_maps", lambda agent, *given: seen.append(given) or Figure(), raising=False)
    oc.OptionCritic(GRIDWORLD, num_options=2, **SMALL).save(tmp_path / "a")
    monkeypatch.setattr(sys, "argv", ["optioncoagent", *map(str, ["maps", tmp_path / "a", "--level", 4, "--out", tmp_path / "m.png"])])
    main()
    assert seen == [(4, 50_000)]
    with pytest.raises(ValueError, match="more than max_states=20 states"):
        read_level("MiniGrid-Empty-5x5-v0", 0.99, max_states=20)


def test_a_bent_arrow_goes_to_the_side_that_the_agent_turns_to():
    """A bent arrow goes to the side that the agent turns to: facing up, a turn to the left bends to smaller x."""
    plan = FloorPlan(np.zeros((1, 1), bool), {}, np.array([0]), np.array([0, 0, 0, 0, NOWHERE]), np.arange(5) % 4, MINIGRID_ACTIONS)
    for action, sign in (("left", -1), ("right", 1)):
        policy, time = np.zeros((4, 1, 7)), np.zeros((4, 1))
        policy[3, 0, MINIGRID_ACTIONS.index(action)], time[3, 0] = 1, 1
        axes = Figure().add_subplot()
        arrows(axes, plan, policy, time)
        (x0, y0), (x1, y1) = axes.patches[0]._posA_posB
        assert np.sign(x1 - x0) == sign and y0 < 0 and y1 < 0  # above the cell's middle: rows grow downwards


def test_maps_are_of_the_network_as_it_was_described():
    """By whom it starts: an option that is there before the first step, and need not end."""
    agent = oc.OptionCritic(GRIDWORLD, 2, first="terminate", initial=1, **SMALL)
    mdp, plan = read_level(GRIDWORLD, 0.99)
    params = agent.params(mdp)
    params["termination"][:, :, oc.TERMINATE] = -np.inf
    assert cell_maps(mdp, agent.network, params, plan, "option").time[0].sum() == 0
