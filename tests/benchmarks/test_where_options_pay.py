"""What the comparison of options with flat controls rests on: the controls are what they are said to be, and so are the statistics."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from run_folders import benchmark

import optioncoagent as oc
from optioncoagent.runs import statistics


@pytest.fixture(autouse=True)
def beside(monkeypatch):
    """Benchmarks import what lies beside them."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))


def weights(agent):
    return sum(parameter.numel() for parameter in agent.module.parameters())


def test_the_wide_agent_has_as_many_weights_as_four_options():
    pay = benchmark("where_options_pay")
    flat, wide, options = (pay.make(pay.Run("DoorKey-6x6", name, 0)) for name in ("flat", "flat, wide", "4 options"))
    more = weights(options) - weights(flat)
    assert more > 2_000 and 0 <= weights(wide) - weights(options) < 0.01 * more


def test_the_sticky_agent_repeats_a_quarter_of_its_actions():
    pay = benchmark("where_options_pay")
    agent = pay.make(pay.Run("Empty-5x5", "flat, sticky", 0))
    row = agent.update()
    assert row["action/executed"] == pytest.approx(3 / 4, abs=0.05) and agent.network.memory == ("action",)


def test_all_actions_learn_in_the_same_form_and_the_bonus_is_as_said():
    pay = benchmark("where_options_pay")
    for name in pay.AGENTS:
        agent = pay.make(pay.Run("Empty-5x5 no bonus", name, 0))
        assert agent.forms["action"] == "score" and agent.settings.int_coef == 0
    assert pay.make(pay.Run("Empty-5x5", "flat", 0)).settings.int_coef == 0.005


def test_tasks_with_rows_of_the_defaults_before_keep_them_and_the_others_have_the_defaults():
    pay = benchmark("where_options_pay")
    usual = oc.OptionCritic("MiniGrid-DoorKey-8x8-v0", 4, seed=0).settings
    for task in ("DoorKey-8x8", *(task for task in pay.TASKS if task not in pay.HARD)):
        settings = pay.make(pay.Run(task, "4 options", 0)).settings
        before = (settings.observation_kinds, settings.int_counts) == ({"image": "grid"}, "observation")
        assert (settings == usual) == (task in pay.HARD) and before == (task in pay.BEFORE) == ("defaults before" in pay.called(task))
        assert (settings.int_coef == 0) == ("no bonus" in task)


def test_the_ten_harder_tasks_have_the_suites_budgets_and_levels():
    pay, suite = benchmark("where_options_pay"), benchmark("minigrid_suite")
    budgets = {task: frames for frames, tasks in suite.STAGES.values() for task in tasks}
    levels, _ = suite.summarise(suite.read())
    left_out = {"FourRooms", "GoToDoor-5x5", "MemoryS7"}
    assert {*pay.HARD} == ({*suite.STAGES["middle"][1], *suite.STAGES["hard"][1]} - left_out) | {"RedBlueDoors-6x6"}
    for task, (limit, target) in pay.HARD.items():
        assert limit == budgets[task] and target == pytest.approx(levels[task], abs=0.051)  # levels move with every further row


def test_the_suites_agents_are_these_and_its_frames_are_those_until_the_target():
    pay, suite = benchmark("where_options_pay"), benchmark("minigrid_suite")
    for name, agent in {"flat": "flat", "4 options": "options"}.items():
        ours = pay.make(pay.Run("DoorKey-8x8", name, 3))
        theirs = oc.OptionCritic("MiniGrid-DoorKey-8x8-v0", seed=3, **suite.AGENTS[agent])
        assert (ours.settings, ours.forms, str(ours.network)) == (theirs.settings, theirs.forms, str(theirs.network))
        pairs = zip(ours.module.parameters(), theirs.module.parameters(), strict=True)
        assert all(bool((x == y).all()) for x, y in pairs)
    found = pay.read()
    flat = [row for row in suite.read() if (row["task"], row["agent"]) == ("LavaCrossingS9N1", "flat")]
    for row in flat:
        reached = [float(x) for x in row["reached_frames"].split()]
        frames = found[pay.Run("LavaCrossingS9N1", "flat", row["seed"])]["frames"]
        assert frames == (reached[16] if len(reached) > 16 else np.inf)  # 0.05, 0.10, …, 0.85
    assert len(flat) >= 5
    assert not any(pay.Run(task, "flat", 0) in found for task in ("Empty-8x8", "FourRooms"))  # of the suite, not of the hard half


def test_every_row_that_there_is_is_one_the_script_knows():
    pay, rows = benchmark("where_options_pay"), benchmark("rows")
    assert (found := rows.read(pay.ROWS, pay.Run))
    for run in found:
        assert run.task in pay.TASKS and run.agent in pay.AGENTS
    assert {*pay.USUAL} < {*pay.AGENTS}


def test_a_run_stops_at_the_target_or_at_the_limit(monkeypatch):
    pay = benchmark("where_options_pay")
    monkeypatch.setitem(pay.TASKS, "Empty-5x5", (40_000, 0.5))
    run, row = pay.train(pay.Run("Empty-5x5", "flat", 0))
    assert row["frames"] < 40_000 and row["return_mean"] >= 0.5
    monkeypatch.setitem(pay.TASKS, "Empty-5x5", (2_048, 2.0))
    run, row = pay.train(pay.Run("Empty-5x5", "2 x 2 options", 0))
    assert row["frames"] == np.inf and row["length"] > 1


