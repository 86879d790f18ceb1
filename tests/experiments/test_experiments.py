"""Experiments: the runner on one made up here, and each of the papers' in small."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from optioncoagent.experiments import figure5, figure6, four_rooms, problems, runner
from optioncoagent.experiments.reproduce import EXPERIMENTS, Reproduce, load, main
from optioncoagent.runs import workers
from optioncoagent.runs.trial import Job


@dataclass(frozen=True)
class Coin:
    seeds: int = 3
    bias: float = 0.5


class Experiment(SimpleNamespace):
    """Three seeds of a coin; `stop_at` raises KeyboardInterrupt as Ctrl-C would."""

    __name__ = "coins.made_up"
    ASSUMPTIONS = "The coin is thrown, not spun."

    def run(self, setting, seed, threads=1):
        if seed == self.stop_at:
            raise KeyboardInterrupt
        self.calls.append(seed)
        return [{"throw": i, "value": setting.bias + seed + i, "side": "heads"} for i in range(2)]

    def plot(self, rows):
        from matplotlib.figure import Figure

        figure = Figure()
        figure.subplots().plot([row["value"] for row in rows])
        return figure


def test_a_stopped_run_goes_on_where_it_left_off(tmp_path):
    experiment = Experiment(calls=[], stop_at=2)
    with pytest.raises(KeyboardInterrupt):
        runner.run_experiment(experiment, {"fair": Coin()}, tmp_path, progress_bar=False)
    assert len(runner.read_rows(tmp_path)) == 4
    experiment.stop_at = None
    rows = runner.run_experiment(experiment, {"fair": Coin()}, tmp_path, progress_bar=False)
    assert experiment.calls == [0, 1, 2]
    assert rows[-1] == {"setting": "fair", "seed": 2, "throw": 1, "value": 3.5, "side": "heads"}
    content = json.loads((tmp_path / "experiment.json").read_text())
    assert content["settings"] == {"fair": {"seeds": 3, "bias": 0.5}} and content["seeds"] == {"fair": [0, 1, 2]}
    assert content["assumptions"] == Experiment.ASSUMPTIONS and len(content["versions"]) == 1 and "numpy" in content["versions"][0]


def test_what_made_the_rows_is_not_forgotten(tmp_path, monkeypatch):
    """Rows of two versions are said to be of two; what makes no rows is none of them; other assumptions are refused."""
    experiment = Experiment(calls=[], stop_at=2)
    with pytest.raises(KeyboardInterrupt):
        runner.run_experiment(experiment, {"fair": Coin()}, tmp_path, progress_bar=False)
    experiment.stop_at = None
    found = []
    for version in ("next", "later"):
        monkeypatch.setattr(runner, "versions", lambda version=version: {"numpy": version})
        runner.run_experiment(experiment, {"fair": Coin()}, tmp_path, progress_bar=False)
        found.append([made["numpy"] for made in json.loads((tmp_path / "experiment.json").read_text())["versions"]])
    assert found == [[np.__version__, "next"]] * 2
    monkeypatch.setattr(Experiment, "ASSUMPTIONS", "another coin")
    with pytest.raises(FileExistsError, match="other assumptions"):
        runner.run_experiment(experiment, {"fair": Coin()}, tmp_path, progress_bar=False)


def test_a_half_written_file_does_not_count(tmp_path):
    experiment = Experiment(calls=[], stop_at=None)
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / ".fair-0.csv.partial").write_text("setting,seed\nfair")
    assert len(runner.run_experiment(experiment, {"fair": Coin()}, tmp_path, progress_bar=False)) == 6


def test_other_settings_are_refused_and_new_ones_added(tmp_path):
    experiment = Experiment(calls=[], stop_at=None)
    runner.run_experiment(experiment, {"fair": Coin()}, tmp_path, progress_bar=False)
    with pytest.raises(FileExistsError, match="other settings"):
        runner.run_experiment(experiment, {"fair": Coin(bias=0.7)}, tmp_path, progress_bar=False)
    with pytest.raises(FileExistsError, match="other settings"):
        runner.check(experiment, {"fair": Coin(bias=0.7)}, tmp_path)  # as `reproduce --seeds` does before it writes
    rows = runner.run_experiment(experiment, {"bent": Coin(bias=0.7)}, tmp_path, progress_bar=False)
    assert {row["setting"] for row in rows} == {"fair", "bent"}


def test_rows_of_another_experiment_or_of_settings_that_nothing_tells_are_refused(tmp_path):
    experiment = Experiment(calls=[], stop_at=None)
    runner.run_experiment(experiment, {"fair": Coin()}, tmp_path / "coins", progress_bar=False)
    for attempt in (lambda: runner.draw(figure6, tmp_path / "coins"), lambda: runner.describe(figure6, {}, tmp_path / "coins")):
        with pytest.raises(FileExistsError, match="rows of made_up, another experiment"):
            attempt()
    assert not (tmp_path / "coins" / "figure.png").exists()
    runner.run_trial(experiment, {"fair": Coin()}, tmp_path / "left", "fair", 2)
    with pytest.raises(FileExistsError, match="rows of 'fair', and nothing there tells with what settings"):
        runner.run_experiment(experiment, {"fair": Coin()}, tmp_path / "left", progress_bar=False)


def test_single_trials_describe_what_they_are_of(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(figure6, "SETTINGS", SMALL["figure6"])
    main(Reproduce("figure6", folder=tmp_path, only=("best",), seeds=(0,)))
    assert json.loads((tmp_path / "experiment.json").read_text())["settings"].keys() == {"best"}
    with monkeypatch.context() as later:
        later.setattr(runner, "versions", lambda: {"numpy": "next"})
        main(Reproduce("figure6", folder=tmp_path, only=("best",), seeds=(0,)))
        assert len(json.loads((tmp_path / "experiment.json").read_text())["versions"]) == 2
        later.setattr(figure6, "ASSUMPTIONS", "another gridworld")
        with pytest.raises(FileExistsError, match="other assumptions"):
            main(Reproduce("figure6", folder=tmp_path, only=("best",), seeds=(0,)))
        main(Reproduce("figure6", folder=tmp_path, plot_only=True))
        assert "another gridworld" not in capsys.readouterr().out  # the rows are not of that one
    monkeypatch.setattr(figure6, "SETTINGS", {"best": replace(SMALL["figure6"]["best"], bound=2.0)})
    with pytest.raises(FileExistsError, match="other settings"):
        main(Reproduce("figure6", folder=tmp_path, only=("best",)))
    for also in ({"seeds": (0,)}, {"only": ("best",)}):
        with pytest.raises(ValueError, match="plot_only draws all rows"):
            main(Reproduce("figure6", folder=tmp_path, plot_only=True, **also))


def test_a_figure_is_drawn_from_the_files_alone(tmp_path):
    experiment = Experiment(calls=[], stop_at=None)
    with pytest.raises(FileNotFoundError, match="no rows"):
        runner.draw(experiment, tmp_path)
    runner.run_experiment(experiment, {"fair": Coin()}, tmp_path, progress_bar=False)
    experiment.calls.clear()
    path, assumptions = runner.draw(experiment, tmp_path)
    assert path.stat().st_size > 0 and assumptions == Experiment.ASSUMPTIONS
    assert not experiment.calls
    (tmp_path / "experiment.json").unlink()
    with pytest.raises(FileExistsError, match=r"holds rows, and no experiment\.json that tells of which experiment"):
        runner.draw(experiment, tmp_path)


@pytest.mark.parametrize(
    "data", [b"", b"setting,seed,throw,value,side\n", b"setting,seed,throw\nfair,0\n", b"setting\nfair,0\n", b"\xff\xfe"]
)
def test_rows_that_are_damaged_are_named_before_anything_is_run(tmp_path, data):
    experiment = Experiment(calls=[], stop_at=None)
    runner.run_experiment(experiment, {"fair": Coin()}, tmp_path, progress_bar=False)
    (tmp_path / "rows" / "fair-1.csv").write_bytes(data)
    experiment.calls.clear()
    with pytest.raises(ValueError, match=r"fair-1\.csv is damaged: delete it, and the same command makes it again"):
        runner.run_experiment(experiment, {"fair": Coin()}, tmp_path, progress_bar=False)
    with pytest.raises(ValueError, match=r"fair-1\.csv is damaged"):
        runner.draw(experiment, tmp_path)
    assert not experiment.calls


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"settings": ', '{"settings": [], "seconds": {}}'])
def test_a_description_that_is_damaged_is_named(tmp_path, text):
    experiment = Experiment(calls=[], stop_at=None)
    runner.run_experiment(experiment, {"fair": Coin()}, tmp_path, progress_bar=False)
    (tmp_path / "experiment.json").write_text(text)
    for attempt in (lambda: runner.run_experiment(experiment, {"fair": Coin()}, tmp_path), lambda: runner.draw(experiment, tmp_path)):
        with pytest.raises(ValueError, match=r"experiment\.json is damaged"):
            attempt()


def test_several_may_work_in_one_folder_at_a_time(tmp_path, monkeypatch):
    """Four runs, of one setting each, that read and write the description at the same moment: all four are described and counted."""
    write = runner.write_json

    def slowly(path, content):
        time.sleep(0.05)
        write(path, content)

    monkeypatch.setattr(runner, "write_json", slowly)
    names = ["a", "b", "c", "d"]
    with ThreadPoolExecutor(len(names)) as pool:
        for name in names:
            pool.submit(runner.run_experiment, Experiment(calls=[], stop_at=None), {name: Coin()}, tmp_path, 1, False)
    content = json.loads((tmp_path / "experiment.json").read_text())
    assert {*content["settings"]} == {*content["seconds"]} == {*names}
    assert len(runner.read_rows(tmp_path)) == 6 * len(names)


def small_figure5(**changes):
    return figure5.Setting(
        **{"seeds": 2, "episodes": (100, 10_000), "finite_difference_episodes": 200_000, "ungated_episodes": 10_000, **changes}
    )


SMALL = {
    "figure5": {"gridworld": small_figure5(seeds=1)},
    "figure6": {"learning": figure6.Learning(seeds=2, trials=50, episodes=20), "best": figure6.Ascent(seeds=1)},
    "four-rooms": {
        "text: 4 options": replace(four_rooms.SETTINGS["text: 4 options"], seeds=2, trials=4, episodes=40, moved_at=20),
        "text: flat": replace(four_rooms.SETTINGS["text: flat"], seeds=1, trials=4, episodes=40, moved_at=20),
        "text: optimal": four_rooms.Optimal("text"),
    },
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_in_small(name, tmp_path, monkeypatch, capsys):
    experiment = load(name)
    monkeypatch.setattr(experiment, "SETTINGS", SMALL[name])
    main(Reproduce(name, folder=tmp_path / "once", threads=1))
    printed = capsys.readouterr().out
    assert experiment.ASSUMPTIONS in printed and "figure.png" in printed
    rows = runner.read_rows(tmp_path / "once")
    main(Reproduce(name, folder=tmp_path / "twice", threads=2))
    assert runner.read_rows(tmp_path / "twice") == rows  # the same rows, whatever the threads
    (tmp_path / "once" / "figure.png").unlink()
    monkeypatch.setattr(experiment, "run", None)
    main(Reproduce(name, folder=tmp_path / "once", plot_only=True))
    assert (tmp_path / "once" / "figure.png").exists()


def test_the_optimum_changes_where_the_goal_moves():
    """Lines of the first panel: the curve of 40 episodes, and the fewest steps, before the goal moves and after it."""
    rows = [{"setting": "text: flat", "seed": 0, "episode": 1 + 5 * k, "trials": 2, "steps": 9.0, "squares": 1.0, "option_length": 1.0,
             "termination": 1.0} for k in range(8)]  # fmt: skip
    figure = four_rooms.plot([*rows, {"setting": "text: optimal", "seed": 0, "before": 5.0, "after": 7.0}])
    *_, optimum = figure.axes[0].lines
    assert [*optimum.get_xdata()] == [1, 20, 20, 40] and [*optimum.get_ydata()] == [5.0, 5.0, 7.0, 7.0]


def test_trials_spread_over_processes_give_the_same_rows(tmp_path, monkeypatch, capsys):
    """Three trials of the real figure 6, one of which is there already; and one that fails."""
    monkeypatch.setattr(workers, "PAUSE", 0.0)
    monkeypatch.setattr(figure6, "SETTINGS", {"best": replace(figure6.SETTINGS["best"], seeds=3)})
    alone, together = tmp_path / "alone", tmp_path / "together"
    main(Reproduce("figure6", folder=alone, threads=1))
    main(Reproduce("figure6", folder=together, seeds=(1,)))
    assert [path.name for path in (together / "rows").iterdir()] == ["best-1.csv"] and not (together / "figure.png").exists()

    def spoiled(result, log, begin, *rest):
        words = (*begin[:-1], "99") if begin[-1] == "2" else begin  # there is no such trial
        return Job(result, log, words, words, *rest[1:])

    with monkeypatch.context() as context, pytest.raises(SystemExit, match="1"):
        context.setattr(runner, "Job", spoiled)
        main(Reproduce("figure6", folder=together, workers=2, backend="pool"))
    assert "best, seed 2 failed; exit status" in capsys.readouterr().err
    main(Reproduce("figure6", folder=together, workers=2, backend="pool"))
    assert runner.read_rows(together) == runner.read_rows(alone) and (together / "figure.png").exists()
    assert "reproduce figure6 --threads 1" in (together / "logs" / "best-0.log").read_text()
    with pytest.raises(ValueError, match="seeds=3: 'best' has the trials 0 to 2"):
        main(Reproduce("figure6", folder=together, seeds=(3,)))


def test_only_settings_that_exist():
    with pytest.raises(ValueError, match="no setting 'text: 40 options'; its settings are 'text: flat', 'text: 4 options', "):
        main(Reproduce("four-rooms", only=("text: 40 options",)))
    with pytest.raises(ValueError, match="threads=0: it must be at least 1"):
        main(Reproduce("four-rooms", threads=0))


def test_the_command_stops_politely(tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(figure6, "run", interrupted)
    with pytest.raises(SystemExit, match="130"):
        main(Reproduce("figure6", folder=tmp_path))
    assert "goes on from there" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="no rows"):
        main(Reproduce("figure6", folder=tmp_path, plot_only=True))


def test_the_problems_are_those_of_the_papers():
    mdp, network = problems.gridworld(), problems.bits_network()
    assert (mdp.num_states, mdp.gamma, mdp.num_actions) == (9, 1.0, 4)
    assert sum(logits.size for logits in network.init_params(9).values()) == 52
    assert problems.fewest_steps(mdp) == 4
    # four rooms: 104 cells and the end
    before = {dynamics: problems.fewest_steps(problems.four_rooms(dynamics)[0]) for dynamics in ("text", "code")}
    assert np.isclose(before["text"], 12.06, atol=0.005) and np.isclose(before["code"], 8.39, atol=0.005)
    assert problems.four_rooms("text")[0].num_states == 105


def test_figure5_the_estimate_converges_and_the_ungated_one_does_not():
    rows = [{"seed": 0, **row} for row in figure5.run(small_figure5(episodes=(100, 300_000), ungated_episodes=300_000), 0, threads=2)]
    found = figure5.curves(rows)
    first, last = (point[1] for point in found["ACPGT", "exact"])
    assert last < 0.01 < first
    assert found["without the gate", "exact"][-1][1] > 10 * last
    assert found["finite differences", "exact"][0][1] < 0.1


def test_figure6_learns_towards_the_best_that_ascent_finds():
    rows = [{"setting": "learning", "seed": 0, **row} for row in figure6.run(figure6.Learning(trials=300, episodes=100), 0)]
    rows += [{"setting": "best", "seed": s, **figure6.run(figure6.Ascent(), s)[0]} for s in range(2)]
    _, mean, error = figure6.curve(rows)
    assert mean[0] < -20 and -9 < mean[-1] < figure6.best(rows) < -5
    assert 0 < error[-1] < 1


def test_pooled_rows_are_those_of_one_large_run():
    """Means and standard errors of two seeds of 5 trials are those of the 10 trials together."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(10, 4)) + 20
    rows = []
    for seed, part in enumerate((values[:5], values[5:])):
        mean, squares = part.mean(axis=0), ((part - part.mean(axis=0)) ** 2).sum(axis=0)
        for e in range(4):
            rest = {"steps": mean[e], "option_length": 1.0, "termination": 0.5}
            rows.append({"setting": "learning", "seed": seed, "episode": e, "trials": 5, "mean": mean[e], "squares": squares[e], **rest})
    expected = values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(10)
    _, mean, error = figure6.curve(rows)
    assert np.allclose(mean, expected[0]) and np.allclose(error, expected[1])
    curve = four_rooms.curves(rows)["learning"]
    assert np.allclose(curve["steps"], expected[0]) and np.allclose(curve["error"], expected[1])


