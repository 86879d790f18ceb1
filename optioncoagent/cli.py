"""The command line: optioncoagent train | evaluate | plot | watch | sweep | maps | report | audit | gradients | reproduce."""

from __future__ import annotations

import io
import os
import shutil
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium as gym
import tyro

from optioncoagent import __version__, flags, imports
from optioncoagent.agents.settings import EVALUATION_SEED, EVALUATION_STEPS, GradientForm, Settings
from optioncoagent.auditing.command import Audit
from optioncoagent.experiments.gradients_command import Gradients
from optioncoagent.experiments.reproduce import Reproduce
from optioncoagent.maps.command import Maps
from optioncoagent.outputs import PICTURES, check_file, whole
from optioncoagent.report import Report
from optioncoagent.runs import training
from optioncoagent.runs.folder import check_new
from optioncoagent.runs.interrupt import terminate_like_interrupt
from optioncoagent.runs.training import Run

STOPPED = 130  # exit status of what Ctrl-C, or SIGTERM, has stopped
NARROW = 20  # columns of a terminal, at least


@dataclass(frozen=True)
class Train:
    """Train option-critic on Gymnasium or MiniGrid environments, and evaluate it.

    Writes a run folder with config.json, metrics.csv, TensorBoard events and checkpoints of the agent. Ctrl-C (or SIGTERM) stops early and
    keeps what was learned, with exit status 130; with --resume a run that was stopped, or killed, goes on.
    """

    env_id: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="ENV_ID …", help_behavior_hint="(or --resume)")] = ()
    """Environment, for example MiniGrid-DoorKey-5x5-v0; several are trained on one after the other, each in a run of its own."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN_DIR")] = None
    """Go on with this run, with its own settings, from its newest intact checkpoint."""
    seeds: tuple[int, ...] = ()
    """Several seeds, a run for each."""
    total_timesteps: int = 200_000
    """Environment steps to train for (whole rollouts, at least this many)."""
    env_kwargs: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE …")] = ()
    """What the environment is made with, for example view=full size=7; kept with the agent. Values are JSON, or Python's True, False and
    None, or else text."""
    num_options: tuple[int, ...] = (4,)
    """Number of options; several numbers make a hierarchy, top level first."""
    gradient_form: GradientForm = "q_beta"
    """Form of the termination gradient."""
    deliberation_cost: float = 0.0
    """Charged whenever an option is chosen, except at the first step."""
    load: Annotated[str | None, tyro.conf.arg(metavar="RUN_DIR")] = None
    """Begin with what the agent of this run has learned, on another task perhaps; --frozen keeps parts of it as they are."""
    run_dir: Path | None = None
    """Folder of the run; it must not exist. By default a new one under runs/. With several runs, the folder in which each gets its own."""
    eval_episodes: int = 100
    """Episodes of the final evaluation."""
    checkpoint_seconds: float = 60.0
    """Seconds between two checkpoints (0: after every update); the last three and the best are kept."""
    track: bool = False
    """Log to Weights & Biases too (pip install "optioncoagent[track]")."""
    wandb_project_name: str = "optioncoagent"
    """Its project there."""
    module: flags.Modules = ()
    profile: bool = False
    """Print where the time went."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = Settings()

    def check(self) -> None:
        """Raise ValueError that names the field if a value is out of range."""
        for run in _runs(self):
            run.check()

    def run(self) -> None:
        imports.import_named(self.module)
        if self.resume is not None:
            if self.env_id:
                raise ValueError(f"--resume goes on with the run's own environment: leave out {' '.join(self.env_id)}")
            if not training.resume(self.resume, self.profile):
                sys.exit(STOPPED)
            return
        if not self.env_id:
            raise ValueError("give an ENV_ID to train on, or --resume RUN_DIR")
        from optioncoagent.agents.environments import make_vector_env

        runs = _runs(self)
        paths = [self.run_dir / run.name if self.run_dir is not None and len(runs) > 1 else self.run_dir for run in runs]
        if len({run.name for run in runs}) < len(runs):
            raise ValueError("an environment or a seed is named twice: give each once")
        for run, path in zip(runs, paths, strict=True):
            run.check()
            if len(runs) > 1:
                # what cannot be made, or loaded, is said before the first run starts
                make_vector_env(run.env_id, 1, run.settings.seed, run.env_kwargs).close()
                if run.load is not None:
                    training.make_agent(run).env.close()
            if path is not None:
                check_new(path)
        for number, (run, path) in enumerate(zip(runs, paths, strict=True), start=1):
            if not training.start(run, path, self.profile):
                if left := [run.name for run in runs[number:]]:
                    print(f"not begun: {', '.join(left)}")
                sys.exit(STOPPED)


