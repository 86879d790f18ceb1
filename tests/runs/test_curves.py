"""Learning curves over seeds, grouped by task and setting."""

import json
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from run_folders import RUN, started

import optioncoagent as oc
from optioncoagent.cli import main
from optioncoagent.runs import Recorder, curves
from optioncoagent.runs.curves import POINTS, Curve, _level, band, group, on_grid, plot, read_curves, usage
from optioncoagent.runs.folder import differing, settings_of

NAN = float("nan")


def curve(returns, steps=None, env_id="A-v0", **settings):
    columns = {"timesteps": np.array(steps or range(64, 64 * len(returns) + 1, 64), float), "return_mean": np.array(returns, float)}
    return Curve(env_id, settings, columns)


def test_a_band_is_the_bootstrap_s():
    """Three runs at 0 and one at 4: the mean of four draws is the number of fours among them, Binomial(4, 1/4), whose 2.5 % quantiles are
    0 and 3. There is none where a run has no number; one that never has is left out."""
    mean, low, high = band(np.array([[0.0, 4.0, 5.0], [0.0, 4.0, NAN], [0.0, 4.0, 5.0], [4.0, 4.0, 5.0], [NAN, NAN, NAN]]))
    np.testing.assert_array_equal(mean, [1.0, 4.0, NAN])
    np.testing.assert_array_equal(low, [0.0, 4.0, NAN])
    np.testing.assert_array_equal(high, [3.0, 4.0, NAN])
    mean, low, high = band(np.array([[1.0, 4.0], [3.0, 4.0], [5.0, 4.0]]))
    np.testing.assert_array_equal(mean, [3.0, 4.0])
    assert np.isnan([low, high]).all()
    assert np.isnan(band(np.array([[NAN, NAN]]))).all()


def drawn(runs):
    """The lines of the returns: that of the mean, and the thin ones."""
    lines = plot(runs).axes[0].lines
    return [[line for line in lines if (line.get_linewidth() < 1) == thin] for thin in (False, True)]


def test_a_mean_ends_with_the_first_run_that_ends():
    """Two runs that stop when they have learned leave one that has not: a mean of it alone would be drawn as a fall."""
    stops, goes_on = [0.0, 0.9], [0.0, 0.1, 0.2, 0.3]
    (mean,), thin = drawn([curve(stops), curve(stops), curve(goes_on)])
    steps, values = mean.get_data()
    known = np.isfinite(values)
    assert steps[known].max() <= 128 < steps.max() and (np.diff(values[known]) > 0).all()
    assert len(thin) == 3 and thin[2].get_ydata()[-1] == 0.3 and np.isnan(thin[0].get_ydata()[-1])


def test_of_few_runs_each_is_drawn_and_of_several_an_interval():
    _, thin = drawn([curve([float(i), 1.0]) for i in range(3)])
    assert [line.get_ydata()[0] for line in thin] == [0, 1, 2]
    _, thin = drawn([curve([float(i), 1.0]) for i in range(4)])
    assert np.isnan([line.get_ydata() for line in thin]).all()
    assert drawn([curve([0.0, 1.0])])[1] == []


def test_a_band_narrows_with_runs():
    """Of many runs it is the mean ± 1.96 standard errors."""
    values = np.random.default_rng(0).normal(size=(400, 3))
    mean, low, high = band(values)
    np.testing.assert_allclose(mean, values.mean(axis=0))
    error = 1.96 * values.std(axis=0) / 20
    np.testing.assert_allclose(high - mean, error, rtol=0.08)
    np.testing.assert_allclose(mean - low, error, rtol=0.08)


def test_runs_of_other_lengths_meet_on_one_grid():
    runs = [curve([NAN, 1.0, 2.0, 3.0]), curve([10.0, 20.0], steps=[64, 128])]
    steps, values = on_grid(runs, "return_mean")
    assert steps[0] == 64 and steps[-1] == 256 and len(steps) == POINTS
    np.testing.assert_allclose(values[0], np.where(steps < 128, NAN, steps / 64 - 1))
    np.testing.assert_allclose(values[1], np.where(steps > 128, NAN, 10 * steps / 64))