def test_the_goal_moves_and_moves_back_for_the_next_run():
    setting = replace(four_rooms.SETTINGS["text: 4 options"], trials=20, episodes=400, moved_at=200)
    steps = {row["episode"]: row["steps"] for row in four_rooms.run(setting, 0, threads=2)}
    assert steps[191] < 100 < steps[201]  # learnt, then the goal is elsewhere
    assert steps[1] > 150  # each run begins untrained


LIGHT = """
import sys
from optioncoagent.experiments import figure5, figure6, four_rooms, runner

assert not {"matplotlib", "torch", "minigrid"} & set(sys.modules)
best = {"setting": "best", "seed": 0, "J": -6.0, "fewest_steps": 4.0}
figure6.plot([best, {"setting": "learning", "seed": 0, "episode": 1, "trials": 2, "mean": -9.0, "squares": 1.0}])
assert "matplotlib.pyplot" not in sys.modules
"""


def test_nothing_heavy_is_loaded_before_it_is_needed():
    subprocess.run([sys.executable, "-c", LIGHT], check=True)


def test_no_two_estimates_of_figure5_are_of_the_same_episodes(monkeypatch):
    seeds, estimate = [], figure5.estimate_gradient
    monkeypatch.setattr(figure5, "estimate_gradient", lambda *given, **more: seeds.append(given[4]) or estimate(*given, **more))
    setting = small_figure5(episodes=(100, 200, 300), ungated_episodes=300, finite_difference_episodes=2000)
    for trial in range(2):
        figure5.run(setting, trial)
    assert len(seeds) == 12 == len({*seeds})


def test_the_goal_moves_to_any_other_cell_and_stays_there(monkeypatch):
    class Stop(Exception):
        pass

    def caught(mdps, schedule, *more):
        kept.append((len(mdps), schedule))
        raise Stop

    kept = []
    monkeypatch.setattr(four_rooms, "train_option_critic", caught)
    with pytest.raises(Stop):
        four_rooms.run(replace(four_rooms.SETTINGS["text: 4 options"], trials=400), 0)
    ((number, schedule),) = kept
    assert (schedule[:, :1000] == 0).all() and {*schedule[:, 1000]} == {*range(1, number)}
    assert (schedule[:, 1000:] == schedule[:, 1000:1001]).all()