def test_the_median_s_interval_may_end_in_infinity():
    assert benchmark("rows").median_interval([10.0, 20.0, 30.0, np.inf, np.inf]) == (10, np.inf)


def made_up(pay, agents, seeds=10):
    rng, results = np.random.default_rng(0), {}
    for task, (limit, _) in pay.TASKS.items():
        for agent in agents:
            for seed in range(seeds):
                frames = rng.lognormal(np.log(limit / 2), 0.7)
                row = dict(frames=frames if frames < limit else np.inf, return_mean=0.5, length=2.0, information=0.1)
                results[pay.Run(task, agent, seed)] = row
    return results


def test_a_table_of_part_of_the_runs(capsys):
    """Rows without a flat agent beside them are no error, and are not compared; averages are over the tasks that both have."""
    pay = benchmark("where_options_pay")
    results = made_up(pay, ("flat", "4 options", "flat, gated"), 4)
    results = {run: row for run, row in results.items() if run.task != "DoorKey-8x8" or run.agent == "4 options"}
    results = {run: row for run, row in results.items() if run.task in ("DoorKey-8x8", "UnlockPickup", "MultiRoom-N6") or run.seed < 2}
    pay.table(results)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines() if line]
    (alone,) = (line for line in lines if line[:2] == ["DoorKey-8x8 (0.9)", "4 options"])
    (beside,) = (line for line in lines if line[:2] == ["UnlockPickup (0.8)", "4 options"])
    assert alone[-1] == "" and beside[-1].endswith("]") and len(alone[2].split()) == 4
    now, before = ([line for line in lines if line[:2] == [defaults, "4 options"]][0] for defaults in ("now", "before"))
    assert (now[2], before[2]) == ("9", "2") and "[" not in now[3] and before[4] == ""
    assert float(now[3]) == pytest.approx(statistics.sooner(*pay.pairs(results, pay.HARD, "4 options"))[0], abs=0.006)


def test_a_table_of_seeds_has_every_seed(capsys):
    pay = benchmark("where_options_pay")
    results = made_up(pay, ("flat", "8 options"), 4)
    results[pay.Run("UnlockPickup", "8 options", 2)]["frames"] = np.inf
    del results[pay.Run("MultiRoom-N6", "8 options", 0)]
    pay.table_of_seeds(results)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines() if line]
    assert lines[0] == ["task (return)", "flat", "8 options"] and len(lines) == 2 + len(pay.HARD) + 2
    (unlock,) = (line for line in lines if line[0] == "UnlockPickup (0.8)")
    (rooms,) = (line for line in lines if line[0].startswith("MultiRoom-N6"))
    assert unlock[2].split()[2] == "∞" and len(unlock[1].split()) == 4 and len(rooms[2].split()) == 3
    learned = [int(cell.split("/")[0]) for cell in lines[-2][1:]]
    assert learned == [sum(np.isfinite(row["frames"]) for run, row in results.items() if run.agent == name and run.task in pay.HARD)
                       for name in ("flat", "8 options")]  # fmt: skip
    assert lines[-2][2].endswith("/39") and "[" not in lines[-1][2] and lines[-1][1] == ""


@pytest.mark.parametrize("agents", ["USUAL", "AGENTS"])
def test_the_picture_stays_legible(agents, monkeypatch):
    """With every task: no title, number or name lies on another."""
    pay = benchmark("where_options_pay")
    monkeypatch.setattr(pay.rows, "sooner", partial(pay.rows.sooner, resamples=20))
    figure = pay.picture(made_up(pay, tuple(getattr(pay, agents))))
    FigureCanvasAgg(figure).draw()
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == len(pay.TASKS) + 1 and figure.get_size_inches()[0] < 14
    texts = [axes.title for axes in panels]
    texts += [text for axes in panels for text in (*axes.get_xticklabels(), *axes.get_yticklabels()) if text.get_visible()]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    assert len(boxes) > 4 * len(panels)
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i]), texts[i]


def test_pairs_that_are_apart_are_marked_by_how_sure_it_is(capsys):
    """Of 16 pairs of seeds, 2 are sooner by flat than by four options, all than by eight: of three comparisons only these stay apart. Of
    three seeds nothing is marked."""
    pay = benchmark("where_options_pay")
    task = next(iter(pay.HARD))
    frames = {"flat": [4, 5, 7, 8], "4 options": [1, 2, 3, 6], "8 options": [100, 200, 300, 400]}
    results = {pay.Run(task, agent, seed): {"frames": float(x)} for agent, of in frames.items() for seed, x in enumerate(of)}
    pay.table_of_pairs(results)
    assert capsys.readouterr().out.splitlines()[2:4] == ["| flat | 0.12* | 1.00** |", "| 4 options |  | 1.00** |"]
    pay.table_of_pairs({run: row for run, row in results.items() if run.seed < 3})
    assert "*" not in capsys.readouterr().out
