"""Episodes of an agent as a film: what is seen, tinted by the running option, and below it how the options took turns.

Of a network without options, the outputs of all its coagents but the actions are shown in their place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from optioncoagent.gallery import TERMINATE
from optioncoagent.network.roles import gate_of, is_option, shown_of
from optioncoagent.outputs import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from optioncoagent.network import CoagentNetwork

TINT = 0.3  # share of the option's colour in a picture
HOLD = 8  # frames that the end of an episode stays
WRITERS = {".gif": "pillow", ".mp4": "ffmpeg"}


@dataclass(frozen=True)
class Step:
    """One step, before the action is taken. image (height, width, 3); for each coagent that is shown, options top level first: its output;
    whether it executed, of an option at a later step than the first, where the one before had ended; and the probability of the option's
    termination (NaN at the start, and of what has none), which at the upper levels only counts where the options below have ended."""

    image: np.ndarray
    outputs: tuple[int, ...]
    executed: tuple[bool, ...]
    probability: tuple[float, ...]


@dataclass
class Episode:
    """The steps of an episode; its undiscounted return; did it end before it was cut? names: of the coagents that are shown. retained: may
    an output of theirs be that of the step before, so that there is something to be seen of when they execute? gated: does a termination
    say so?"""

    steps: list[Step] = field(default_factory=list)
    episode_return: float = 0.0
    ended: bool = False
    names: tuple[str, ...] = ("option",)
    retained: tuple[bool, ...] = (True,)
    gated: tuple[bool, ...] = (True,)


def play(agent: Any, num_episodes: int = 3, seed: int = 0, deterministic: bool = False, max_steps: int = 300) -> Iterator[Episode]:
    """Episodes of a `CoagentActorCritic` in an environment that renders, cut after `max_steps`.

    Raises ValueError if the agent has no id to make one from, if its id names a module that is not imported, or if it does not render.
    """
    env = _rendering(agent, seed)
    try:
        yield from _played(agent, env, num_episodes, seed, deterministic, max_steps)
    finally:
        if getattr(agent._env, "render_mode", None) is None:  # pygame's windows close all at once, the training's too
            env.close()


def _played(agent: Any, env: Any, num_episodes: int, seed: int, deterministic: bool, max_steps: int) -> Iterator[Episode]:
    """`play`, in this environment."""
    from optioncoagent.agents.rollout import Sampler
    from optioncoagent.agents.torch_state import derive_seed

    agent = copy(agent)  # with a source of randomness of its own
    agent.predict_sampler = Sampler(agent.network, derive_seed(seed, "film"), agent.settings.device)
    shown = shown_of(agent.network)
    gates = [gate_of(agent.network, name) for name in shown]
    drawn = [gate for gate in gates if gate is not None]
    retained = tuple(agent.network.may_retain(name, start=False) for name in shown)
    observation, _ = env.reset(seed=seed)
    for number in range(num_episodes):
        episode, state = Episode(names=shown, retained=retained, gated=tuple(map(bool, gates))), None
        before: dict[str, int] = {}
        while not episode.ended and len(episode.steps) < max_steps:
            tables = agent.probabilities(observation, state, drawn) if drawn and episode.steps else {}
            action, state = agent.predict(observation, state, np.array([not episode.steps]), deterministic)
            now, ran = ({name: x[0].tolist() for name, x in part.items()} for part in agent.acted)
            episode.steps.append(
                Step(
                    env.render()[0],
                    tuple(now[name] for name in shown),
                    tuple(ran[name] and (bool(episode.steps) or not is_option(name)) for name in shown),
                    tuple(_probability(agent.network, name, tables, now, before) for name in gates),
                )
            )
            before = now
            observation, reward, terminated, truncated, _ = env.step(action)
            episode.episode_return += float(reward[0])
            episode.ended = bool(terminated[0] or truncated[0])
        yield episode
        if not episode.ended and number + 1 < num_episodes:
            observation, _ = env.reset(seed=seed + number + 1)


def film(episodes: Sequence[Episode], out: str | Path, fps: int = 8, progress_bar: bool = False) -> None:
    """Write episodes as a GIF, or an MP4 where ffmpeg is installed. Raises ValueError as `check_film` does, and where there is no step."""
    from matplotlib.animation import writers

    check_film(out, fps)
    if not any(episode.steps for episode in episodes):
        raise ValueError("episodes: there is no step to film")
    writer = writers[WRITERS[Path(out).suffix.lower()]](fps=fps)
    drawn: Figure | None = None
    num_frames = sum(len(episode.steps) for episode in episodes)
    with whole(out) as file, tqdm(total=num_frames, unit="frame", disable=not progress_bar) as bar:
        for number, episode in enumerate(episodes):
            for t, figure in enumerate(draw(episode, number)):
                if drawn is None:
                    writer.setup(figure, str(file), dpi=100)
                writer.fig = drawn = figure
                for _ in range(HOLD if t == len(episode.steps) - 1 else 1):
                    writer.grab_frame()
                bar.update()
        writer.finish()


def check_film(out: str | Path, fps: int) -> None:
    """Raise ValueError for another ending than a film's, for an MP4 without ffmpeg, and for more pictures in a second than a GIF shows,
    which counts their time in hundredths of one."""
    from matplotlib.animation import writers

    ending = Path(out).suffix.lower()
    name = WRITERS.get(ending)
    if name is None:
        raise ValueError(f"out={out}: a film ends in {' or '.join(WRITERS)}")
    if not writers.is_available(name):
        raise ValueError(f"out={out}: this needs {name}, which is not installed; .gif needs nothing")
    if ending == ".gif" and fps > 50:
        raise ValueError(f"fps={fps}: a GIF shows at most 50 pictures in a second; an .mp4 shows more")


def draw(episode: Episode, number: int = 0) -> Iterator[Figure]:
    """The frames of an episode, one and the same figure changed for each step."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps, names = episode.steps, episode.names
    heights = [height for gated in episode.gated for height in ((1, 2) if gated else (1,))]
    figure = Figure(figsize=(4.8, 5.6 + 0.3 * sum(heights)))
    FigureCanvasAgg(figure)
    picture, *strips = figure.subplots(1 + len(heights), 1, height_ratios=[12, *heights], squeeze=False)[:, 0]
    figure.subplots_adjust(left=0.13 if episode.names == ("option",) else 0.2, right=0.97, top=0.93, bottom=0.07, hspace=0.35)
    image = picture.imshow(steps[0].image)
    picture.set(xticks=[], yticks=[])
    left, labels = iter(strips), {}
    for level, name in enumerate(names):
        _option_strip(axes := next(left), steps, level, name)
        if episode.gated[level]:
            _termination_strip(next(left), steps, level, name)
        elif episode.retained[level]:
            _marks(axes, steps, level)
        if not is_option(name):
            labels[level] = axes  # says its output beside its name
    cursors = [axes.axvline(0, color="black", linewidth=1) for axes in strips]
    for axes in strips[:-1]:
        axes.tick_params(labelbottom=False)
    if strips:
        strips[-1].set_xlabel(_explanation(episode), fontsize=7, labelpad=1)
    running = max((level for level, name in enumerate(names) if is_option(name)), default=None)
    for t, step in enumerate(steps):
        if running is not None:
            color = np.array(_color(step.outputs[running]))
            image.set_data(tinted(step.image, color))
            for spine in picture.spines.values():
                spine.set(color=color, linewidth=5)
        else:
            image.set_data(step.image)
        for level, axes in labels.items():
            axes.yaxis.label.set_text(f"{names[level].replace('_', ' ')} {step.outputs[level]}")
        for cursor in cursors:
            cursor.set_xdata([t, t])
        picture.set_title(_caption(episode, number, t), fontsize=9)
        yield figure