def test_where_a_run_s_options_never_ended_there_is_no_mean_length():
    endless, other = curve([5.0, *[np.inf] * 8, 6.0]), curve([2.0] * 10)
    steps, values = on_grid([endless, other], "return_mean")
    between = (steps > 64) & (steps < 640)
    assert np.isinf(values[0, between]).all() and (values[0, [0, -1]] == [5, 6]).all() and (values[1] == 2).all()
    mean, low, high = band(values)
    assert np.isnan([mean[between], low[between], high[between]]).all() and mean[0] == 3.5


def test_a_number_without_neighbours_is_drawn_as_a_dot():
    """A single row; two rows of which the first has no return yet; and a line, of which nothing is a dot."""
    for returns, dots in (([7.0], 1), ([NAN, 7.0], 1), ([6.0, 7.0], 0)):
        run = curve(returns)
        run.columns.update({f"option/usage_{i}": np.full(len(returns), share) for i, share in enumerate((0.25, 0.75))})
        figure = plot([run])
        drawn = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
        assert [(*line.get_xdata(), *line.get_ydata()) for line in drawn] == [(64 * len(returns), 7.0)] * dots
        first, last = figure.axes[-1].dataLim.intervalx
        assert last > first  # usage of a single row has a width, too


def test_a_return_that_is_not_there_is_said():
    for returns, said in (([NAN, NAN], ["fewer than 10 episodes have ended"]), ([NAN, 1.0], [])):
        assert [text.get_text() for text in plot([curve(returns)]).axes[0].texts] == said


def test_levels_are_in_their_order_whatever_the_columns():
    """Terminations run from the lowest level up."""
    columns = ["termination_10_probability", "termination_2/sure_1", "termination_1/sure_0", "termination/sure_1"]
    assert [_level(name) for name in columns] == [10, 2, 1, 0]


def test_a_name_stands_for_settings_where_it_says_as_much():
    """Two names of two settings; where one name has two settings they are told apart by all."""
    runs = [curve([1], gamma=0.9, name="short"), curve([1], gamma=0.99, name="long"), curve([1], gamma=0.9, name="short")]
    assert {label: len(found) for label, found in group(runs)["A-v0"].items()} == {'name="short"': 2, 'name="long"': 1}
    assert [*group([*runs, curve([1], gamma=0.5, name="long")])["A-v0"]][1:] == ['gamma=0.99, name="long"', 'gamma=0.5, name="long"']
    assert [*group([*runs, curve([1], gamma=0.5)])["A-v0"]][2] == "name=-"


def test_a_step_size_that_falls_over_the_run_makes_its_length_a_setting(tmp_path):
    for seed, steps in enumerate((64, 128)):
        for falls in (False, True):
            settings = replace(RUN.settings, anneal_lr=falls, seed=seed)
            started(tmp_path / f"{falls}-{seed}", total_timesteps=steps, settings=settings)
    groups = [group(read_curves([tmp_path / f"{falls}-{seed}" for seed in range(2)]))[RUN.env_id] for falls in (False, True)]
    assert [[len(runs) for runs in settings.values()] for settings in groups] == [[2], [1, 1]]


def test_runs_of_before_there_was_a_setting_are_of_what_was_done_then():
    now = {"env_id": "A-v0", "settings": json.loads(json.dumps(asdict(RUN.settings)))}
    before = {"env_id": "A-v0", "settings": {k: x for k, x in now["settings"].items() if k not in ("frozen", "target_kl")}}
    assert differing([settings_of(now), settings_of(before)]) == ["target_kl"]  # there was no limit


def test_groups_are_named_by_what_differs():
    runs = [
        curve([1], num_options=[4], gamma=0.9),
        curve([1], num_options=[2, 3], gamma=0.9),
        curve([1], env_id="B-v0", num_options=[4], gamma=0.9),
        curve([1], num_options=[4], gamma=0.9),
    ]
    groups = group(runs)
    assert {task: {name: len(found) for name, found in settings.items()} for task, settings in groups.items()} == {
        "A-v0": {"num_options=4": 2, "num_options=2,3": 1},
        "B-v0": {"num_options=4": 1},
    }
    assert list(group(runs[2:3])["B-v0"]) == [""]


