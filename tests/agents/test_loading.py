"""Agents of run folders, with the code that they need beside them: evaluate, watch, maps and audit with networks of one's own."""

import re
import sys
import warnings
from dataclasses import replace

import pytest
from small import GRIDWORLD, SMALL, appendix_d

import optioncoagent as oc
from optioncoagent import imports
from optioncoagent.agents import checkpoint, files
from optioncoagent.agents.loading import load_agent
from optioncoagent.cli import main
from optioncoagent.runs import Recorder

EMPTY = "MiniGrid-Empty-5x5-v0"
NETWORKS = """import optioncoagent as oc
def appendix_d(num_actions):
    bits = [oc.Coagent(name, 2, executes=0.5) for name in ("left", "right")]
    return oc.CoagentNetwork([*bits, oc.Coagent("action", num_actions, observes=False, upstream=("left", "right"), executes=0.5)])
made = appendix_d(7)
def wider(n):
    bits = [oc.Coagent("left", 3, executes=0.5), oc.Coagent("right", 2, executes=0.5)]
    return oc.CoagentNetwork([*bits, oc.Coagent("action", n, observes=False, upstream=("left", "right"), executes=0.5)])
other = lambda n: oc.CoagentNetwork([oc.Coagent("up", 2), oc.Coagent("action", n, upstream=("up",))])
def nothing(n): return None
number = 7
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Of a run of the appendix's network, in a directory that has its description."""
    agent = oc.CoagentActorCritic(EMPTY, appendix_d, hidden_sizes=(8,), seed=0, **SMALL)
    with Recorder(tmp_path / "run") as record:
        agent.learn(128, callback=record)
    (tmp_path / "networks_of_mine.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "run"


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["optioncoagent", *map(str, arguments)])
    main()


@pytest.mark.parametrize("name", ["appendix_d", "made"])
def test_a_network_by_its_name(folder, name):
    """A function of the number of actions, or the network itself: the agent is that of `CoagentActorCritic.load`."""
    agent, expected = load_agent(folder, f"networks_of_mine:{name}"), oc.CoagentActorCritic.load(folder, appendix_d)
    observation, _ = agent.env.reset(seed=0)
    ours, theirs = agent.probabilities(observation), expected.probabilities(observation)
    assert ours.keys() == theirs.keys() and all((ours[x] == theirs[x]).all() for x in ours)
    assert agent.num_timesteps == 128


def test_commands_take_it(folder, monkeypatch, capsys):
    given = ("--network", "networks_of_mine:appendix_d")
    run(monkeypatch, "evaluate", folder, "--num-episodes", 3, *given)
    expected = oc.CoagentActorCritic.load(folder, appendix_d).evaluate(3)
    assert capsys.readouterr().out == f"{expected}\n"
    run(monkeypatch, "watch", folder, "--num-episodes", 1, "--max-steps", 3, *given)
    assert (folder / "film.gif").read_bytes().startswith(b"GIF8") and "in 3 steps (cut)" in capsys.readouterr().out


def test_an_audit_of_it(tmp_path, monkeypatch, capsys):
    agent = oc.CoagentActorCritic(GRIDWORLD, appendix_d, hidden_sizes=(), seed=0, **SMALL)
    agent.save(tmp_path / "agent")
    (tmp_path / "networks_to_audit.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    run(monkeypatch, "audit", "agent", "--network", "networks_to_audit:appendix_d", "--rollouts", 16, "--num-episodes", 2)
    printed = capsys.readouterr().out
    assert all(f"\n{name} " in printed for name in ("left", "right", "action"))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (None, "network of its own: .* evaluate, watch, maps and audit take it as --network MODULE:NAME"),
        ("networks_of_mine", "'networks_of_mine' names nothing: write MODULE:NAME"),
        ("networks_of_mine:wider", "agent with another network: num_outputs of 'left' was 2 and is 3"),
        ("networks_of_mine:other", "num_outputs of 'left' was 2 and is None"),
        ("sys:absent", r"sys \(built in\) has no absent"),
        ("networks_of_mine:nothing", "nothing returned a NoneType, and has to be a CoagentNetwork"),
        ("networks_of_mine:number", "it is a int, and has to be a CoagentNetwork"),
        ("networks_of_mine:absent", "networks_of_mine .*networks_of_mine.py.* has no absent"),
        ("no_module_of_mine:describe", "No module named 'no_module_of_mine'"),
    ],
)
def test_what_is_not_its_network_is_said(folder, network, message):
    with pytest.raises((ValueError, TypeError, ImportError)) as raised:
        load_agent(folder, network)
    assert re.search(message, "; ".join([str(raised.value), *getattr(raised.value, "__notes__", [])]))


def test_a_network_for_an_agent_that_describes_its_own_is_refused(tmp_path):
    """One of the same shapes would be taken, whatever it reads and when it executes."""
    oc.OptionCritic(EMPTY, num_options=2, **SMALL).save(tmp_path / "agent")
    with pytest.raises(ValueError, match="agent holds an OptionCritic, which describes its own network: leave out network=no_module:at"):
        load_agent(tmp_path / "agent", "no_module:at")


def changed(name, **fields):
    """The appendix's network, one coagent of it otherwise."""
    network = appendix_d(7)
    return oc.CoagentNetwork([replace(c, **fields) if c.name == name else c for c in network.coagents])


