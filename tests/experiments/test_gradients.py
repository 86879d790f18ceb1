"""The table, the picture and the learning curves of gradient forms."""

import csv
import io
import json
from dataclasses import replace
from math import isnan

import gymnasium as gym
import numpy as np
import pytest
import tyro

import optioncoagent as oc
from optioncoagent.exact import FORMS, NETWORK_FORMS, form_gradient
from optioncoagent.experiments import gradient_forms
from optioncoagent.experiments.ascent import ascent_path, constant, gradient_along, of_length
from optioncoagent.experiments.gradients_command import Gradients, as_json, main, make_mdp
from optioncoagent.experiments.gradients_picture import picture

FOUR_ROOMS = "optioncoagent_envs:OptionCoagent/FourRooms-v0"


def printed(capsys, **settings):
    main(Gradients(**settings))
    return capsys.readouterr().out


@pytest.mark.parametrize("env_id", ["FrozenLake-v1", "OptionCoagent/FourRooms-v0", "MiniGrid-Empty-5x5-v0"])
def test_the_table_is_compare_gradients(env_id, capsys):
    text = printed(capsys, env_id=env_id, num_options=3, seed=5, scale=0.5, gamma=0.9, format="csv")
    mdp = make_mdp(Gradients(env_id, gamma=0.9))
    params = oc.option_critic(3, mdp.num_actions).init_params(mdp.num_observations, seed=5, scale=0.5)
    expected = oc.compare_gradients(mdp, params)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == list(expected[0]._fields)
    assert [row["form"] for row in rows] == list(FORMS)
    for row, truth in zip(rows, expected, strict=True):
        assert row["exact"] == str(truth.exact)
        for name in ("cosine", "norm_ratio", "sign_agreement", "max_abs_difference"):
            assert float(row[name]) == pytest.approx(getattr(truth, name), rel=1e-9, abs=1e-12)


def test_the_default_is_the_gridworld(capsys):
    lines = printed(capsys).splitlines()
    assert "Gridworld" in lines[0] and "4 options" in lines[0]
    assert len(lines) == 4 + 2 * len(FORMS)
    for line, meaning, form in zip(lines[3:], lines[4 + len(FORMS) :], FORMS.values(), strict=False):
        assert meaning.startswith(f"{form.name}: {form.computes}")
        assert line.split()[:2] == [form.coagent, form.name]
        assert line.split()[-1] == ("yes" if form.exact else "no")


def test_the_table_of_a_hierarchy_is_that_of_its_network(capsys):
    text = printed(capsys, num_options=(2, 3), seed=5, first="terminate", deliberation_cost=0.1)
    mdp = make_mdp(Gradients())
    network = oc.option_critic((2, 3), mdp.num_actions, "terminate", 0.1)
    params = network.init_params(mdp.num_observations, seed=5)
    expected = oc.compare_gradients(mdp, params, network=network)
    lines = text.splitlines()
    assert "2 x 3 options" in lines[0] and f"J = {oc.expected_return(mdp, network, params):.6g}" in lines[0]
    table, meanings = lines[3 : 3 + len(expected)], lines[4 + len(expected) :]
    for line, row in zip(table, expected, strict=True):
        assert line.split()[:2] == [row.coagent, row.form] and line.split()[-1] == ("yes" if row.exact else "no")
        assert float(line.split()[2]) == pytest.approx(row.cosine, abs=1e-4, nan_ok=True)
    for line, name in zip(meanings, dict.fromkeys(row.form for row in expected), strict=True):
        assert line.startswith(f"{name}: {NETWORK_FORMS[name].computes}")


def test_json_has_the_same_rows(capsys):
    rows = json.loads(printed(capsys, format="json"))
    from_csv = list(csv.DictReader(io.StringIO(printed(capsys, format="csv"))))
    assert [row["form"] for row in rows] == [row["form"] for row in from_csv]
    assert [row["cosine"] for row in rows] == [float(row["cosine"]) for row in from_csv]
    assert all(row["cosine"] == pytest.approx(1.0) for row in rows if row["exact"])