def test_usage_is_ranked_in_each_run():
    """What is option 0 in one run is option 1 in the other."""
    one, other = curve([1, 1]), curve([1, 1])
    one.columns.update({"option/usage_0": np.array([0.9, 0.7]), "option/usage_1": np.array([0.1, 0.3])})
    other.columns.update({"option/usage_0": np.array([0.1, 0.1]), "option/usage_1": np.array([0.9, 0.9])})
    _, shares = usage([one, other], "option")
    np.testing.assert_allclose(shares[:, [0, -1]], [[0.9, 0.8], [0.1, 0.2]])
    longer = curve([1, 1, 1])
    longer.columns.update({"option/usage_0": np.array([0.5, 0.4, 0.4]), "option/usage_1": np.array([0.5, 0.6, 0.6])})
    _, shares = usage([one, longer], "option")
    assert np.isnan(shares[:, -1]).all()  # one of them has ended
    silent = curve([1, 1, 1])
    silent.columns.update({f"option/usage_{i}": np.full(3, NAN) for i in range(2)})  # which leaves the others their mean
    np.testing.assert_allclose(usage([longer, silent], "option")[1][:, -1], [0.6, 0.4])


def test_options_of_a_network_of_one_s_own_are_drawn_as_those_of_an_option_critic(tmp_path):
    """Its rows have each coagent's columns alone."""

    def describe(n):
        return oc.CoagentNetwork([*oc.option_critic(2, n).coagents])

    settings = dict(num_envs=4, num_steps=16, num_minibatches=2, update_epochs=2, hidden_sizes=(16,), device="cpu", seed=0)
    for name, agent in (
        ("own", oc.CoagentActorCritic(RUN.env_id, describe, **settings)),
        ("option-critic", oc.OptionCritic(RUN.env_id, 2, **settings)),
    ):
        with Recorder(tmp_path / name, name=name) as record:
            agent.learn(256, callback=record)
    levels = oc.CoagentActorCritic(RUN.env_id, lambda n: oc.CoagentNetwork([*oc.option_critic((2, 2), n).coagents]), **settings)
    with Recorder(tmp_path / "levels") as record:
        levels.learn(128, callback=record)
    (found,) = read_curves([tmp_path / "levels"])
    for level in (1, 2):
        ends, lasts = f"termination_{level}", f"option_{level}"
        np.testing.assert_array_equal(found.columns[f"{lasts}_length"], found.columns[f"{lasts}/length"])
        np.testing.assert_array_equal(found.columns[f"{ends}_probability"], found.columns[f"{ends}/probability_{oc.TERMINATE}"])
    own, same = (plot(read_curves([tmp_path / name])) for name in ("own", "option-critic"))
    assert [*group(read_curves([tmp_path / "own", tmp_path / "option-critic"]))[RUN.env_id]] == ['name="own"', 'name="option-critic"']
    labels = [[axes.get_ylabel() for axes in figure.axes] for figure in (own, same)]
    assert labels[0] == labels[1] and {"option length", "termination probability"} <= {*labels[0]}
    for mine, its in zip(own.axes, same.axes, strict=True):
        for a, b in zip(mine.lines, its.lines, strict=True):
            np.testing.assert_array_equal(a.get_ydata(), b.get_ydata())


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("runs")
    return [
        started(home / f"{options}-{seed}", num_options=options, settings=replace(RUN.settings, seed=seed), total_timesteps=256)
        for options in ((2,), (2, 3))
        for seed in (0, 1)
    ]


