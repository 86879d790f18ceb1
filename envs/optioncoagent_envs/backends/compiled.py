"""A batch of MiniGrid environments that is compiled throughout: levels, rules and observations.

Levels are drawn as MiniGrid draws them: every environment has a NumPy generator of its own, seeded by
`reset(seed=...)`, and each new episode takes the next level from it. The generators are compiled and replay NumPy's
stream, so that there is no pool: an environment meets exactly the sequence of levels that stock MiniGrid would, seed
for seed, and the level of a seed is the one that `gym.make(env_id).reset(seed=seed)` shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from copy import copy
from functools import cached_property
from threading import Lock
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from minigrid.envs.babyai.core import roomgrid_level
from minigrid.minigrid_env import MiniGridEnv

from optioncoagent_envs.backends.batch import UNKNOWN, MiniGridBatch, Observations, episode_ends, require_level
from optioncoagent_envs.backends.families import family_of
from optioncoagent_envs.backends.state import read_row, write_row
from optioncoagent_envs.minigrid.engine.codes import GREY_WALL, NUM_CODES, WORDS
from optioncoagent_envs.minigrid.engine.observe import observe, view_offsets
from optioncoagent_envs.minigrid.engine.random import stream_of
from optioncoagent_envs.minigrid.engine.rows import AGENT_COLUMNS, CARRIED, DIRECTION, LIMIT, MISSION, POSITION, STEPS, Row
from optioncoagent_envs.minigrid.engine.step import step_of
from optioncoagent_envs.minigrid.family import Family
from optioncoagent_envs.minigrid.kept import Door, Obstacles, Place, Thing

ROWS_PER_THREAD, LEVELS_PER_THREAD = 256, 32  # with fewer, waking a thread takes longer than its work
BABYAI_IS_SILENT = Lock()
COMPARED, COMPARED_STEPS = 4, 12  # levels of MiniGrid's with those that the compiled generator draws, and steps in each


class State(dict):
    """Arrays by name; of: what the batch is made of whose they are, None where nobody says (of rows that were taken and put together)."""

    of: str | None = None


class CompiledMiniGrid(MiniGridBatch):
    """Environments of one covered family (`minigrid.family`), all made like `env`.

    threads: how many share a step, at most one for every ROWS_PER_THREAD environments. More than one pays from about a
    thousand environments, and while no other program wants the cores: the fastest thread waits for the slowest.
    """

    backend = "compiled"

    def __init__(
        self,
        env: gym.Env,
        family: Family,
        num_envs: int,
        view: str = "partial",
        view_size: int | None = None,
        seed: int | None = None,
        threads: int = 1,
    ):
        super().__init__(env, num_envs, view, view_size, seed)
        core = env.unwrapped
        assert isinstance(core, MiniGridEnv)
        self._model = core
        self._family = family
        self._step_rows = step_of(family.rule)
        self._settings = np.array(family.settings(core), np.int64)
        self._missions = dict(enumerate(family.missions(core)))
        self._of += f", see_through_walls={core.see_through_walls}, settings={family.drawn_by(core)}"
        self._size = 0 if view == "full" else self.view_size
        pad = max(1, self._size - 1)
        stride = core.width + 2 * pad
        self._shape = core.width, core.height, stride, pad
        offsets = view_offsets(self._size)
        self._offsets = offsets[..., 0] + offsets[..., 1] * stride
        self._rows = np.arange(num_envs)
        self._rng = np.zeros((num_envs, 6), np.uint64)
        self._grid = np.full((num_envs, stride * (core.height + 2 * pad)), GREY_WALL, np.uint8)
        self._marks = np.zeros((num_envs, 2, self._grid.shape[1] if family.spoken else 0), np.uint8)
        self._agent = np.zeros((num_envs, AGENT_COLUMNS + family.extra_columns(core)), np.int64)
        self._agent[:, LIMIT] = core.max_steps
        self._mission_of_row = [""] * num_envs
        self.threads = max(1, min(threads, num_envs // ROWS_PER_THREAD))

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        """Made when first needed, by a copy too."""
        return ThreadPoolExecutor(self.threads - 1)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_pool", "_family", "_step_rows")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        family = family_of(self._model)
        if family is None:
            raise ValueError(f"the compiled batch does not cover {self._model} as it is now: make the batch anew")
        self._family = family
        self._step_rows = step_of(self._family.rule)

    # Gymnasium's interface

    def reset(self, *, seed=None, options=None):
        rows = np.flatnonzero(self._reset_mask(options))
        seeds = self._seeds(seed)
        for row in [row for row in rows.tolist() if not self._started or seeds[row] is not None]:
            generator, used = seeding.np_random(seeds[row])
            self._rng[row], self._level_seeds[row], self._level_counts[row] = stream_of(generator), used, -1
            self._agent[row, STEPS] = 0  # of the episode that is over: what they have drawn is forgotten
        self._started = False  # if a level cannot be made
        self._renew(rows)
        self._started = True
        return self.observations(), {}

    def step(self, actions):
        """Gymnasium's, with SAME_STEP autoreset: an episode that ends begins anew in the same step, whose observation is the next one's
        first; the one on which it ended is in info["final_obs"], where info["_final_obs"] says so."""
        n = self.num_envs
        actions = self._checked(actions)
        images, directions = self._blank_images(n), np.empty(n, np.int64)
        rewards, terminated, truncated = np.empty(n), np.empty(n, bool), np.empty(n, bool)
        state = self._grid, self._agent, self._marks, self._rng, self._shape
        views = self._offsets, self._size, self._model.see_through_walls, images, directions
        self._share(
            self._rows, ROWS_PER_THREAD, lambda rows: self._step_rows(rows, actions, *state, rewards, terminated, truncated, *views)
        )
        ended = np.flatnonzero(terminated | truncated)
        infos: dict[str, Any] = {}
        if len(ended):
            final_images = images[ended].reshape(-1, *self._image_shape)
            final_obs = [
                {"image": image, "direction": direction, "mission": self._mission_of_row[row]}
                for row, image, direction in zip(ended.tolist(), final_images, directions[ended].tolist(), strict=True)
            ]
            infos = episode_ends(n, ended, final_obs)
            self._renew(ended)
            self._observe(ended, images, directions)
        return self._assemble(images, directions), rewards, terminated, truncated, infos

    def _share(self, rows: np.ndarray, least: int, work: Callable[[np.ndarray], Any]) -> None:
        """Does work that holds no lock on all threads, but none gets less than `least` rows."""
        number = min(self.threads, len(rows) // least)
        if number < 2 or self.closed:
            work(rows)
            return
        parts = np.array_split(rows, number)
        waiting = [self._pool.submit(work, part) for part in parts[1:]]
        try:
            work(parts[0])
        finally:
            wait(waiting)  # whatever happens: they write to the same arrays
        for future in waiting:
            future.result()

    def close_extras(self, **kwargs: Any) -> None:
        if pool := vars(self).pop("_pool", None):
            pool.shutdown()
        self._model.close()

    # levels and observations

    def _renew(self, rows: np.ndarray) -> None:
        """Draws new levels into the rows."""
        if self._family.draws:
            self._level_seeds[rows[self._agent[rows, STEPS] > 0]] = UNKNOWN
        self._level_counts[rows] += 1
        marks = (self._marks,) if self._family.spoken else ()
        arrays = self._rng, self._grid, self._agent, *marks, self._shape, self._settings
        self._share(rows, LEVELS_PER_THREAD, lambda part: self._family.generate(part, *arrays))
        self._name_missions(rows)

    def _name_missions(self, rows: np.ndarray) -> None:
        texts = self._family.say(self._agent[rows], self._missions)
        for row, text in zip(rows.tolist(), texts, strict=True):
            self._mission_of_row[row] = text

    def _row(self, index: int) -> Row:
        return Row(self._grid[index], self._agent[index], self._marks[index], self._rng[index])

    @property
    def _image_shape(self) -> tuple[int, ...]:
        return self.single_observation_space["image"].shape  # type: ignore[return-value]

    def _blank_images(self, n: int) -> np.ndarray:
        return np.empty((n, int(np.prod(self._image_shape))), np.uint8)

    def _observe(self, rows: np.ndarray, images: np.ndarray, directions: np.ndarray) -> None:
        see_through = self._model.see_through_walls
        observe(rows, self._grid, self._agent, self._offsets, self._shape, self._size, see_through, images, directions)

    def _assemble(self, images: np.ndarray, directions: np.ndarray) -> Observations:
        shape = (self.num_envs, *self._image_shape)
        return {"image": images.reshape(shape), "direction": directions, "mission": tuple(self._mission_of_row)}

    def observations(self) -> Observations:
        self._require_reset()
        images, directions = self._blank_images(self.num_envs), np.empty(self.num_envs, np.int64)
        self._observe(self._rows, images, directions)
        return self._assemble(images, directions)

    # state

    def places(self) -> np.ndarray:
        """(n, 3) int64: x and y of each agent, and kind and colour of what it carries in one number, 1 for nothing."""
        self._require_reset()
        _, _, stride, pad = self._shape
        y, x = np.divmod(self._agent[:, POSITION], stride)
        carried = WORDS[self._agent[:, CARRIED]] & 0xFFFF  # not what is in a box, which nobody sees
        return np.stack([x - pad, y - pad, carried], axis=1)

    def get_state(self) -> dict[str, np.ndarray]:
        """A copy of everything that the future depends on, with a row for each environment.

        grid (n, cells) uint8 and agent (n, c) int64 are the level as it stands (`minigrid.engine.rows`), marks (n, 2, cells or
        0) uint8 what an instruction asks for (`babyai.verifier`), rng (n, 6) uint64 is where the levels to come are
        drawn from, seed and count name the level (`level_names`). Rows may be taken, repeated and put together at will.
        """
        self._require_reset()
        state = State({name: array.copy() for name, array in self._state().items()})
        state.of = self._of
        return state

    def _state(self) -> dict[str, np.ndarray]:
        names = {"seed": self._level_seeds, "count": self._level_counts}
        return {"grid": self._grid, "agent": self._agent, "marks": self._marks, "rng": self._rng, **names}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Goes back to a state of a batch of the same size, made alike; ValueError if it is of another, or none at all."""
        mine = self._state()
        if not isinstance(state, Mapping):
            raise ValueError(f"a state is arrays by name, not {type(state).__name__}: give what get_state returned")
        if missing := mine.keys() - state:
            raise ValueError(f"the state has no {', '.join(sorted(missing))}: give what get_state returned")
        if (of := getattr(state, "of", None)) not in (None, self._of):
            raise ValueError(f"the state is of {of}, and this batch is of {self._of}")
        theirs = {name: np.asarray(state[name]) for name in mine}
        for name, array in mine.items():
            if theirs[name].shape != array.shape:
                raise ValueError(f"{name} has the shape {theirs[name].shape}, not {array.shape}")
            if theirs[name].dtype.kind not in ("iuO" if array.dtype == object else "iu"):
                raise ValueError(f"{name} holds {theirs[name].dtype}, not whole numbers")
        if self._family.spoken is None and not self._missions.keys() >= set(theirs["agent"][:, MISSION].tolist()):
            raise ValueError("the state has a mission that came with set_env into another batch: set that environment here first")
        if fault := self._fault(theirs["grid"], theirs["agent"]):
            raise ValueError(f"the state has {fault}: give what get_state returned")
        if self._family.spoken is not None:
            try:
                self._family.spoken(theirs["agent"])
            except LookupError:
                raise ValueError("the state has an instruction that says nothing: give what get_state returned") from None
        for name, array in mine.items():
            array[:] = theirs[name]
        self._started = True
        self._name_missions(self._rows)

    def _fault(self, grid: np.ndarray, agent: np.ndarray) -> str | None:
        """What of these rows compiled code, which checks no index, would go astray with; None if nothing."""
        width, height, stride, pad = self._shape
        inside = np.zeros((grid.shape[1] // stride, stride), dtype=bool)
        inside[pad : pad + height, pad : pad + width] = True
        inside, last = inside.reshape(-1), grid.shape[1] - 1

        def lie_inside(columns: list[int]) -> np.ndarray:
            at = agent[:, columns]
            return ((at >= 0) & (at <= last) & inside[np.clip(at, 0, last)]).all(axis=1)

        keeps = self._family.keeps
        places = [kept.column for kept in keeps if isinstance(kept, Place | Door)]
        places += [*range(AGENT_COLUMNS, agent.shape[1])] * any(isinstance(kept, Obstacles) for kept in keeps)
        wanted = agent[:, [kept.column for kept in keeps if isinstance(kept, Thing)]]
        for what, right in (
            ("an agent outside of the grid", lie_inside([POSITION])),
            ("a place outside of the grid", lie_inside(places)),
            ("no wall around the grid", (grid[:, ~inside] == GREY_WALL).all(axis=1)),
            ("an object that is no code", ((wanted >= 1) & (wanted < NUM_CODES)).all(axis=1)),
            ("an agent that faces no direction", (agent[:, DIRECTION] >= 0) & (agent[:, DIRECTION] < 4)),
            ("an agent that carries no code", (agent[:, CARRIED] >= 1) & (agent[:, CARRIED] < NUM_CODES)),
            ("a cell that is no code", ((grid >= 1) & (grid < NUM_CODES)).all(axis=1)),
        ):
            if not right.all():
                return f"{what} in row {np.flatnonzero(~right)[0]}"
        return None

    def minigrid_env(self, index: int) -> MiniGridEnv:
        self._require_reset()
        return read_row(self._model, self._row(index), self._shape, self._family, self._missions)

    def set_env(self, index: int, env: gym.Env) -> None:
        """Raises ValueError if `env` is of another class, size or settings, holds an object without a code, or is in no state to go on."""
        self._require_reset()
        core = env.unwrapped
        if type(core) is not type(self._model) or (core.width, core.height) != self._shape[:2]:
            raise ValueError(f"{core} is not made like {self._model}")
        if core.see_through_walls != self._model.see_through_walls:
            theirs, ours = core.see_through_walls, self._model.see_through_walls
            raise ValueError(f"{core} has see_through_walls={theirs}, and this batch has {ours}: make both alike")
        if unlike := made_unlike(core, self._model, self._family):
            raise ValueError(f"{core} draws its levels with {unlike} as this batch: make both alike, or take the stock backend")
        require_level(core)
        mine = self._row(index)
        # written to a copy first, so that what is refused changes nothing
        row = mine._replace(grid=mine.grid.copy(), agent=mine.agent.copy(), marks=mine.marks.copy(), rng=mine.rng.copy())
        write_row(core, row, self._shape, self._family, self._missions)
        if fault := self._fault(row.grid[None], row.agent[None]):
            raise ValueError(f"{core} has {fault.removesuffix(' in row 0')}: MiniGrid could not go on with it either")
        for array, new in zip(mine, row, strict=True):
            array[:] = new
        self._level_seeds[index], self._level_counts[index] = UNKNOWN, 0
        self._name_missions(np.array([index]))


def made_unlike(core: MiniGridEnv, model: MiniGridEnv, family: Family) -> str:
    """What `core` draws its levels with and `model` does not, by name, with both values; empty if both draw them alike."""
    alike = family.drawn_by(model)
    if family.drawn_by(core) == alike:
        return ""
    unlike = []
    for name, mine in vars(model).items():
        theirs = getattr(core, name, mine)
        if family.drawn_by(changed(model, name, theirs)) != alike:
            unlike.append(f"{name}={theirs!r}, not {mine!r}")
    return " and ".join(unlike) or "other settings"


def changed(env: MiniGridEnv, name: str, value: Any) -> MiniGridEnv:
    """A shallow copy with another value of one attribute."""
    other = copy(env)
    setattr(other, name, value)
    return other


@contextmanager
def silent_babyai() -> Iterator[None]:
    """BabyAI, which prints each level that it rejects, does not; one thread at a time."""
    with BABYAI_IS_SILENT:
        names = vars(roomgrid_level)
        before = {name: names[name] for name in ("print",) if name in names}
        names["print"] = lambda *said, **how: None
        try:
            yield
        finally:
            del names["print"]
            names |= before


def plays_like_minigrid(env: MiniGridEnv, family: Family) -> bool:
    """Whether the installed minigrid draws the levels that the compiled generator draws, pays what it pays, and plays like it: a few
    levels and steps are compared.

    MiniGrid goes first: settings of which it cannot make levels are not for the compiled generator, which checks nothing.
    """
    stock = [copy(env) for _ in range(COMPARED)]  # so that `env` keeps its own generator
    try:
        with silent_babyai():
            for seed, core in enumerate(stock):
                core.reset(seed=seed)
    except Exception:  # whatever the reason why MiniGrid has no such level
        return False
    batch = CompiledMiniGrid(env, family, COMPARED)
    try:
        batch.reset(seed=0)
        ours = batch.get_state()
        for seed, core in enumerate(stock):
            batch.set_env(seed, core)
        theirs = batch.get_state()
        alike = all(np.array_equal(ours[name], theirs[name]) for name in ("grid", "agent", "marks", "rng"))
        return alike and all(map(_pays_as_known, stock)) and _steps_alike(batch, stock)
    except Exception:  # an object or an instruction that is not compiled, a name that a later MiniGrid has not
        return False


def _pays_as_known(core: MiniGridEnv) -> bool:
    """Is success worth 1 − 0.9 t / T at step t, of an environment that has made no step yet?"""
    core.step_count = 1
    try:
        return core._reward() == 1 - 0.9 * (1 / core.max_steps)
    finally:
        core.step_count = 0


def _steps_alike(batch: CompiledMiniGrid, stock: list[MiniGridEnv]) -> bool:
    """Do the batch and MiniGrid's environments, in the same levels, see and pay the same along some random steps, until each ends?"""
    rng, playing = np.random.default_rng(0), set(range(len(stock)))
    for _ in range(COMPARED_STEPS):
        actions = rng.integers(len(stock[0].actions), size=len(stock))
        seen, *outcome, infos = batch.step(actions)
        for i in sorted(playing):
            theirs, *its_outcome, _ = stock[i].step(int(actions[i]))
            if [x[i] for x in outcome] != its_outcome:
                return False
            ended = its_outcome[1] or its_outcome[2]
            mine = infos["final_obs"][i] if ended else {name: part[i] for name, part in seen.items()}
            if not all(np.array_equal(mine[name], theirs[name]) for name in theirs):
                return False
            playing -= {i} if ended else set()
    return True