def test_what_is_not_defined_is_null():
    """Where episodes never end there is no undiscounted occupancy."""
    P = np.zeros((2, 2, 2))
    P[[0, 1], :, [1, 0]] = 1.0  # back and forth for ever
    mdp = oc.MDP(P, np.eye(2), [1.0, 0.0], gamma=0.9)
    rows = oc.compare_gradients(mdp, oc.option_critic(2, 2).init_params(2), ["q_beta", "undiscounted"])
    assert isnan(rows[1].cosine) and isnan(rows[1].sign_agreement)
    parsed = json.loads(as_json(rows))
    assert parsed[1]["cosine"] is None and parsed[0]["cosine"] == pytest.approx(1.0)
    picture("no end", [(0, rows)]).savefig(io.BytesIO())


def test_steps_follow_the_exact_gradient(capsys):
    before, after = (printed(capsys, env_id="FrozenLake-v1", steps=steps) for steps in (0, 20))
    returns = [float(text.splitlines()[0].split("J = ")[1].split()[0]) for text in (before, after)]
    assert returns[1] > returns[0]
    assert "after 20 exact-gradient steps" in after and "exact-gradient steps" not in before
    assert before.splitlines()[3:14] != after.splitlines()[3:14]


@pytest.mark.parametrize(
    "settings", [{}, {"steps": 5}, {"num_options": 2}, {"env_id": "FrozenLake-v1", "gamma": 1.0}, {"num_options": (2, 2), "steps": 2}]
)
def test_the_picture_is_written(tmp_path, capsys, settings):
    main(Gradients(plot=tmp_path / "forms.png", out=tmp_path / "forms.txt", **settings))
    assert (tmp_path / "forms.png").read_bytes().startswith(b"\x89PNG")
    assert "post_decision_pair" in (tmp_path / "forms.txt").read_text()
    assert capsys.readouterr().out == f"wrote {tmp_path / 'forms.txt'}\n"


def test_every_setting_matters(capsys):
    base = Gradients("MiniGrid-MultiRoom-N2-S4-v0", num_options=2, gamma=0.9, format="csv", steps=2)
    changes = [
        {"num_options": 3},
        {"num_options": (2, 2)},
        {"gamma": 0.8},
        {"first": "terminate"},
        {"deliberation_cost": 0.1},
        {"seed": 1},
        {"scale": 2.0},
        {"steps": 1},
        {"step_size": 0.5},
        {"level_seed": 1},
        {"horizon": True},
        {"view": "egocentric"},
        {"format": "json"},
        {"env_id": "MiniGrid-Empty-6x6-v0"},
    ]
    outputs = set()
    for change in [{}, *changes]:
        main(replace(base, **change))
        outputs.add(capsys.readouterr().out)
    assert len(outputs) == len(changes) + 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"env_id": "Nowhere-v0"}, "Nowhere"),
        ({"env_id": "nowhere:There-v0"}, "No module named 'nowhere'"),
        ({"env_id": "CartPole-v1"}, "CartPole-v1 has no toy_text tables P and initial_state_distrib"),
        ({"env_id": "MiniGrid-Dynamic-Obstacles-5x5-v0"}, "draws random numbers"),
        ({"env_id": "FrozenLake-v1", "horizon": True}, "horizon=True is for MiniGrid levels, and FrozenLake-v1 is not one"),
        ({"env_id": "CliffWalking-v1", "gamma": 1.5}, "gamma=1.5"),
        ({"num_options": 1}, "num_options=1: it must be at least 2"),
        ({"num_options": (1, 1)}, r"num_options=\(1, 1\): it must be at least 2"),
        ({"num_options": (2, 0)}, r"num_options=\(2, 0\): it must be at least 2"),
        ({"steps": -1}, "steps=-1"),
        ({"step_size": 0.0}, "step_size=0.0"),
        ({"step_size": float("inf")}, "step_size=inf: it must be greater than 0, and finite"),
        ({"scale": float("inf")}, "scale=inf: it must be at least 0, and finite"),
    ],
)
def test_errors_name_the_culprit(settings, message):
    with pytest.raises(ValueError, match=message):
        main(Gradients(**settings))


def test_files_are_checked_before_the_work(tmp_path):
    with pytest.raises(ValueError, match=r"forms\.doc: choose a file name that ends with one of"):
        main(Gradients(plot=tmp_path / "forms.doc"))
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        main(Gradients(out=tmp_path / "missing" / "forms.txt"))


def test_arguments():
    command = tyro.cli(Gradients, args=["Taxi-v4", "--num-options", "2", "--format", "json", "--plot", "forms.svg"])
    assert (command.env_id, command.num_options, command.format, str(command.plot)) == ("Taxi-v4", 2, "json", "forms.svg")
    assert tyro.cli(Gradients, args=[]) == Gradients()
    assert tyro.cli(Gradients, args=["--num-options", "2", "3"]).num_options == (2, 3)


