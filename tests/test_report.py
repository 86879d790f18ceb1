"""The page about runs: what is said, and that it needs nothing but itself."""

import json
import re
import sys
from html.parser import HTMLParser

import gymnasium as gym
import pytest
from small import SMALL, appendix_d
from toys import Toy

import optioncoagent as oc
from optioncoagent import report
from optioncoagent.agents.files import seal
from optioncoagent.cli import main
from optioncoagent.runs import Recorder


def run(folder, seed=0, returns=(0.0, 1.0), **settings):
    folder.mkdir(parents=True)
    command = {"env_id": "CartPole-v1", "num_options": [4], "total_timesteps": 64, "settings": {"seed": seed, "gamma": 0.99, **settings}}
    (folder / "config.json").write_text(json.dumps({"command": command, "versions": {"python": "<3>"}}))
    (folder / "metrics.csv").write_text("timesteps,return_mean,episodes\n64.0,nan,0.0\n1280.0,0.25,7.0\n")
    if returns:
        (folder / "evaluation.json").write_text(json.dumps({"returns": returns, "lengths": [10, 20]}))
    return folder


class Cells(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.rows, self.open = [], False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.open = tag in ("td", "th") or self.open and tag not in ("table", "tr")

    def handle_endtag(self, tag):
        self.open = self.open and tag not in ("td", "th")

    def handle_data(self, data):
        if self.open:
            self.rows[-1][-1] += data


def test_the_table_says_what_sets_runs_apart_and_what_they_came_to(tmp_path):
    folders = [run(tmp_path / "a", 0), run(tmp_path / "b", 1, None, gamma=0.9)]
    head, first, second = Cells(report.runs_table([report.summarise(folder) for folder in folders])).rows
    assert head[:3] == ["folder", "gamma", "seed"] and "num_options" not in head
    # mean 1/2, sample deviation 1/√2, standard error 1/2
    assert first == [str(folders[0]), "0.99", "0", "1,280", "0.250", "0.500 ± 0.500 (2)", "15.0"]
    assert second == [str(folders[1]), "0.9", "1", "1,280", "0.250", "not finished", ""]


def test_of_a_network_of_one_s_own_there_are_no_maps_and_no_evaluation_is_missing(tmp_path):
    agent = oc.CoagentActorCritic("MiniGrid-Empty-5x5-v0", appendix_d, hidden_sizes=(8,), seed=0, **SMALL)
    with Recorder(tmp_path / "own") as record:
        agent.learn(128, callback=record)
    page = report.report([tmp_path / "own"])
    assert "maps" not in page.lower().replace("seed of the minigrid level of the maps", "") and "not finished" not in page
    assert Cells(report.runs_table([report.summarise(tmp_path / "own")])).rows[1][-2:] == ["none", ""]


def test_what_has_not_ended_yet_is_no_number(tmp_path):
    folder = run(tmp_path / "a", 0)
    (folder / "metrics.csv").write_text("timesteps,return_mean,episodes\n64.0,nan,0.0\n")
    (folder / "evaluation.json").write_text(json.dumps({"returns": [0.5], "lengths": [10]}))
    _, row = Cells(report.runs_table([report.summarise(folder)])).rows
    assert row[1:] == ["0", "64", "no episode has ended", "0.500 (1)", "10.0"]


def test_a_table_says_what_options_are_like(tmp_path):
    """Of runs of another version nothing, and nothing at all where no run says it."""
    old, new = run(tmp_path / "old"), run(tmp_path / "new", 1)
    columns = ("option/length", "option/usage_entropy", "action/information", "action/divergence", "action_1/information", "action/entropy")
    (new / "metrics.csv").write_text(f"timesteps,return_mean,episodes,{','.join(columns)}\n64.0,0.0,0.0,2.5,1.25,0.125,0.5,0.75,9\n")
    head, first, second = Cells(report.options_table([report.summarise(folder) for folder in (old, new)])).rows
    assert head == ["folder", *columns[:-1]]
    assert first == [str(old), "", "", "", "", ""] and second == [str(new), "2.5", "1.25", "0.125", "0.5", "0.75"]
    assert report.options_table([report.summarise(old)]) == ""


def test_maps_are_of_one_run_of_each_setting(tmp_path):
    runs = [report.summarise(run(tmp_path / name, seed, gamma=gamma)) for name, seed, gamma in (("a", 0, 1), ("b", 1, 1), ("c", 0, 0.5))]
    assert [one.folder.name for one in report.first_of_each(runs)] == ["a", "c"]


def test_settings_are_told_apart_as_in_plots(tmp_path):
    """Over other lengths the step size falls otherwise; where it does not fall, they are of one setting."""
    for falls, folders in ((True, ["a", "b"]), (False, ["a"])):
        runs = []
        for name, steps in (("a", 3000), ("b", 6000)):
            folder = run(tmp_path / str(falls) / name, anneal_lr=falls)
            config = json.loads((folder / "config.json").read_text())
            config["command"]["total_timesteps"] = steps
            (folder / "config.json").write_text(json.dumps(config))
            runs.append(report.summarise(folder))
        assert [one.folder.name for one in report.first_of_each(runs)] == folders


def test_a_configuration_that_was_changed_by_hand_is_refused(tmp_path):
    folder = run(tmp_path / "run")
    (folder / "config.json").write_bytes(seal(json.loads((folder / "config.json").read_text())))
    assert report.summarise(folder).settings["gamma"] == 0.99
    (folder / "config.json").write_text((folder / "config.json").read_text().replace("0.99", "0.95"))
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        report.summarise(folder)


def test_what_comes_from_files_is_text():
    page = report.page("<b>", {"<i>": "<p>ours</p>"})
    assert "<b>" not in page and "<h2>&lt;i&gt;</h2>" in page and "<p>ours</p>" in page


def test_a_run_that_is_named_twice_is_one_run(tmp_path, monkeypatch):
    folder = run(tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report, "_task", lambda runs, level: f"{len(runs)} runs")
    assert "1 runs" in report.report([folder, "one", "one/"])


def test_a_run_whose_environment_is_not_there_has_no_maps_and_all_the_rest(tmp_path):
    """As of one that a module of one's own registers, which is not imported here."""
    gym.register("Mine-v0", Toy)
    try:
        agent = oc.OptionCritic("Mine-v0", num_options=2, num_envs=1, num_steps=8, num_minibatches=2, hidden_sizes=(4,))
    finally:
        gym.registry.pop("Mine-v0")
    folder = run(tmp_path / "mine")
    agent.save(folder)
    said = report._maps(report.summarise(folder), [report.summarise(folder)], 0)
    assert "No maps: " in said and "Mine" in said


class Failing(Toy):
    grid = agent_pos = None  # as MiniGrid's have

    def reset(self, **kwargs):
        raise AssertionError("it cannot be reset today")


def test_an_environment_that_fails_has_no_maps_and_all_the_rest(tmp_path, monkeypatch):
    gym.register("Failing-v0", Toy)
    try:
        folder = run(tmp_path / "failing")
        oc.OptionCritic("Failing-v0", num_options=2, num_envs=1, num_steps=8, num_minibatches=2, hidden_sizes=(4,)).save(folder)
        monkeypatch.setattr(gym.registry["Failing-v0"], "entry_point", Failing)
        said = report._maps(report.summarise(folder), [report.summarise(folder)], 0)
    finally:
        gym.registry.pop("Failing-v0")
    assert "No maps: it cannot be reset today" in said


def test_folders_that_are_no_runs_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is not a run folder: there is no config\.json"):
        report.summarise(tmp_path)
    for text in ("{", "[]", "{}"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match=r"config\.json is damaged"):
            report.summarise(tmp_path)
    (run(tmp_path / "run") / "metrics.csv").write_text("timesteps,episodes,return_mean\n")
    with pytest.raises(ValueError, match="no rows yet"):
        report.summarise(tmp_path / "run")
    folder = run(tmp_path / "evaluated")
    for content in (
        {"returns": []},
        {"returns": [], "lengths": []},
        {"returns": ["x"], "lengths": [1]},
        {"returns": [1], "lengths": [1, 2]},
    ):
        (folder / "evaluation.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=r"evaluation\.json is damaged"):
            report.summarise(folder)


def test_the_page_needs_nothing_else(tmp_path, monkeypatch, capsys):
    def command_line(*arguments):
        monkeypatch.setattr(sys, "argv", ["optioncoagent", *map(str, arguments)])
        main()

    small = "--total-timesteps 128 --num-envs 4 --num-steps 16 --hidden-sizes 8 --eval-episodes 2 --num-options 2".split()
    folders = [tmp_path / name for name in ("grid", "other")]
    for env_id, folder in zip(("OptionCoagent/Gridworld-v0", "CartPole-v1"), folders, strict=True):
        command_line("train", env_id, "--run-dir", folder, *small)
    (folders[0] / "film.gif").write_bytes(b"GIF89a")
    (folders[1] / "film.gif").write_bytes(b"")
    command_line("report", *folders, "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "page.html" in capsys.readouterr().out
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert [source.partition(";")[0] for source in sources] == ["data:image/png", "data:image/png", "data:image/gif", "data:image/png"]
    assert page.count("Options in the last update") == 2
    assert "<h2>OptionCoagent/Gridworld-v0</h2>" in page and "No maps: CartPole-v1 has no floor plan" in page
    assert "url(" not in page and "@import" not in page and "<script" not in page