def test_plot(folders, tmp_path, monkeypatch, capsys):
    figure = plot(read_curves(folders))
    panels = [axes for axes in figure.axes if axes.axison]
    # return and what options are like; usage of the one level, and of the two
    assert [axes.get_ylabel().partition("\n")[0] for axes in panels] == [
        "return",
        "option length",
        "termination probability",
        "share of terminations",
        "usage entropy, nats",
        "information, nats",
        "option usage",
        "option_1 usage",
        "option_2 usage",
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["num_options=2 (2 seeds)", "num_options=2,3 (2 seeds)"]
    means = [[line for line in axes.lines if line.get_linewidth() > 1] for axes in panels]
    assert [(to_hex(line.get_color()), line.get_linestyle()) for line in means[2]] == [
        (to_hex("C0"), "-"),
        (to_hex("C1"), "--"),
        (to_hex("C1"), "-"),
    ]
    column = np.mean([run.columns["termination_probability"] for run in read_curves(folders[:2])], axis=0)
    np.testing.assert_allclose(means[2][0].get_ydata()[[0, -1]], column[[0, -1]])
    sure = [line.get_linestyle() for line in means[3]]  # of one level and of two; near 0, then near 1
    assert sure == ["-", "--", "-", ":", "-.", ":"]
    assert [line.get_linestyle() for line in means[5]] == ["-", "-", ":", ":"]
    column = np.mean([run.columns["action/divergence"] for run in read_curves(folders[:2])], axis=0)
    np.testing.assert_allclose(means[5][2].get_ydata()[[0, -1]], column[[0, -1]])
    assert len(panels[8].collections) == 3

    monkeypatch.setattr(sys, "argv", ["optioncoagent", "plot", *map(str, folders), "--out", str(tmp_path / "all.png")])
    main()
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG") and capsys.readouterr().out == f"{tmp_path / 'all.png'}\n"


@pytest.mark.parametrize("num_tasks, num_flags", [(1, 1), (1, 14), (2, 14), (3, 3)])
def test_the_legend_stays_in_the_picture(num_tasks, num_flags):
    """However many flags differ, and beside no curve."""
    runs = [
        curve([0.0, 1.0], env_id=f"Task-v{task}", **{f"some_setting_{i}": str(value + i) for i in range(num_flags)})
        for task in range(num_tasks)
        for value in range(3)
    ]
    figure = plot(runs)
    FigureCanvasAgg(figure).draw()
    legend, picture = figure.legends[0].get_window_extent(), figure.bbox
    assert legend.x0 >= picture.x0 and legend.x1 <= picture.x1 and legend.y0 >= picture.y0
    assert legend.y1 < min(axes.get_tightbbox().y0 for axes in figure.axes if axes.axison)
    assert min(axes.get_window_extent().height for axes in figure.axes if axes.axison) > 0.5 * figure.dpi
    assert [text.get_text().replace("\n", " ").count("some_setting") for text in figure.legends[0].get_texts()] == [num_flags] * 3


def test_what_no_run_has_is_not_drawn():
    """Runs of an earlier version."""
    figure = plot([curve([0.0, 1.0])])
    assert [axes.get_ylabel() for axes in figure.axes] == ["return"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1 seed"]


def test_a_run_that_is_named_twice_is_one_seed(folders):
    again = [folders[0], f"{folders[0]}/", folders[0] / ".." / folders[0].name, folders[1]]
    assert len(read_curves(again)) == 2


def test_runs_that_cannot_be_drawn_are_named(folders, tmp_path):
    with pytest.raises(ValueError, match="no run folder was given"):
        read_curves([])
    with pytest.raises(FileNotFoundError, match="is not a run folder"):
        read_curves([tmp_path])
    data = (folders[0] / "metrics.csv").read_bytes()
    try:
        (folders[0] / "metrics.csv").write_bytes(data.replace(b"64.0", b"65.0", 1))
        with pytest.raises(ValueError, match="metrics.csv is damaged"):
            read_curves(folders)
    finally:
        (folders[0] / "metrics.csv").write_bytes(data)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_bytes((folders[0] / "config.json").read_bytes())
    (other / "metrics.csv").write_bytes(data.replace(b"return_mean", b"ret", 1))
    with pytest.raises(ValueError, match="metrics.csv is damaged, or another program's: it has no column return_mean"):
        read_curves([other])
    (other / "config.json").write_text('{"command": {"env_id": "A-v0", "settings": [1]}}')
    with pytest.raises(ValueError, match="config.json is damaged: its settings are no JSON object"):
        read_curves([other])


def test_every_setting_has_a_colour_of_its_own():
    for number in (1, 10, 11, 40):
        found = {to_hex(color) for color in curves._colors(number)}
        assert len(found) == number
    assert curves._colors(10) == [f"C{i}" for i in range(10)]


def test_a_mean_over_few_episodes_is_not_drawn(tmp_path, monkeypatch):
    """A mean over fewer than ten episodes is not drawn."""
    folder = started(tmp_path / "run", env_id="CartPole-v1", total_timesteps=448)
    columns = {"timesteps": [1.0, 2.0, 3.0], "episodes": [9.0, 10.0, 11.0], "return_mean": [1.0, 2.0, 3.0]}
    monkeypatch.setattr(curves, "read_training", lambda *_: {name: np.array(column) for name, column in columns.items()})
    (curve,) = read_curves([folder])
    np.testing.assert_array_equal(curve.columns["return_mean"], [np.nan, 2, 3])
