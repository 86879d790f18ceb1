"""The command line: optioncoagent train | evaluate | audit | gradients | reproduce."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import gymnasium as gym
import tyro

from optioncoagent.agents.settings import EVALUATION_SEED, Settings
from optioncoagent.auditing.command import Audit
from optioncoagent.experiments.gradients_command import Gradients
from optioncoagent.experiments.reproduce import Reproduce

if TYPE_CHECKING:
    from optioncoagent.agents.evaluation import Evaluation


@dataclass(frozen=True)
class Train:
    """Train option-critic on a Gymnasium or MiniGrid environment, and evaluate it.

    Writes a run folder with config.json, metrics.csv, TensorBoard events and the agent. Ctrl-C stops early and keeps what was learned.
    """

    env_id: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="ENV_ID")]
    """Environment, for example MiniGrid-DoorKey-5x5-v0."""
    total_timesteps: int = 200_000
    """Environment steps to train for (whole rollouts, at least this many)."""
    num_options: tuple[int, ...] = (4,)
    """Number of options; several numbers make a hierarchy, top level first."""
    gradient_form: Literal["q_beta", "advantage", "score"] = "q_beta"
    """Form of the termination gradient."""
    deliberation_cost: float = 0.0
    """Charged whenever an option is chosen, except at the first step."""
    run_dir: Path | None = None
    """Folder of the run; it must not exist. By default a new one under runs/."""
    eval_episodes: int = 100
    """Episodes of the final evaluation."""
    profile: bool = False
    """Print where the time went."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = Settings()

    def run(self) -> None:
        for name in ("total_timesteps", "eval_episodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: it must be at least 1")
        self.settings.check()
        _train(self)


@dataclass(frozen=True)
class Evaluate:
    """Run episodes of a trained agent and print their mean return and length.

    Ctrl-C stops early and prints those of the episodes that have finished; the exit status is 130 if none has.
    """

    run_dir: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN_DIR")]
    """Folder of a run."""
    num_episodes: int = 100
    """Episodes to run."""
    deterministic: bool = False
    """Take the most probable output of every policy; such an agent can loop for ever where the observation does not change."""
    seed: int = EVALUATION_SEED
    """Seed of the episodes."""

    def run(self) -> None:
        _evaluate(self)


def _train(command: Train) -> None:
    from optioncoagent import records
    from optioncoagent.agents import OptionCritic

    wait = " (MiniGrid's compiled parts take some seconds the first time)" if "MiniGrid-" in command.env_id else ""
    print(f"making {command.env_id}{wait}", flush=True)
    with deferred_interrupt() as stop_if_asked:
        agent = OptionCritic(
            command.env_id,
            num_options=command.num_options,
            gradient_form=command.gradient_form,
            deliberation_cost=command.deliberation_cost,
            **asdict(command.settings),
        )
        stop_if_asked()
    default = f"{command.env_id.replace('/', '-').replace(':', '-')}-seed{command.settings.seed}"
    folder = records.new_folder(command.run_dir, default)
    records.write_json(folder / "config.json", {"command": asdict(command), "versions": records.versions()})
    backend = getattr(agent.env, "backend", type(agent.env).__name__)
    print(
        f"training {agent.network} on {command.env_id}\n{agent.settings.num_envs} environments ({backend}); run folder {folder}", flush=True
    )

    writer = records.MetricsWriter(folder)
    seconds = dict.fromkeys(("environment", "acting", "learning"), 0.0)
    saved = time.monotonic()

    def log(row: dict[str, float]) -> None:
        nonlocal saved
        writer(row)
        for part in seconds:
            seconds[part] += row[f"seconds_{part}"]
        if time.monotonic() - saved > 60:
            agent.save(folder, overwrite=True)
            saved = time.monotonic()
        stop_if_asked()

    try:
        with deferred_interrupt() as stop_if_asked:
            agent.learn(command.total_timesteps, progress_bar=True, log=log)
    except KeyboardInterrupt:
        print(f"\nstopped after {agent.num_timesteps:,} steps; the agent is kept in {folder}\nsee it with: optioncoagent evaluate {folder}")
        return
    finally:
        agent.save(folder, overwrite=True)
        writer.close()
        if command.profile:
            total = sum(seconds.values()) or 1.0
            print("time: " + ", ".join(f"{part} {s:.1f} s ({s / total:.0%})" for part, s in seconds.items()))
    result = _evaluate(Evaluate(folder, command.eval_episodes))
    records.write_json(folder / "evaluation.json", vars(result))


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], None]]:
    """Ctrl-C takes effect where the yielded function is called, so that nothing is left half done; a second one at once."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def stop_if_asked() -> None:
        if asked:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop_if_asked
    finally:
        signal.signal(signal.SIGINT, before)


def _evaluate(command: Evaluate) -> Evaluation:
    from optioncoagent.agents import OptionCritic
    from optioncoagent.agents.evaluation import Evaluation, run_episodes

    agent = OptionCritic.load(command.run_dir)
    episodes: list[tuple[float, int]] = []
    try:
        for episode in run_episodes(agent, command.num_episodes, command.seed, command.deterministic):
            episodes.append(episode)
    except KeyboardInterrupt:
        if not episodes:
            raise
        print(f"\nstopped after {len(episodes)} of {command.num_episodes} episodes; short ones are the first to finish")
    result = Evaluation.of(episodes)
    print(result)
    return result


def main() -> None:
    """Entry point. Bad input, of any command, ends with one line that says what to change, and exit status 2; Ctrl-C with 130 where a
    command has no better end for it.
    """
    try:
        command = tyro.extras.subcommand_cli_from_dict(
            {"train": Train, "evaluate": Evaluate, "audit": Audit, "gradients": Gradients, "reproduce": Reproduce},
            prog="optioncoagent",
            description="Option-critic as an asynchronous coagent network.",
        )
        command.run()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except (ValueError, TypeError, OSError, ImportError, gym.error.Error) as error:
        print(f"optioncoagent: error: {error}", file=sys.stderr)
        sys.exit(2)