@dataclass(frozen=True)
class Evaluate:
    """Run episodes of trained agents and print their mean return and length.

    Ctrl-C stops early and prints those of the episodes that have finished; the exit status is 130 if none has.
    """

    run_dir: flags.RunDirs
    """Folders of runs."""
    num_episodes: int = 100
    """Episodes to run."""
    deterministic: bool = False
    """Take the most probable output of every policy; such an agent can loop for ever where the observation does not change."""
    seed: int = EVALUATION_SEED
    """Seed of the episodes."""
    module: flags.Modules = ()
    network: flags.Network = None
    max_steps: int = EVALUATION_STEPS
    """An episode that has not ended by then is cut, and counted as such."""

    def run(self) -> None:
        from optioncoagent.agents.loading import load_agent

        if not self.run_dir:
            raise ValueError("give a RUN_DIR")
        imports.import_named(self.module)
        # what cannot be read is said before the first is evaluated
        agents = {path: load_agent(path, self.network) for path in self.run_dir}
        for path, agent in agents.items():
            if len(agents) > 1:
                print(path)
            print(result := training.evaluate(agent, self.num_episodes, self.seed, self.deterministic, self.max_steps))
            if len(result.returns) < self.num_episodes:  # Ctrl-C
                break


@dataclass(frozen=True)
class Plot:
    """Draw what runs went through: returns, option lengths, terminations, usage of options.

    Runs of the same task and settings, but for their seed, make one curve, with its 95 % bootstrap interval; of fewer than four, and after
    the first of them has ended, each run is drawn.
    """

    run_dir: flags.RunDirs
    """Folders of runs, or folders with runs in them, as a sweep's."""
    out: Path = Path("runs.png")
    """Picture to write; the extension (.png, .pdf, .svg) sets the format."""

    def run(self) -> None:
        from optioncoagent.runs import curves

        check_file("out", self.out, PICTURES)
        figure = curves.plot(curves.read_curves(self.run_dir))
        with whole(self.out) as file:
            figure.savefig(file)
        print(self.out)


@dataclass(frozen=True)
class Watch:
    """Film episodes of a trained agent: pictures tinted by the running option, below them the options and when they end.

    Of a network of your own, the outputs of its other coagents but the actions are shown, too, if they are finitely many.
    """

    run_dir: flags.RunDir
    """Folder of a run."""
    out: Path | None = None
    """Film to write: .gif, or .mp4 where ffmpeg is installed; by default RUN_DIR/film.gif, which `report` shows."""
    num_episodes: int = 3
    """Episodes to film."""
    deterministic: bool = False
    """Take the most probable output of every policy."""
    max_steps: int = 300
    """Longer episodes are cut."""
    fps: int = 8
    """Steps in a second; a GIF has at most 50, each rounded to hundredths of a second."""
    seed: int = EVALUATION_SEED
    """Seed of the episodes."""
    module: flags.Modules = ()
    network: flags.Network = None

    def run(self) -> None:
        from optioncoagent.agents.loading import load_agent
        from optioncoagent.runs.film import check_film, film, play

        for name in ("num_episodes", "max_steps", "fps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: it must be at least 1")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed}: it must be at least 0")
        out = self.out or self.run_dir / "film.gif"
        check_film(out, self.fps)
        imports.import_named(self.module)
        agent = load_agent(self.run_dir, self.network)
        check_file("out", out)
        episodes = list(play(agent, self.num_episodes, self.seed, self.deterministic, self.max_steps))
        film(episodes, out, self.fps, progress_bar=True)
        print(
            f"{out}: " + ", ".join(f"return {e.episode_return:.2f} in {len(e.steps)} steps{'' if e.ended else ' (cut)'}" for e in episodes)
        )


