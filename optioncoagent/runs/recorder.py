"""A callback that keeps what a training does in a folder."""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from optioncoagent.agents import files
from optioncoagent.network.aspects import aspects
from optioncoagent.runs import checkpoints
from optioncoagent.runs.folder import CONFIG, NAME, is_recorded, locked, read_config, versions
from optioncoagent.runs.rows import Ends, Rows

FULL = (errno.ENOSPC, errno.EDQUOT)  # of OSErrors


class Recorder:
    """Rows to metrics.csv and TensorBoard after every update, a checkpoint every so many seconds and at the end of the block.

        with Recorder("runs/mine") as record:
            agent.learn(200_000, callback=record)

    The agent's class loads it from the folder; all commands that look at runs take it (those that load an agent with --network where the
    network is one's own). ends: where the files of a run that goes on stood (see
    `Rows`); without it the folder may hold no rows yet. lock: keep other trainings out of the folder (OSError if one is in it); False for
    one who holds `folder.locked` already. name: what `plot` and `report` call its setting, all seeds of it alike. To go on in the same
    folder:

        agent, record, _ = runs.checkpoints.newest(Path("runs/mine"), OptionCritic.load)
        with Recorder("runs/mine", ends=record.ends) as record: …

    (in place of OptionCritic.load, with a network of one's own, lambda path: CoagentActorCritic.load(path, network); `newest` is None where
    a run was killed before its first checkpoint: begin again with ends={}). ValueError where a checkpoint is there that was written later
    than what `ends` is of: its rows would be cut off.

    A block that ends with an exception, in which an update may be half done, writes no further checkpoint. Raises OSError that says what to
    do when the disk is full.
    """

    def __init__(
        self,
        folder: str | Path,
        checkpoint_seconds: float = 60.0,
        ends: Ends | None = None,
        lock: bool = True,
        name: str | None = None,
    ):
        self.folder, self.name = Path(folder), name
        self.checkpoint_seconds = checkpoint_seconds
        with ExitStack() as held:
            if lock:
                self.folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(self.folder, "trains there, or the with block of a Recorder here has not ended"))
            if ends is not None:
                checkpoints.refuse_newer(self.folder, ends)
            elif old := files.checkpoints(self.folder):
                raise FileExistsError(f"{old[0]} exists, and a run is never overwritten: choose another folder, or go on from there")
            self.rows = Rows(self.folder, ends)
            (self.folder / files.CHECKPOINTS).mkdir(exist_ok=True)  # which says that this is a run
            self.held = held.pop_all()
        self.begins = not ends
        self.written_at = time.monotonic()
        self.unwritten: tuple[Any, Mapping[str, float]] | None = None

    def __call__(self, agent: Any, row: Mapping[str, float]) -> None:
        if self.rows.metrics.file.closed:
            raise ValueError(f"the with block of this Recorder has ended: open another one, with ends=, to go on in {self.folder}")
        try:
            if self.begins:
                self._describe(agent)
            self.rows(row)
            self.unwritten = agent, row
            if time.monotonic() - self.written_at >= self.checkpoint_seconds:
                self.checkpoint()
        except OSError as error:
            self.unwritten = None
            if error.errno in FULL:
                raise _disk_is_full(error, self.folder) from error
            raise

    def _describe(self, agent: Any) -> None:
        """Write config.json, in place of that of a training from Python that came to nothing here; any other stays."""
        path, self.begins = self.folder / CONFIG, False
        if path.exists():
            try:
                if not is_recorded(read_config(self.folder)):
                    return
            except ValueError:  # another program's
                return
        files.write_file(path, files.seal(_config(agent, self.name)))

    def checkpoint(self) -> None:
        """Write a checkpoint now, unless the last one is of this step."""
        if self.unwritten is not None:
            checkpoints.write(self.folder, *self.unwritten, self.rows.ends())
            self.unwritten, self.written_at = None, time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        try:
            if kind is None:
                self.checkpoint()
        except OSError as error:
            if error.errno in FULL:
                raise _disk_is_full(error, self.folder) from error
            raise
        finally:
            self.rows.close()
            self.held.close()


def _config(agent: Any, name: str | None) -> dict[str, Any]:
    """What config.json says of a training from Python: of an `OptionCritic` on an id what `train` says there, so that both are seeds of
    one setting."""
    from optioncoagent.agents import CoagentActorCritic, OptionCritic
    from optioncoagent.agents.encoder import Encoder

    interface, described = agent.interface, dict(agent.description)
    command = {"env_id": interface.env_id or _of_an_object(agent.env), "env_kwargs": interface.env_kwargs}
    if "num_options" in described:
        options = described.pop("num_options")
        command["num_options"] = [int(n) for n in np.ravel(options)]
        command["deliberation_cost"] = float(described.pop("deliberation_cost"))
        first, initial = described.pop("first"), described.pop("initial")
        command |= described | ({} if first == "select" else {"first": first})
        command |= {} if initial is None else {"initial": _plain(initial)}
    else:
        command |= described | aspects(agent.network) | {"forms": agent.forms}
    if not isinstance(agent.module.encoder, Encoder):
        command["encoder"] = " ".join(str(agent.module.encoder).split())
    if name is not None:
        command[NAME] = name
    if agent.begun_with is not None:
        command["load"] = agent.begun_with
    if type(agent) not in (CoagentActorCritic, OptionCritic):
        command["agent"] = type(agent).__qualname__
    settings = agent.settings if interface.env_id is None else agent.given
    return {"command": command | {"settings": asdict(settings)}, "recorded": True, "versions": versions(), "began": time.time()}


def _plain(initial: Any) -> Any:
    """A law, or one for each level, as JSON has it."""
    if isinstance(initial, list | tuple | np.ndarray):
        return [_plain(x) for x in initial]
    return None if initial is None else float(initial)


def _of_an_object(env: Any) -> str:
    """The name of what was given as an environment object: its id, or else its class."""
    from optioncoagent.agents.environments import layers

    inside = [layer for layer in layers(env) if not isinstance(layer, gym.Wrapper | VectorEnv)]
    one = inside[0] if inside else env
    return f"{one.spec.id if one.spec is not None else type(one).__name__}, an object"


def _disk_is_full(error: OSError, folder: Path) -> OSError:
    """What to do about a disk that takes no more."""
    return OSError(f"the disk is full ({error}); what was written to {folder} before is whole: free some space, then resume from there")