def test_another_network_of_the_same_shapes_is_refused(folder):
    """Its tables would be read with the two bits exchanged; so is one of which a coagent reads what came before."""
    for network, message in (
        (changed("action", upstream=("right", "left")), r"upstream of 'action' was \['left', 'right'\] and is \['right', 'left'\]"),
        (changed("action", observes=True), "another network"),
        (oc.CoagentNetwork([*appendix_d(7).coagents[:2], oc.Coagent("action", 7)]), "another network"),
    ):
        with pytest.raises(ValueError, match=message):
            oc.CoagentActorCritic.load(folder, network)
        other = oc.CoagentActorCritic(EMPTY, network, hidden_sizes=(8,), **SMALL)
        with pytest.raises(ValueError, match=message):
            other.begin_with(folder)


def test_a_network_that_only_acts_otherwise_is_warned_of(folder):
    """Or costs something else; the same one by another function is not."""
    for network, message in (
        (changed("left", executes=0.25), "executes of 'left' was 0.5 and is 0.25"),
        (changed("left", cost=0.5), "costs of 'left' was None and is 0.5"),
        (changed("left", initial=1), r"initial of 'left' was None and is \[0.0, 1.0\]"),
    ):
        with pytest.warns(UserWarning, match=f"the network is not quite that of .*run.*: {message}") as said:
            oc.CoagentActorCritic.load(folder, network)
        assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        oc.CoagentActorCritic.load(folder, lambda n: appendix_d(n))


def test_execution_functions_are_told_apart_by_what_they_say(tmp_path):
    def network(function):
        return lambda n: oc.CoagentNetwork([oc.Coagent("left", 2), oc.Coagent("action", n, upstream=("left",), executes=function)])

    def never_twice(x):
        return x.start | (x.upstream["left"] == 1)

    oc.CoagentActorCritic(EMPTY, network(never_twice), hidden_sizes=(8,), **SMALL).save(tmp_path / "agent")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        oc.CoagentActorCritic.load(tmp_path / "agent", network(lambda x: (x.upstream["left"] == 1) | x.start))
    with pytest.warns(UserWarning, match="executes of 'action'"):
        oc.CoagentActorCritic.load(tmp_path / "agent", network(lambda x: x.start | (x.upstream["left"] == 0)))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"previous": ("left", "right")}, {"previous": ("right", "left")}),
        ({"shares": "left"}, {}),
        ({"previous": ("left",)}, {"previous": ("right",)}),
    ],
)
def test_what_shapes_do_not_tell_is_held_against_what_was_kept(tmp_path, before, now):
    def network(**fields):
        bits = oc.Coagent("left", 2), oc.Coagent("right", 2, **{name: x for name, x in fields.items() if name == "shares"})
        reads = {name: x for name, x in fields.items() if name == "previous"}
        return oc.CoagentNetwork([*bits, oc.Coagent("action", 7, upstream=("left", "right"), **reads)])

    oc.CoagentActorCritic(EMPTY, network(**before), hidden_sizes=(), **SMALL).save(tmp_path / "agent")
    with pytest.raises(ValueError, match=f"another network: {next(iter(before))} of "):
        oc.CoagentActorCritic.load(tmp_path / "agent", network(**now))


def test_option_critic_s_network_is_told_by_its_settings(tmp_path):
    oc.OptionCritic(EMPTY, 2, hidden_sizes=(), **SMALL).save(tmp_path / "agent")
    assert checkpoint.read(tmp_path / "agent").network == {}


def test_a_module_of_the_working_directory_is_found(tmp_path, monkeypatch):
    """Where it is not on the path, as it is not of a console script."""
    (tmp_path / "only_here.py").write_text("x = 3")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder not in ("", ".")])
    assert imports.named("only_here:x") == 3


def test_an_agent_of_before_networks_were_kept_loads(folder):
    (checkpoint,) = (folder / "checkpoints").iterdir()
    content = files.unseal(checkpoint / "agent.json")
    assert content.pop("network")["upstream"] == {"action": ["left", "right"]}
    (checkpoint / "agent.json").write_bytes(files.seal(content))
    assert oc.CoagentActorCritic.load(checkpoint, changed("left", executes=0.25)).num_timesteps == 128


def test_a_checkpoint_from_within_its_folder(folder, monkeypatch):
    (checkpoint,) = (folder / "checkpoints").iterdir()
    for place, path in ((checkpoint.parent, checkpoint.name), (checkpoint, ".")):
        monkeypatch.chdir(place)
        assert load_agent(path, "networks_of_mine:appendix_d").num_timesteps == 128


def test_a_module_in_the_folder_of_a_run_is_not_imported(tmp_path, monkeypatch):
    """Not for one of its checkpoints either, with that folder as the working directory."""
    import gymnasium as gym

    gym.register("Ours-v0", "gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=20)
    try:
        agent = oc.OptionCritic("Ours-v0", hidden_sizes=(8,), **SMALL)
        object.__setattr__(agent.interface, "env_id", "module_in_a_run:Ours-v0")
        with Recorder(tmp_path / "run") as record:
            agent.learn(64, callback=record)
    finally:
        gym.registry.pop("Ours-v0")
    (tmp_path / "run" / "module_in_a_run.py").write_text("")
    monkeypatch.chdir(tmp_path / "run")
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    for path in (checkpoint, checkpoint.relative_to(tmp_path / "run"), tmp_path / "run"):
        load_agent(path)
        assert "module_in_a_run" not in sys.modules
    (tmp_path / "run" / "module_in_a_run.py").rename(checkpoint.parent / "module_in_a_run.py")
    monkeypatch.chdir(checkpoint.parent)
    load_agent(checkpoint.name)
    assert "module_in_a_run" not in sys.modules
    agent.save(tmp_path / "checkpoints" / "mine")  # of no run
    (tmp_path / "module_in_a_run.py").write_text("")
    monkeypatch.chdir(tmp_path)
    load_agent("checkpoints/mine")
    assert "module_in_a_run" in sys.modules