@dataclass(frozen=True)
class Sweep:
    """Train tasks × settings × seeds, as a file says, on this machine's cores or a Ray cluster, and gather one table.

    Each trial is an ordinary run folder; one that fails goes on from its checkpoint. Ctrl-C keeps what is there, and the same command again
    runs what is missing. The file has tasks = [ids], seeds = 5, flags of `optioncoagent train` with underscores (total_timesteps =
    200_000), and a table [settings.NAME] of such flags for each setting; optioncoagent.runs.specification has an example in its docstring.
    """

    spec: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SPEC.toml")]
    """Tasks, settings and seeds, in TOML."""
    folder: Path | None = None
    """Where to write; by default runs/SPEC."""
    workers: int = os.cpu_count() or 1
    """Trials at a time; on an existing cluster its cores decide."""
    backend: Literal["auto", "ray", "pool"] = "auto"
    """Ray, or a pool of processes; by default Ray if it is installed."""
    address: str | None = None
    """An existing Ray cluster, whose machines share the folder; by default one on this machine's cores."""
    retries: int = 2
    """How often a trial that fails is tried again."""

    def run(self) -> None:
        if self.workers < 1 or self.retries < 0:
            raise ValueError(f"workers={self.workers}, retries={self.retries}: at least 1 worker and 0 retries")
        _sweep(self)


def _sweep(command: Sweep) -> None:
    from optioncoagent.runs import sweep
    from optioncoagent.runs.specification import read_specification

    imports.allow_working_directory()
    specification = read_specification(command.spec, Train)
    folder = command.folder or Path("runs") / command.spec.stem
    try:
        failed = sweep.run_sweep(specification, folder, command.workers, command.backend, command.address, command.retries)
    except KeyboardInterrupt:
        print(f"stopped; the trials are kept in {folder}, and the same command goes on from there", file=sys.stderr)
        raise SystemExit(STOPPED) from None
    print(sweep.gather(specification, folder))
    print(f"{folder / 'results.csv'}; a row for each trial in {folder / 'trials.csv'}")
    for name, reason in failed.items():
        print(f"{name} failed {command.retries + 1} times; {reason}", file=sys.stderr)
    if failed:
        raise SystemExit(1)


def _runs(command: Train) -> list[Run]:
    """One run for each environment and seed."""
    shared = {field.name: getattr(command, field.name) for field in fields(Run) if field.name not in ("env_id", "env_kwargs", "settings")}
    shared["env_kwargs"] = flags.env_kwargs(command.env_kwargs)
    shared["load"] = None if command.load is None else str(Path(command.load).resolve())  # wherever it is gone on with
    if command.settings.frozen and command.load is None:
        raise ValueError(f"frozen={command.settings.frozen}: it keeps what has been learned: give --load RUN_DIR, whose agent has")
    seeds = command.seeds or (command.settings.seed,)
    return [Run(env_id, **shared, settings=replace(command.settings, seed=seed)) for env_id in command.env_id for seed in seeds]


COMMANDS: dict[str, Any] = {
    "train": Train,
    "evaluate": Evaluate,
    "plot": Plot,
    "watch": Watch,
    "sweep": Sweep,
    "maps": Maps,
    "report": Report,
    "audit": Audit,
    "gradients": Gradients,
    "reproduce": Reproduce,
}


def _parsed(words: list[str]) -> Any:
    """The command with its flags; what is wrong with them, and where to read of them, is printed."""
    if words[:1] == ["--version"]:
        print(f"optioncoagent {__version__}")
        sys.exit(0)
    if words[:1] == ["train"]:
        flags.check_words(words)
    if words and words[0] in COMMANDS:  # by itself, so that the hint is at its own --help
        return tyro.cli(COMMANDS[words[0]], args=words[1:], prog=f"optioncoagent {words[0]}")
    description = "Option-critic as an asynchronous coagent network. `optioncoagent --version` prints the version."
    return tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="optioncoagent", description=description)


def main() -> None:
    """Entry point. Bad input, of any command, ends with one line that says what to change, and exit status 2; what an environment raises
    in the middle of it with where it was raised, and 1; Ctrl-C with 130 where a command has no better end for it.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may have no ±
    if shutil.get_terminal_size().columns < NARROW:  # the help would be laid out for ever
        os.environ["COLUMNS"] = str(NARROW)
    try:
        with terminate_like_interrupt():
            _parsed(sys.argv[1:]).run()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(STOPPED)
    except BrokenPipeError:  # who reads has enough, as head has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (ValueError, TypeError, OSError, ImportError, gym.error.Error) as error:
        notes = getattr(error, "__notes__", [])
        if any(note.startswith(imports.RAISED_BY) for note in notes) and not isinstance(error, gym.error.Error):
            raise
        if isinstance(error, gym.error.UnregisteredEnv):
            notes = [*notes, "an id that a module of your own registers is given as MODULE:ID"]
        print("; ".join([f"optioncoagent: error: {error}", *notes]), file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
