"""Films of agents with options."""

import sys
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image
from run_folders import started
from small import GRIDWORLD, SMALL
from toys import Toy

import optioncoagent as oc
from optioncoagent.cli import main
from optioncoagent.examples import own_hierarchy
from optioncoagent.gallery import double_actor_critic, random_length, stochastic_layers
from optioncoagent.network.roles import MOST, gate_of, shown_of
from optioncoagent.runs.film import HOLD, TINT, Episode, Step, _color, draw, film, play, tinted

EMPTY = "MiniGrid-Empty-5x5-v0"


def agent_with(num_options=3, env_id=EMPTY, **logits):
    """An agent whose termination, if given, is the same everywhere."""
    agent = oc.OptionCritic(env_id, num_options, num_envs=2, hidden_sizes=())
    for name, bias in logits.items():
        head = agent.module.policies[f"policy_{name}"]
        head.weight.data.zero_()
        head.bias.data.copy_(head.bias.new_tensor(bias).repeat(len(head.bias) // len(bias)))
    return agent


def test_steps_hold_what_the_agent_did():
    """ln 9 to ln 1: an option ends with probability 9/10."""
    agent = agent_with(termination=[np.log(9.0), 0.0])
    (episode,) = play(agent, 1, seed=3, max_steps=60)
    first, *rest = episode.steps
    assert np.isnan(first.probability[0]) and first.executed == (False,)
    assert all(step.probability == pytest.approx((0.9,)) for step in rest)
    assert 0.75 < np.mean([step.executed[0] for step in rest]) <= 1
    changed = [a.outputs != b.outputs for a, b in zip(episode.steps, rest, strict=False)]
    assert any(changed) and all(step.executed[0] for step, new in zip(rest, changed, strict=True) if new)
    assert first.image.shape == (160, 160, 3)


def test_episodes_are_of_their_seed():
    """Not of what was played before, and the agent's own draws go on as if nothing had been."""
    agent, other = (oc.OptionCritic(EMPTY, 3, num_envs=2, num_steps=16, hidden_sizes=(8,)) for _ in range(2))

    def outputs(seed):
        return [step.outputs for episode in play(agent, 2, seed=seed, max_steps=40) for step in episode.steps]

    first = outputs(5)
    assert outputs(5) == first and outputs(6) != first
    seen = agent.env.reset(seed=0)[0]
    assert np.array_equal(agent.predict(seen)[0], other.predict(seen)[0])


def test_the_probability_is_that_of_the_option_that_was_running():
    """Option 0 always ends, option 1 never."""
    pairs = [
        (before.outputs[0], now)
        for episode in play(agent_with(2, termination=[50.0, -50.0, -50.0, 50.0]), 6, max_steps=6)
        for before, now in zip(episode.steps, episode.steps[1:], strict=False)
    ]
    assert {(before, now.outputs[0]) for before, now in pairs} == {(0, 0), (0, 1), (1, 1)}
    assert all(now.probability[0] == pytest.approx(1 - before) and now.executed[0] == (before == 0) for before, now in pairs)


def test_the_probability_is_that_of_the_hidden_state(monkeypatch):
    agent = oc.OptionCritic(EMPTY, 2, num_envs=2, recurrent_size=4)
    module = agent.module
    module.policies["policy_termination"].weight.data.normal_(generator=torch.Generator().manual_seed(0))
    predict, seen = oc.OptionCritic.predict, []

    def recorded(self, observation, state, *others):
        given = predict(self, observation, state, *others)
        seen.append(torch.from_numpy(given[1][1]))
        return given

    monkeypatch.setattr(oc.OptionCritic, "predict", recorded)
    (episode,) = play(agent, 1, max_steps=20)
    assert len(episode.steps) > 2
    for step, before, hidden in zip(episode.steps[1:], episode.steps, seen[1:], strict=False):
        expected = module.logits("termination", module.readout(hidden))[before.outputs[0]].softmax(dim=0)[0].item()
        assert step.probability == pytest.approx((expected,), rel=1e-5)


def test_options_that_never_end_run_on():
    (episode,) = play(agent_with(termination=[-50.0, 50.0]), 1, max_steps=30)
    assert len({step.outputs for step in episode.steps}) == 1 and not any(step.executed[0] for step in episode.steps)


def test_actions_may_be_vectors_of_real_numbers():
    class Arm(Toy):
        metadata = {"render_modes": ["rgb_array"], "render_fps": 8}

        def __init__(self, render_mode=None):
            super().__init__(actions=gym.spaces.Box(-1, 1, (2,)))
            self.render_mode = render_mode

        def render(self):
            return np.zeros((8, 8, 3), np.uint8)

    gym.register("Arm-v0", Arm)
    try:
        (episode,) = play(agent_with(env_id="Arm-v0"), 1)
    finally:
        del gym.registry["Arm-v0"]
    assert len(episode.steps) == 3 and episode.ended and episode.steps[0].image.shape == (8, 8, 3)


def test_levels_top_first():
    (episode,) = play(agent_with((2, 3), termination_1=[-50.0, 50.0], termination_2=[50.0, -50.0]), 1, max_steps=20)
    top, bottom = zip(*(step.outputs for step in episode.steps), strict=True)
    assert len(set(top)) == 1 and max(bottom) == 2
    assert all(step.executed == (False, True) and step.probability == pytest.approx((0.0, 1.0)) for step in episode.steps[1:])


def test_an_upper_option_lasts_as_long_as_the_one_below():
    (episode,) = play(agent_with((2, 3), termination_1=[50.0, -50.0], termination_2=[-50.0, 50.0]), 1, max_steps=20)
    assert all(step.executed == (False, False) and step.probability == pytest.approx((1.0, 0.0)) for step in episode.steps[1:])


def test_episodes_begin_anew_and_are_cut():
    cut, other = play(agent_with(), 2, seed=1, max_steps=4)
    assert len(cut.steps) == 4 and not cut.ended
    np.testing.assert_array_equal(cut.steps[0].image, other.steps[0].image)  # one level: the agent stands in its corner
    (whole,) = play(agent_with(), 1, seed=1, max_steps=1000)
    assert whole.ended and (whole.episode_return > 0) == (len(whole.steps) < 100)


def test_a_tint_is_a_mixture():
    np.testing.assert_array_equal(
        tinted(np.full((1, 1, 3), 100, np.uint8), (1.0, 0.0, 0.5)),
        [[[int(100 * (1 - TINT) + 255 * TINT), int(100 * (1 - TINT)), int(100 * (1 - TINT) + 127.5 * TINT)]]],
    )


def episode_of(*options):
    image = np.zeros((8, 8, 3), np.uint8)
    steps = [
        Step(image, (option,), (t > 0 and option != options[t - 1],), (float("nan") if t == 0 else 0.25,))
        for t, option in enumerate(options)
    ]
    return Episode(steps, 0.5, True)


def test_frames_show_options_and_ends():
    episode = episode_of(0, 0, 1)
    titles, borders, cursors = [], [], []
    for figure in draw(episode, 4):
        picture, _, ends = figure.axes
        titles.append(picture.get_title())
        borders.append(tuple(picture.spines["left"].get_edgecolor()[:3]))
        cursors.append(figure.axes[1].lines[0].get_xdata()[0])
    assert titles == [
        "episode 5, step 0, option 0",
        "episode 5, step 1, option 0",
        "episode 5, step 2, option 1 (option 0 ended)\nreturn 0.50",
    ]
    assert borders[0] == borders[1] != borders[2] and cursors == [0, 1, 2]
    figure.canvas.draw()  # the last caption, of two lines, is inside
    assert picture.title.get_window_extent().y1 <= figure.bbox.y1
    assert ends.patches[0].get_data().values.tolist() == [0, 0.25, 0.25] and ends.lines[0].get_xdata().tolist() == [2]


def test_a_gif_has_a_frame_for_each_step(tmp_path):
    film([episode_of(0, 1, 2), episode_of(1, 0)], tmp_path / "film.gif", fps=10)
    with Image.open(tmp_path / "film.gif") as gif:
        durations = []
        for i in range(gif.n_frames):
            gif.seek(i)
            durations.append(gif.info["duration"])
    assert durations == [100, 100, 100 * HOLD, 100, 100 * HOLD]
    with pytest.raises(ValueError, match="fps=60: a GIF shows at most 50"):
        film([episode_of(0, 1)], tmp_path / "fast.gif", fps=60)


def test_a_film_of_a_run(tmp_path, monkeypatch, capsys):
    folder = started(tmp_path / "run", total_timesteps=64)
    arguments = ["watch", folder, "--out", tmp_path / "film.gif", "--num-episodes", 1, "--max-steps", 3]
    monkeypatch.setattr(sys, "argv", ["optioncoagent", *map(str, arguments)])
    main()
    assert (tmp_path / "film.gif").read_bytes().startswith(b"GIF8") and "in 3 steps (cut)" in capsys.readouterr().out


def test_what_cannot_be_filmed_is_said(tmp_path):
    with pytest.raises(ValueError, match="no step to film"):
        film([], tmp_path / "film.gif")
    with pytest.raises(ValueError, match="ends in .gif or .mp4"):
        film([episode_of(0)], tmp_path / "film.png")
    with pytest.raises(ValueError, match="Gridworld-v0 .*renders? pictures"):
        next(play(agent_with(env_id="OptionCoagent/Gridworld-v0")))
    agent = agent_with()
    object.__setattr__(agent.interface, "env_id", "nowhere_to_be_found:Any-v0")
    with pytest.raises(ValueError, match="import nowhere_to_be_found before"):
        next(play(agent))


def test_flags_of_watch_reach_the_film(monkeypatch, tmp_path):
    """Every flag of watch reaches the film."""
    seen = []
    module = oc.runs.film
    monkeypatch.setattr(module, "play", lambda agent, *given: seen.append(given) or [])
    monkeypatch.setattr(module, "film", lambda episodes, out, *given, **named: seen.append((given, named)))
    oc.OptionCritic(GRIDWORLD, num_options=2, **SMALL).save(tmp_path / "a")
    flags = ["--seed", "7", "--fps", "3", "--num-episodes", "2", "--max-steps", "5", "--deterministic"]
    monkeypatch.setattr(sys, "argv", ["optioncoagent", "watch", str(tmp_path / "a"), *flags])
    main()
    assert seen == [(2, 7, True, 5), ((3,), {"progress_bar": True})]


def test_after_a_cut_the_next_episode_is_of_another_level():
    """After a cut the next episode is of another level."""
    agent = oc.OptionCritic("MiniGrid-FourRooms-v0", 2, num_envs=2, hidden_sizes=())
    one, two = play(agent, 2, seed=1, max_steps=2)
    assert (one.steps[0].image != two.steps[0].image).any()


def own(network):
    return oc.CoagentActorCritic(EMPTY, network, num_envs=2, hidden_sizes=(), seed=0)


def test_a_coagent_that_reads_numbers_is_in_no_film_s_way():
    """Its policy is no table, of which there is no need."""

    def describe(n):
        options = oc.option_critic(2, n).coagents
        unit = oc.Coagent("unit", oc.Gaussian(2))
        reads = replace(options[-1], upstream=("option", "unit"), additive=True)
        return oc.CoagentNetwork([*options[:-1], unit, reads])

    (episode,) = play(own(describe), 1, max_steps=20)
    assert episode.names == ("option",) and all(0 < step.probability[0] < 1 for step in episode.steps[1:])


def test_networks_without_terminations():
    """A coagent's steps of execution are marked where it may retain its output; one that always executes has no marks."""

    def describe(n):
        left = oc.Coagent("left", 2, executes=lambda x: x.start | (x.previous["right"] == 0))
        return oc.CoagentNetwork([left, oc.Coagent("right", 3), oc.Coagent("action", n, upstream=("left", "right"))])

    (episode,) = play(own(describe), 1, max_steps=40)
    assert episode.names == ("left", "right") and episode.retained == (True, False) and episode.gated == (False, False)
    assert episode.steps[0].executed == (True, True)
    for before, step in zip(episode.steps, episode.steps[1:], strict=False):
        assert step.executed == (before.outputs[1] == 0, True)
        assert step.outputs[0] == before.outputs[0] or step.executed[0]
    assert {step.outputs[1] for step in episode.steps} == {0, 1, 2} and np.isnan([step.probability for step in episode.steps]).all()
    for step, figure in zip(episode.steps, draw(episode), strict=True):
        labels = [axes.get_ylabel() for axes in figure.axes]
        assert labels == ["", f"left {step.outputs[0]}", f"right {step.outputs[1]}"]
    marks = [[line.get_xdata().tolist() for line in axes.lines if line.get_marker() == "v"] for axes in figure.axes]
    assert marks == [[], [[t for t, step in enumerate(episode.steps) if step.executed[0]]], []]
    assert figure.axes[-1].get_xlabel() == "step (marks: the coagent executed)" and "option" not in figure.axes[0].get_title()


def test_a_caption_names_the_levels_that_ended():
    steps = [Step(np.zeros((4, 4, 3), np.uint8), (1, 3), (False, False), (np.nan, np.nan))]
    steps += [replace(steps[0], outputs=(1, 2), executed=(False, True)), replace(steps[0], outputs=(0, 0), executed=(True, True))]
    episode = Episode(steps, names=("option_1", "option_2"), retained=(True, True), gated=(True, True))
    titles = [figure.axes[0].get_title().split("\n")[0] for figure in draw(episode)]
    assert [title.partition(", option ")[2] for title in titles] == ["1/3", "1/2 (option -/3 ended)", "0/0 (option 1/2 ended)"]


def test_what_no_film_can_be_is_said_before_anything_is_loaded(tmp_path, monkeypatch, capsys):
    for words, message in ((["--out", "film.avi"], "a film ends in"), (["--fps", "60"], "a GIF shows at most 50")):
        monkeypatch.setattr(sys, "argv", ["optioncoagent", "watch", str(tmp_path / "no run"), *words])
        with pytest.raises(SystemExit):
            main()
        assert message in capsys.readouterr().err


def test_the_picture_is_tinted_by_the_lowest_option():
    step = Step(np.zeros((4, 4, 3), np.uint8), (0, 3), (False, False), (np.nan, np.nan))
    (figure,) = draw(Episode([step], names=("option_1", "option_2"), retained=(True, True), gated=(True, True)))
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), tinted(step.image, _color(3)))


