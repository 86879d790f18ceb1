"""Any MiniGrid environment in batches: MiniGrid's own levels and rules, compiled observations.

Nineteen twentieths of a MiniGrid step go into its observation. Here `gen_obs` of each environment only notes what the
agent looks at, as words (`minigrid.engine.codes`), and the images of the whole batch are then written by one compiled call.
Everything else is MiniGrid's code, so that any registered id and any subclass of `MiniGridEnv` behaves as it always
did, seed for seed.
"""

from __future__ import annotations

import pickle
from array import array
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from operator import itemgetter
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, TimeLimit
from minigrid.core.constants import COLOR_NAMES, COLOR_TO_IDX, OBJECT_TO_IDX
from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball, Box, Door, Floor, Goal, Key, Lava, Wall
from minigrid.minigrid_env import MiniGridEnv

from optioncoagent_envs.backends.batch import UNKNOWN, MiniGridBatch, Observations, require_level
from optioncoagent_envs.minigrid.engine.codes import word_of
from optioncoagent_envs.minigrid.engine.observe import observe_views, observe_whole, view_offsets

# These never change their looks during an episode of minigrid's own environments; doors do.
CONSTANT = frozenset((Wall, Floor, Goal, Lava, Key, Ball, Box))
EMPTY_WORD = word_of(None)
DOOR_WORDS = {
    (color, is_open, is_locked): word_of(Door(color, is_open, is_locked))
    for color in COLOR_NAMES
    for is_open in (False, True)
    for is_locked in (False, True)
}
PLAIN_WORDS: dict[tuple[type, str], int] = {}  # of the others, as they are met
RECORDED = {"core", "elapsed", "level"}  # in every state, also those of before
OWN = ("gen_obs", "window", "clock", "render_mode")  # of an environment in this batch, no part of its state


class Words(dict):
    """object -> word; remembered only for the classes whose looks never change."""

    def __init__(self, constant: frozenset[type]):
        super().__init__({None: EMPTY_WORD})
        self.constant = constant

    def __missing__(self, obj: Any) -> int:
        if type(obj) is Door:
            return DOOR_WORDS[obj.color, obj.is_open, obj.is_locked]
        if type(obj) not in CONSTANT:
            return word_of(obj)
        looks = type(obj), obj.color
        word = PLAIN_WORDS.get(looks)
        if word is None:
            word = PLAIN_WORDS[looks] = word_of(obj)
        if type(obj) in self.constant:
            self[obj] = word
        return word


class View(dict):
    """An observation not yet written: whoever reads or changes it gets MiniGrid's, everyone else passes it on.

    words: array("I") of the cells seen that lie inside the grid; pose: 4 * (y * width + x) + direction; carried: the
    word of what the agent carries; written: whether it was read.
    """

    __slots__ = ("lens", "words", "pose", "carried", "mission", "written")

    def __init__(self, lens: Lens, words: array, pose: int, carried: int, mission: str):
        self.lens, self.words, self.pose, self.carried, self.mission = lens, words, pose, carried, mission
        self.written = False

    def write(self) -> View:
        if not self.written:
            self.written = True
            dict.update(self, image=self.lens.images([self])[0], direction=self.pose % 4, mission=self.mission)
        return self

    def __reduce__(self) -> tuple[type[dict], tuple[dict]]:
        """Copies and pickles are MiniGrid's observations."""
        return dict, (dict(self.items()),)


def _written_first(name: str) -> Callable[..., Any]:
    method = getattr(dict, name)
    return lambda self, *args, **kwargs: method(self.write(), *args, **kwargs)


for _name in (
    "__getitem__ __setitem__ __delitem__ __contains__ __iter__ __len__ __reversed__ __eq__ __ne__ __or__ __ror__"
    " __ior__ __repr__ get keys values items copy pop popitem setdefault update clear"
).split():
    setattr(View, _name, _written_first(_name))