def tinted(image: np.ndarray, color: Any) -> np.ndarray:
    """A picture (height, width, 3) of bytes, mixed with a colour (3,) in [0, 1]."""
    return ((1 - TINT) * image + TINT * 255 * np.asarray(color)).astype(np.uint8)


def _option_strip(axes: Axes, steps: Sequence[Step], level: int, name: str) -> None:
    """A block of the output's colour for each step."""
    row = np.array([[_color(step.outputs[level]) for step in steps]])
    axes.imshow(row, aspect="auto", extent=(-0.5, len(steps) - 0.5, 0, 1), interpolation="nearest")
    axes.set(yticks=[], xlim=(-0.5, len(steps) - 0.5))
    axes.tick_params(labelsize=7)
    axes.set_ylabel(name.replace("_", " "), rotation=0, ha="right", va="center", fontsize=8)


def _termination_strip(axes: Axes, steps: Sequence[Step], level: int, name: str) -> None:
    """The probability with which the running option was going to be terminated; a mark where it was."""
    probability = np.array([step.probability[level] for step in steps])
    axes.stairs(np.nan_to_num(probability), np.arange(len(steps) + 1) - 0.5, fill=True, color="0.75")
    axes.set(xlim=(-0.5, len(steps) - 0.5), ylim=(0, 1), yticks=[0, 1])
    axes.tick_params(labelsize=7)
    axes.set_ylabel(name.replace("option", "ends", 1).replace("_", " "), rotation=0, ha="right", va="center", fontsize=8)
    _marks(axes, steps, level)


