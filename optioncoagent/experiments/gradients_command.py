"""`optioncoagent gradients`: every gradient form of option-critic, flat or with levels, against the exact gradient, on one finite MDP."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from optioncoagent.outputs import PICTURES, check_file, whole

if TYPE_CHECKING:
    from optioncoagent.exact import Comparison
    from optioncoagent.mdp import MDP

GRIDWORLD = "optioncoagent_envs:OptionCoagent/Gridworld-v0"
NUM_POINTS = 50  # comparisons along an ascent, for the picture


@dataclass(frozen=True)
class Gradients:
    """Compare every gradient form of option-critic with the exact gradient, by linear algebra, on one finite environment.

    Cosine, ratio of norms, share of signs that agree and largest difference, for random parameters or after some exact-gradient steps.
    """

    env_id: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[ENV_ID]")] = GRIDWORLD
    """OptionCoagent/FourRooms-v0, a toy_text id such as FrozenLake-v1, or a MiniGrid id whose level can be enumerated."""
    num_options: int | tuple[int, ...] = 4
    """Number of options, at least 2: with one, nothing depends on terminations and their gradient is zero. Several numbers: those of the
    levels of a hierarchy, top level first; its forms are those of any network, coagent by coagent."""
    gamma: float = 0.99
    """Discount."""
    first: Literal["select", "terminate"] = "select"
    """Is the first option selected, or does the termination decide at the first step too?"""
    deliberation_cost: float = 0.0
    """Charged whenever an option is chosen, except at the first step."""
    seed: int = 0
    """Seed of the random parameters."""
    scale: float = 1.0
    """Logits are drawn normal(0, scale)."""
    steps: int = 0
    """Exact-gradient steps to take before comparing."""
    step_size: float = 0.05
    """Root-mean-square change of a logit in the first of these steps; later ones are no longer than that."""
    level_seed: int = 0
    """MiniGrid: seed of the level."""
    horizon: bool = False
    """MiniGrid: unroll the time up to max_steps, with the reward that falls with it."""
    view: Literal["state", "egocentric"] = "state"
    """MiniGrid: do policies see the state, or what the agent sees?"""
    format: Literal["text", "csv", "json"] | None = None
    """How the table is written; by default as the name of the file in --out says, else text."""
    out: Path | None = None
    """File for the table; by default it is printed."""
    plot: Path | None = None
    """File for a picture of the table (.png, .pdf or .svg)."""

    def check(self) -> None:
        """Raise ValueError or FileNotFoundError that names a value out of range, or a file that cannot be written."""
        most_options = self.num_options if isinstance(self.num_options, int) else max(self.num_options, default=0)
        if most_options < 2 or (isinstance(self.num_options, tuple) and min(self.num_options) < 1):
            raise ValueError(f"num_options={self.num_options}: it must be at least 2 (of a hierarchy, on one level)")
        for name in ("steps", "seed", "level_seed", "scale"):
            if not (getattr(self, name) >= 0 and isfinite(getattr(self, name))):
                raise ValueError(f"{name}={getattr(self, name)}: it must be at least 0, and finite")
        if not (self.step_size > 0 and isfinite(self.step_size)):
            raise ValueError(f"step_size={self.step_size}: it must be greater than 0, and finite")
        if not 0 <= self.gamma <= 1:
            raise ValueError(f"gamma={self.gamma}: it must be in [0, 1]")
        check_file("out", self.out)
        check_file("plot", self.plot, PICTURES)

    def run(self) -> None:
        main(self)


def _format(command: Gradients) -> str:
    suffix = command.out.suffix[1:] if command.out is not None else ""
    return command.format or (suffix if suffix in ("csv", "json") else "text")


def main(command: Gradients) -> None:
    """Write the table, and the picture if one is asked for.

    Raises as `Gradients.check` does, and ValueError for an environment that cannot be enumerated.
    """
    command.check()
    from optioncoagent.exact import compare_gradients, expected_return
    from optioncoagent.experiments.ascent import ascent_path, gradient_along, of_length
    from optioncoagent.gallery import option_critic

    mdp = make_mdp(command)
    same: dict[str, Any] = {"first": command.first, "deliberation_cost": command.deliberation_cost}
    network = option_critic(command.num_options, mdp.num_actions, **same)
    levels = isinstance(command.num_options, tuple)
    compared: dict[str, Any] = {"network": network} if levels else same
    start = network.init_params(mdp.num_observations, command.seed, command.scale)
    every = max(1, command.steps // NUM_POINTS)

    along: list[tuple[int, list[Comparison]]] = []
    for step, params in enumerate(ascent_path(start, gradient_along(mdp, network), of_length(command.step_size), command.steps)):  # noqa: B007
        if step == command.steps or (command.plot is not None and step % every == 0):
            along.append((step, compare_gradients(mdp, params, **compared)))
    rows = along[-1][1]
    options = " x ".join(str(n) for n in command.num_options) if isinstance(command.num_options, tuple) else str(command.num_options)
    heading = f"{command.env_id}, {mdp}, {options} options, J = {expected_return(mdp, network, params):.6g}"
    heading += f" after {command.steps} exact-gradient steps" if command.steps else ""
    text = {"text": lambda: as_text(heading, rows), "csv": lambda: as_csv(rows), "json": lambda: as_json(rows)}[_format(command)]()
    if command.out is None:
        print(text, end="")
    else:
        with whole(command.out) as file:
            file.write_text(text, encoding="utf-8")
        print(f"wrote {command.out}")
    if command.plot is not None:
        from optioncoagent.experiments.gradients_picture import picture

        with whole(command.plot) as file:
            picture(heading, along).savefig(file)
        print(f"wrote {command.plot}", file=sys.stderr)


def make_mdp(command: Gradients) -> MDP:
    """The environment as an MDP. Raises ValueError, naming it, if it is unknown or cannot be enumerated."""
    import gymnasium as gym
    import minigrid  # noqa: F401  (registers the ids)
    from minigrid.minigrid_env import MiniGridEnv

    import optioncoagent_envs  # noqa: F401  (registers the ids)
    from optioncoagent.mdp import MDP

    try:
        made = gym.make(command.env_id, disable_env_checker=True)
    except (gym.error.Error, ImportError) as error:
        raise ValueError(f"env_id={command.env_id}: {error}") from error
    env = made.unwrapped
    if isinstance(env, MiniGridEnv):
        return MDP.from_minigrid(command.env_id, command.gamma, command.level_seed, command.horizon, command.view, progress_bar=True)
    for name in ("level_seed", "horizon", "view"):
        if getattr(command, name) != getattr(Gradients, name):
            raise ValueError(f"{name}={getattr(command, name)} is for MiniGrid levels, and {command.env_id} is not one")
    return MDP.from_env(made, command.gamma)


def as_text(heading: str, rows: Sequence[Comparison]) -> str:
    """A table to read, and below it what each form computes."""
    from optioncoagent.exact import FORMS, NETWORK_FORMS, Form, NetworkForm

    width = max(len("gradient of"), *(len(r.coagent) for r in rows)) + 1
    lines = [
        f"{'gradient of':<{width}} {'form':<20} {'cosine':>8} {'norm ratio':>11} {'signs agree':>12} {'largest difference':>19}  exact"
    ]
    for r in rows:
        measured = f"{r.cosine:8.4f} {r.norm_ratio:11.5g} {r.sign_agreement:12.1%} {r.max_abs_difference:19.2e}"
        lines.append(f"{r.coagent:<{width}} {r.form:<20} {measured}  {'yes' if r.exact else 'no'}")
    records: dict[str, Form | NetworkForm] = {**NETWORK_FORMS} if "marginal" in {r.form for r in rows} else {**FORMS}
    known = [records[name] for name in dict.fromkeys(r.form for r in rows) if name in records]
    meanings = [f"{form.name}: {form.computes}" + ("" if form.exact else f" Exact: {_lower(form.exact_when)}") for form in known]
    return "\n".join([heading, "", *lines, "", *meanings]) + "\n"


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def as_csv(rows: Sequence[Comparison]) -> str:
    """One line a form, columns as in `Comparison`."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(rows[0]._fields)
    writer.writerows(rows)
    return file.getvalue()


def as_json(rows: Sequence[Comparison]) -> str:
    """A list of objects, keys as in `Comparison`; what is not defined is null."""
    objects = [{key: None if isinstance(value, float) and isnan(value) else value for key, value in r._asdict().items()} for r in rows]
    return json.dumps(objects, indent=2) + "\n"