class Lens:
    """What the views of a batch have in common: how the cells are picked, and how the images are written.

    width, height: of the grid; size: of the view; whole: the full grid (FullyObsWrapper) instead of the view.
    """

    def __init__(self, width: int, height: int, size: int, see_through: bool, whole: bool):
        self.width, self.height, self.size, self.see_through, self.whole = width, height, size, see_through, whole
        self.expects = width, height, see_through
        self.offsets = view_offsets(size)
        self.shape = (width, height, 3) if whole else (size, size, 3)
        self.pickers: dict[int, Callable[[list], Iterable]] = {}

    def picker(self, pose: int) -> Callable[[list], Iterable]:
        """What picks the cells seen that lie inside the grid, in the view's order (`minigrid.engine.observe`)."""
        if self.whole:
            pick: Callable[[list], Iterable] = iter
        else:
            y, x = divmod(pose // 4, self.width)
            cx, cy = (np.array([x, y]) + self.offsets[pose % 4]).T
            inside = (cx >= 0) & (cx < self.width) & (cy >= 0) & (cy < self.height)
            pick = itemgetter(*(cy * self.width + cx)[inside].tolist())
        self.pickers[pose] = pick
        return pick

    def images(self, views: Sequence[View]) -> np.ndarray:
        """The views written out: (n, *shape) uint8."""
        n = len(views)
        words = np.frombuffer(b"".join([view.words for view in views]), np.uint32)
        poses = np.array([view.pose for view in views])
        carried = np.array([view.carried for view in views], np.uint32)
        images = np.empty((n, self.shape[0] * self.shape[1] * 3), np.uint8)
        if self.whole:
            observe_whole(words, poses, self.width, self.height, images)
        else:
            size, see_through = self.size, self.see_through
            shape = self.width, self.height
            observe_views(words, poses, carried, shape, size, see_through, self.offsets, images)
        return images.reshape(n, *self.shape)


def has_own_rules(env: MiniGridEnv) -> bool:
    """Is its class none of MiniGrid's?"""
    return not type(env).__module__.startswith("minigrid.")


class Eye:
    """Takes the place of one environment's `gen_obs`: notes the view instead of writing it."""

    def __init__(self, env: MiniGridEnv, lens: Lens):
        self.env, self.lens, self.width = env, lens, lens.width
        self.constant: frozenset[type] = frozenset() if has_own_rules(env) else CONSTANT
        self.forget()

    def forget(self) -> None:
        """Called at each reset, so that the memory holds one level's objects."""
        self.word = Words(self.constant).__getitem__

    def __call__(self) -> dict:
        env = self.env
        grid = env.grid
        lens = self.lens
        if type(grid) is not Grid or (grid.width, grid.height, env.see_through_walls) != lens.expects:
            return self.ask_grid()
        x, y = env.agent_pos
        pose = 4 * (int(y) * self.width + int(x)) + int(env.agent_dir)  # NumPy's integers are slow to reckon with
        pick = lens.pickers.get(pose) or lens.picker(pose)
        word = self.word
        return View(lens, array("I", map(word, pick(grid.grid))), pose, word(env.carrying), env.mission)

    def ask_grid(self) -> dict:
        """The observation of a grid that is not what the lens expects; it may encode itself in another way."""
        env = self.env
        if self.lens.whole:
            image = env.grid.encode()
            image[env.agent_pos[0], env.agent_pos[1]] = OBJECT_TO_IDX["agent"], COLOR_TO_IDX["red"], env.agent_dir
        else:
            grid, visible = env.gen_obs_grid(self.lens.size)
            image = grid.encode(visible)
        return {"image": image, "direction": env.agent_dir, "mission": env.mission}


class StockMiniGrid(MiniGridBatch):
    """Environments of MiniGrid's own classes, or of classes derived from them, stepped one by one.

    envs: one `gym.make` environment each, wrapped in nothing but Gymnasium's order check and time limit. stacks_infos: are their
    infos told, as Gymnasium stacks them, which fails where they are of different shapes?
    """

    backend = "stock"
    stacks_infos = True

    def __init__(self, envs: list[gym.Env], view: str, view_size: int | None, seed: int | None):
        super().__init__(envs[0], len(envs), view, view_size, seed)
        self.envs = envs
        self.cores = [cast(MiniGridEnv, env.unwrapped) for env in envs]
        core = self.cores[0]
        self.own_rules = has_own_rules(core)
        grid, usual = (core.width, core.height), view != "full" and self.view_size == core.agent_view_size
        own = Lens(*grid, core.agent_view_size, core.see_through_walls, False)
        self._lens = own if usual else Lens(*grid, self.view_size, core.see_through_walls, view == "full")
        self._eyes = [Eye(core, own) for core in self.cores]
        for core, eye in zip(self.cores, self._eyes, strict=True):
            core.gen_obs = eye  # type: ignore[method-assign]
        # other views are of what is there once a call has returned, as MiniGrid's wrappers make them
        self._others = [] if usual else [Eye(core, self._lens) for core in self.cores]
        self._streams: list[Any] = [None for _ in envs]  # where the generators stood when their levels had been drawn
        # Gymnasium's order check costs time and could not fail below this class's own
        self._steppers = envs if limits_of(envs[0]) else self.cores
        self._views: list[dict] = [{} for _ in envs]

    def reset(self, *, seed=None, options=None):
        rows = np.flatnonzero(self._reset_mask(options))
        seeds = self._seeds(seed)
        if options is not None:
            options = {name: value for name, value in options.items() if name != "reset_mask"}
        infos: dict[str, Any] = {}
        for i in rows.tolist():
            self._views[i], info = self._reset_one(i, seed=seeds[i], options=options)
            if seeds[i] is not None or self._level_seeds[i] not in (UNKNOWN, self.cores[i].np_random_seed):
                self._level_seeds[i], self._level_counts[i] = int(self.cores[i].np_random_seed), 0
            infos = self._add_info(infos, info, i)
        self._started = True
        return self._observations(self._views), infos

    def _reset_one(self, index: int, **kwargs: Any) -> tuple[dict, dict]:
        self._forget(index)
        core = self.cores[index]
        self._level_counts[index] += 1
        stood = self._streams[index]  # of some generators an array is part of it
        if stood is not None and pickle.dumps(stood) != pickle.dumps(core.np_random.bit_generator.state):
            self._level_seeds[index] = UNKNOWN
        if kwargs.get("seed") is not None:
            self._level_seeds[index], self._level_counts[index] = kwargs["seed"], 0
        try:
            view, info = self._steppers[index].reset(**kwargs)
        except Exception as error:
            self._name(error, "reset", index)
            raise
        self._streams[index] = core.np_random.bit_generator.state
        return self._seen(index, view), info if self.stacks_infos else {}

    def _forget(self, index: int) -> None:
        for eyes in (self._eyes, self._others):
            if eyes:
                eyes[index].forget()

    def _seen(self, index: int, view: dict) -> dict:
        """What the batch shows where an environment has shown `view`."""
        if not self._others:
            return view
        other = self._others[index]()
        if type(view) is View is type(other) and not view.written and view.pose % 4 == other.pose % 4:
            other.mission = view.mission
            return other
        return {**view, "image": self._lens.images([other])[0] if type(other) is View else other["image"]}

    def _name(self, error: Exception, call: str, index: int) -> None:
        """Note which environment of somebody's own raised it, and where it was."""
        seed, count = self._level_seeds[index], self._level_counts[index]
        level = "a level that has no name (`level_names`)" if seed == UNKNOWN else f"the level after seed {seed} and {count} more resets"
        error.add_note(f"raised by {call} of environment {index}, in {level}")

    def step(self, actions):
        """Gymnasium's, with SAME_STEP autoreset: an episode that ends begins anew in the same step, whose observation is the next one's
        first; the one on which it ended is in info["final_obs"], where info["_final_obs"] says so."""
        actions = self._checked(actions).tolist()
        rewards, terminated, truncated = [], [], []
        notes: list[tuple[dict, int]] = []  # what each environment has to say, in Gymnasium's order
        finals: list[dict] = []
        views = self._views
        for i, (stepper, action) in enumerate(zip(self._steppers, actions, strict=True)):
            try:
                views[i], reward, ended, cut, info = stepper.step(action)
            except Exception as error:
                self._name(error, "step", i)
                raise
            info = info if self.stacks_infos else {}
            views[i] = self._seen(i, views[i])
            rewards.append(reward)
            terminated.append(ended)
            truncated.append(cut)
            if ended or cut:
                finals.append({"final_obs": views[i], "final_info": info})
                notes.append((finals[-1], i))
                views[i], info = self._reset_one(i)
            if info:
                notes.append((info, i))
        if finals:
            self._write_finals(finals)
        infos: dict[str, Any] = {}
        for note, i in notes:
            infos = self._add_info(infos, note, i)
        ends = np.array(terminated, bool), np.array(truncated, bool)
        return self._observations(views), np.array(rewards, np.float64), *ends, infos

    def observations(self) -> Observations:
        self._require_reset()
        self._views = [self._seen(i, core.gen_obs()) for i, core in enumerate(self.cores)]
        return self._observations(self._views)

    def _observations(self, views: Sequence[dict]) -> Observations:
        unread = [type(view) is View and not view.written for view in views]  # of what was read its class may have made something else
        missions = tuple([view.mission if new else view["mission"] for view, new in zip(views, unread, strict=True)])  # type: ignore[attr-defined]
        directions = [view.pose % 4 if new else view["direction"] for view, new in zip(views, unread, strict=True)]  # type: ignore[attr-defined]
        return {"image": self._images(views), "direction": np.array(directions, np.int64), "mission": missions}

    def _images(self, views: Sequence[dict]) -> np.ndarray:
        if all([type(view) is View and not view.written for view in views]):
            return self._lens.images(views)  # type: ignore[arg-type]
        return np.stack([view["image"] for view in views])

    def _write_finals(self, finals: list[dict]) -> None:
        """Writes the last observations of all episodes that ended in this step together."""
        views = [final["final_obs"] for final in finals]
        for final, view, image in zip(finals, views, self._images(views), strict=True):
            if type(view) is View and not view.written:
                final["final_obs"] = {"image": image, "direction": view.pose % 4, "mission": view.mission}

    def minigrid_env(self, index: int) -> MiniGridEnv:
        """The environment itself, not a copy. Its objects may be changed now, so that they are asked each time what they look like,
        and a step takes up to twice as long."""
        for eyes in (self._eyes, self._others):
            if eyes:
                eyes[index].constant = frozenset()
        self._forget(index)
        return self.cores[index]

    def render_one(self, index: int) -> Any:
        self._require_reset()
        return self.cores[index].render()

    def get_state(self) -> list[dict[str, Any]]:
        """One record for each environment: a copy of its attributes, the steps its time limit counted, its level, and what it is of."""
        self._require_reset()
        elapsed = [tuple(limit._elapsed_steps for limit in limits_of(env)) for env in self.envs]
        attributes = [_copied(vars(core), core, core) for core in self.cores]
        records = zip(attributes, elapsed, self.level_names, self._streams, strict=True)
        return [{"core": mine, "elapsed": n, "level": level, "stream": stream, "of": self._of} for mine, n, level, stream in records]

    def set_state(self, state: list[dict[str, Any]]) -> None:
        """Goes back to a state of a batch of the same size; ValueError if it is of another, of environments of another class or size, or
        none at all. Settings are attributes, which come with the state."""
        if not (isinstance(state, list | tuple) and all(isinstance(one, dict) and RECORDED <= one.keys() for one in state)):
            raise ValueError(f"a state is records of {', '.join(sorted(RECORDED))}: give what get_state returned")
        if len(state) != self.num_envs:
            raise ValueError(f"the state is of {len(state)} environments, and this batch has {self.num_envs}")
        if others := {one.get("of", self._of) for one in state} - {self._of}:
            raise ValueError(f"the state is of {' and '.join(sorted(others))}, and this batch is of {self._of}")
        counts = [_counts(one["elapsed"]) for one in state]
        for count, env in zip(counts, self.envs, strict=True):
            if len(count) != len(limits_of(env)):
                raise ValueError(f"the state is of environments with {len(count)} time limits, and this batch has {len(limits_of(env))}")
        self._started = True
        for index, (env, core, mine) in enumerate(zip(self.envs, self.cores, state, strict=True)):
            self._take(index, mine["core"], core)
            self._level_seeds[index], self._level_counts[index] = mine["level"]
            self._streams[index] = mine.get("stream")
            _go_on(env, counts[index])

    def set_env(self, index: int, env: gym.Env) -> None:
        core = env.unwrapped
        if type(core) is not type(self.cores[index]):
            raise ValueError(f"{core} is not of the class of {self.cores[index]}")
        if (core.width, core.height) != (self.cores[index].width, self.cores[index].height):
            raise ValueError(f"{core} is not of the size of {self.cores[index]}: make both alike")
        require_level(core)
        self._take(index, vars(core), core)
        self._level_seeds[index], self._level_counts[index] = UNKNOWN, 0
        mine, theirs = limits_of(self.envs[index]), limits_of(env)
        steps = self.cores[index].step_count
        _go_on(self.envs[index], tuple(limit._elapsed_steps for limit in theirs) if len(theirs) == len(mine) else (steps,) * len(mine))

    def _take(self, index: int, attributes: dict[str, Any], owner: gym.Env) -> None:
        core = self.cores[index]
        taken = _copied(attributes, owner, core)
        for name in [name for name in vars(core) if name not in taken and name not in OWN]:
            delattr(core, name)
        vars(core).update(taken)
        self._forget(index)

    def close_extras(self, **kwargs: Any) -> None:
        for env in self.envs:
            env.close()


def limits_of(env: gym.Env) -> list[TimeLimit]:
    """Gymnasium's time limits around an environment, the outermost first."""
    found = []
    while isinstance(env, gym.Wrapper):
        if isinstance(env, TimeLimit):
            found.append(env)
        env = env.env
    return found


def _counts(elapsed: Any) -> tuple[Any, ...]:
    """The steps of each time limit in a record; of one limit or none, as records had them before."""
    return elapsed if isinstance(elapsed, tuple) else () if elapsed is None else (elapsed,)


def _go_on(env: gym.Env, counts: Sequence[Any]) -> None:
    """Let Gymnasium's wrappers around an environment go on in the middle of an episode, time limits at these steps."""
    for limit, count in zip(limits_of(env), counts, strict=True):
        limit._elapsed_steps = count
    while isinstance(env, gym.Wrapper):
        if isinstance(env, OrderEnforcing):
            env._has_reset = True
        env = env.env


def _copied(attributes: dict[str, Any], owner: gym.Env, heir: gym.Env) -> dict[str, Any]:
    """A deep copy of an environment's attributes, in which whatever knew the environment `owner` knows `heir`."""
    return deepcopy({name: value for name, value in attributes.items() if name not in OWN}, {id(owner): heir})