def test_options_with_a_manager_above_and_without_terminations():
    (episode,) = play(own(own_hierarchy.describe), 1, max_steps=5)
    assert all(np.isnan(step.probability[0]) and 0 < step.probability[1] < 1 for step in episode.steps[1:])
    network = own_hierarchy.describe(7)
    assert shown_of(network) == ("manager", "option") and gate_of(network, "option") == "termination"
    (episode,) = play(own(lambda n: random_length(4, n, mean_length=4)), 1, max_steps=40)
    assert episode.names == ("option",) and 0 < np.mean([step.executed[0] for step in episode.steps]) < 0.6
    *_, last = draw(episode)
    assert len(last.axes) == 2 and last.axes[-1].get_xlabel() == "step (marks: the option ended)"
    (episode,) = play(own(lambda n: double_actor_critic(3, n)), 1, max_steps=10)
    assert episode.retained == (False,) and all(step.executed[0] for step in episode.steps[1:])
    *_, last = draw(episode)
    assert len(last.axes) == 2 and last.axes[-1].get_xlabel() == "step" and "ended" not in last.axes[0].get_title()


def test_a_film_that_fails_leaves_the_one_before(tmp_path):
    (tmp_path / "film.gif").write_bytes(b"the one before")
    step = Step(np.zeros((4, 4, 3), np.uint8), (0,), (False,), (np.nan,))
    with pytest.raises(IndexError):
        film([Episode([step, replace(step, outputs=())])], tmp_path / "film.gif")
    assert (tmp_path / "film.gif").read_bytes() == b"the one before" and len(list(tmp_path.iterdir())) == 1


def test_sixteen_options_have_sixteen_colours():
    assert len({_color(option) for option in range(30)}) == 30


def test_a_film_without_any_strip(tmp_path):
    film(list(play(own(lambda n: stochastic_layers((MOST + 1,), n)), 1, max_steps=2)), tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as gif:
        assert gif.n_frames == 2