# Ascent


def four_rooms():
    mdp = oc.MDP.from_env(gym.make(FOUR_ROOMS), 0.99)
    network = oc.option_critic(2, mdp.num_actions)
    return mdp, network, network.init_params(mdp.num_observations)


def test_ascent_along_an_exact_form_is_the_exact_ascent():
    mdp, network, start = four_rooms()
    ends = []
    for form in (None, *(name for name, form in FORMS.items() if form.exact)):
        *_, end = ascent_path(start, gradient_along(mdp, network, form), constant(50.0), 5)
        ends.append(end)
    for end in ends[1:]:
        for name in network.names:
            assert np.allclose(end[name], ends[0][name], rtol=0, atol=1e-10)


def test_ascent_along_a_form_changes_that_part_alone():
    mdp, network, start = four_rooms()
    truth, along = (gradient_along(mdp, network, form)(start) for form in (None, "margin"))
    assert np.array_equal(along["termination"], form_gradient(mdp, start, "margin"))
    assert all(np.array_equal(along[name], truth[name]) for name in ("option", "action"))
    only = gradient_along(mdp, network, "margin", learns=("option",))(start)
    assert list(only) == ["option"]


def test_coagents_that_do_not_learn_stay():
    mdp, network, start = four_rooms()
    *_, end = ascent_path(start, gradient_along(mdp, network, learns=("termination",)), constant(50.0), 3)
    assert np.array_equal(end["action"], start["action"]) and not np.array_equal(end["termination"], start["termination"])


def test_a_step_has_the_length_asked_for():
    mdp, network, start = four_rooms()
    path = list(ascent_path(start, gradient_along(mdp, network), of_length(0.1), 3))
    changes = [np.concatenate([(b[name] - a[name]).ravel() for name in a]) for a, b in zip(path, path[1:], strict=False)]
    lengths = [np.sqrt(np.mean(change**2)) for change in changes]
    assert lengths[0] == pytest.approx(0.1)
    assert max(lengths) < 0.1 + 1e-12
    rate, ones = of_length(0.1), np.ones(4)
    assert [rate({"a": scale * ones}) for scale in (1, 4, 1, 0)] == pytest.approx([0.1, 0.025, 0.025, 0])  # it never grows again


def test_an_unknown_form_is_refused():
    mdp, _, start = four_rooms()
    with pytest.raises(ValueError, match="unknown form 'margins': choose from"):
        form_gradient(mdp, start, "margins")


def test_curves_of_a_short_run():
    settings = [replace(setting, num_steps=4, num_points=2, num_options=2) for setting in gradient_forms.SETTINGS]
    rows = [row for setting in settings for seed in (0, 1) for row in gradient_forms.run(setting, seed)]
    forms = [gradient_forms.EXACT, *(name for name, form in FORMS.items() if not form.exact)]
    assert list(dict.fromkeys(row.form for row in rows)) == forms
    assert {row.step for row in rows} == {0, 2, 4}
    for setting in settings:
        exact = [row for row in rows if row.setting == setting.name and row.form == gradient_forms.EXACT and row.seed == 0]
        assert exact[0].expected_return < exact[1].expected_return < exact[2].expected_return
    mdp = oc.MDP.from_env(gym.make(settings[0].env_id), settings[0].gamma)
    network = oc.option_critic(2, mdp.num_actions)
    start = network.init_params(mdp.num_observations, 0, settings[0].scale)
    gradient = gradient_along(mdp, network, None, settings[0].learns)
    *_, end = ascent_path(start, gradient, constant(settings[0].learning_rate), 4)
    (row,) = [row for row in rows if (row.setting, row.seed, row.form, row.step) == (settings[0].name, 0, "margin", 4)]
    at_start, at_end = (oc.compare_gradients(mdp, params, ["margin"])[0].cosine for params in (start, end))
    assert row.cosine == pytest.approx(at_end) != pytest.approx(at_start)
    figure = gradient_forms.plot(rows)
    assert len(figure.axes) == 3 * len(settings)
    lines = {line.get_label(): line for line in figure.axes[1].get_lines()}
    mine = [row.expected_return for row in rows if row.setting == settings[0].name and row.form == "margin"]
    assert np.allclose(lines["margin"].get_ydata(), np.reshape(mine, (2, 3)).mean(axis=0))