def _marks(axes: Axes, steps: Sequence[Step], level: int) -> None:
    """One at the upper edge wherever the coagent executed."""
    at = np.flatnonzero([step.executed[level] for step in steps])
    axes.plot(at, np.ones(at.size), "v", color="black", markersize=4, clip_on=False)


def _explanation(episode: Episode) -> str:
    marks = [name for name, retained in zip(episode.names, episode.retained, strict=True) if retained]
    parts = ["bars: termination probability"] * any(episode.gated)
    if marks:
        parts.append("marks: the option ended" if all(map(is_option, marks)) else "marks: the coagent executed")
    return f"step ({'; '.join(parts)})" if parts else "step"


def _caption(episode: Episode, number: int, t: int) -> str:
    step = episode.steps[t]
    text = f"episode {number + 1}, step {t}"
    if options := [level for level, name in enumerate(episode.names) if is_option(name)]:
        text += f", option {'/'.join(str(step.outputs[level]) for level in options)}"
        ended = [step.executed[level] and episode.retained[level] for level in options]
        if any(ended):  # of several levels, - for one that goes on
            before = [str(episode.steps[t - 1].outputs[level]) if over else "-" for level, over in zip(options, ended, strict=True)]
            text += f" (option {'/'.join(before)} ended)"
    if t == len(episode.steps) - 1:
        text += f"\nreturn {episode.episode_return:.2f}" + ("" if episode.ended else ", cut here")
    return text


def _color(option: int) -> tuple[float, float, float]:
    from matplotlib import colormaps

    return (colormaps["tab10"](option) if option < 10 else colormaps["tab20b"]((option - 10) % 20))[:3]


def _probability(
    network: CoagentNetwork, name: str | None, tables: dict[str, np.ndarray], now: dict[str, int], before: dict[str, int]
) -> float:
    """π(TERMINATE) of a termination, given what it reads; NaN where there is no table."""
    if name is None or name not in tables:
        return float("nan")
    coagent = network[name]
    table = tables[name][0] if coagent.observes else tables[name]
    index = (*(now[other] for other in coagent.upstream), *(before[other] for other in coagent.previous))
    return float(table[index][TERMINATE])


def _rendering(agent: Any, seed: int) -> Any:
    """One environment as the agent's, which renders pictures."""
    from optioncoagent.agents.environments import make_vector_env

    agent.interface.check_makeable()
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame, which draws some environments, looks for no screen then
    env_id = agent.interface.env_id
    kwargs = {**agent.interface.env_kwargs, "render_mode": "rgb_array"}
    try:
        env = make_vector_env(env_id, 1, seed, kwargs)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{env_id} cannot be made so that it renders pictures ({error})") from error
    if "rgb_array" not in env.metadata.get("render_modes", ()):
        raise ValueError(f"{env_id} renders no pictures (rgb_array)")
    return env
