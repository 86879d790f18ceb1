"""A run from its settings into its folder, and one that goes on from its newest intact checkpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optioncoagent import imports
from optioncoagent.agents import files
from optioncoagent.agents.files import digest
from optioncoagent.agents.settings import EVALUATION_SEED, EVALUATION_STEPS, OLD_DEFAULTS, Settings, make_settings
from optioncoagent.runs import checkpoints, folder
from optioncoagent.runs.callbacks import Callback, Track, import_wandb
from optioncoagent.runs.interrupt import deferred_interrupt
from optioncoagent.runs.recorder import Recorder
from optioncoagent.runs.rows import Ends
from optioncoagent.runs.specification import file_name

if TYPE_CHECKING:
    from optioncoagent.agents import OptionCritic
    from optioncoagent.agents.evaluation import Evaluation


@dataclass(frozen=True)
class Run:
    """What decides a run: what is trained, on what, for how long."""

    env_id: str
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    total_timesteps: int = 200_000
    num_options: tuple[int, ...] = (4,)
    gradient_form: str = "q_beta"
    deliberation_cost: float = 0.0
    eval_episodes: int = 100
    checkpoint_seconds: float = 60.0
    track: bool = False
    wandb_project_name: str = "optioncoagent"
    load: str | None = None
    settings: Settings = Settings()

    def check(self) -> None:
        """Raise ValueError that names the field if a value is out of range."""
        for name in ("total_timesteps", "eval_episodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: it must be at least 1")
        if not self.checkpoint_seconds >= 0:
            raise ValueError(f"checkpoint_seconds={self.checkpoint_seconds}: it must be at least 0")
        self.settings.check()
        from optioncoagent.gallery import option_critic

        network = option_critic(self.num_options, 2, deliberation_cost=self.deliberation_cost)
        named = (*self.settings.ent_coefs, *self.settings.frozen)
        actions = [name for name in named if name.startswith("action_")]  # which there are the environment says
        self.settings.check_coagents([*network.names, *actions])

    @property
    def name(self) -> str:
        """Of its folder, by default."""
        return f"{file_name(self.env_id)}-seed{self.settings.seed}"

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Run:
        """Raises ValueError or TypeError for what is no run's."""
        unknown = set(content) - {known.name for known in fields(cls)}
        if unknown or "env_id" not in content:
            raise ValueError(f"it holds no run of this version (unknown: {', '.join(sorted(unknown)) or 'nothing'})")
        settings = make_settings({**OLD_DEFAULTS, **content["settings"]})
        run = cls(**{**content, "num_options": tuple(content["num_options"]), "settings": settings})
        run.check()
        return run


def start(run: Run, path: str | Path | None = None, profile: bool = False) -> bool:
    """Train and evaluate in a new folder, by default one under runs/; False if Ctrl-C stopped it.

    Raises ValueError and the like for what cannot be trained before there is a folder, FileExistsError if it exists.
    """
    run.check()
    if run.track:
        import_wandb()
    agent = _new_agent(run)
    path = folder.new_folder(
        None if path is None else Path(path), run.name, {"command": asdict(run), "versions": folder.versions(), "began": time.time()}
    )
    with folder.locked(path):
        return _train(run, agent, path, None, profile)


def resume(path: str | Path, profile: bool = False) -> bool:
    """Go on with the run in a folder, with its own settings, from its newest intact checkpoint; from its start if it has none yet.

    On MiniGrid's compiled backend the run ends with the same weights and rows as if it had never stopped. False if Ctrl-C stopped it.
    Raises OSError if another process trains there, ValueError naming the file for a folder that is damaged beyond that.
    """
    from optioncoagent.agents import OptionCritic

    path = Path(path)
    run = read_run(path)
    imports.import_own(run.env_id, path)
    with folder.locked(path):
        found = checkpoints.newest(path, OptionCritic.load)
        if found is None:
            if (path / files.AGENT).exists():
                raise ValueError(f"{path} was made by version 0.1.0: load its agent in Python, and call learn")
            print(f"{path} has no checkpoint yet: the run starts over")
            return _train(run, _new_agent(run), path, {}, profile)
        agent, record, refused = found
        checkpoints.tidy(path)
        for reason in refused:
            print(f"refused: {reason}")
        if record.timesteps >= run.total_timesteps and (path / folder.EVALUATION).exists():
            folder.read_evaluation(path)
            print(f"{path} has finished, after {record.timesteps:,} steps")
            return True
        print(f"{path} goes on from step {record.timesteps:,}")
        return _train(run, agent, path, record.ends, profile)


def read_run(path: Path) -> Run:
    """The settings of the run in a folder. Raises FileNotFoundError if it is no run's, ValueError if config.json is damaged."""
    config = folder.read_config(path)
    if folder.is_recorded(config):
        raise ValueError(f"{path} is a training from Python: go on with it there, as the docstring of optioncoagent.runs.Recorder says")
    try:
        return Run.from_json(config.get("command", {}))
    except (KeyError, TypeError, ValueError) as error:
        if str(path / folder.CONFIG) in str(error):
            raise
        raise ValueError(f"{path / folder.CONFIG} is damaged, or of another version ({error})") from error


def evaluate(
    agent: Any, num_episodes: int, seed: int = EVALUATION_SEED, deterministic: bool = False, max_steps: int = EVALUATION_STEPS
) -> Evaluation:
    """Run episodes, with a progress bar where they take longer; Ctrl-C stops early, and is raised again if none has finished."""
    from tqdm import tqdm

    from optioncoagent.agents.evaluation import Episode, Evaluation, run_episodes

    episodes: list[Episode] = []
    try:
        with tqdm(desc="evaluation", total=num_episodes, unit="episode", leave=False, delay=2) as bar:
            for episode in run_episodes(agent, num_episodes, seed, deterministic, max_steps=max_steps):
                episodes.append(episode)
                bar.update()
    except KeyboardInterrupt:
        if not episodes:
            raise
        print(f"\nstopped after {len(episodes)} of {num_episodes} episodes; short ones are the first to finish")
    return Evaluation.of(episodes)


def make_agent(run: Run) -> OptionCritic:
    """The agent of a run, as it begins. Raises ValueError and the like for what cannot be made, or loaded."""
    from optioncoagent.agents import OptionCritic

    imports.allow_working_directory()
    options: Any = {name: getattr(run, name) for name in ("env_kwargs", "num_options", "gradient_form", "deliberation_cost")}
    agent = OptionCritic(run.env_id, **options, **asdict(run.settings))
    return agent if run.load is None else agent.begin_with(run.load)


def _new_agent(run: Run) -> OptionCritic:
    from optioncoagent.agents.environments import names_minigrid

    wait = " (MiniGrid's compiled parts take some seconds the first time)" if names_minigrid(run.env_id) else ""
    print(f"making {run.env_id}{wait}", flush=True)
    with deferred_interrupt() as asked:
        agent = make_agent(run)
        if asked():
            raise KeyboardInterrupt
    return agent


@contextmanager
def _tracked(run: Run, path: Path) -> Iterator[Callback]:
    """Log to Weights & Biases if the run is tracked, as one run there, however often it goes on."""
    if not run.track:
        yield lambda agent, row: None
        return
    one = digest((path / folder.CONFIG).read_bytes())[:16]
    name = "/".join(path.parts[-3:]) if path.name.isdigit() else path.name  # of a sweep: task, setting and seed
    names = {"project": run.wandb_project_name, "name": name, "id": one, "resume": "allow", "dir": str(path)}
    with Track(**names, config=asdict(run)) as track:
        yield track


def _train(run: Run, agent: OptionCritic, path: Path, ends: Ends | None, profile: bool) -> bool:
    """Train what is left, and evaluate; False if Ctrl-C stopped it."""
    _announce(run, agent, path)
    seconds = dict.fromkeys(("environment", "acting", "learning"), 0.0)
    try:
        with (
            deferred_interrupt() as asked,
            Recorder(path, run.checkpoint_seconds, ends, lock=False) as record,
            _tracked(run, path) as track,
        ):

            def after_update(agent: Any, row: Mapping[str, float]) -> bool:
                record(agent, row)
                track(agent, row)
                for part in seconds:
                    seconds[part] += row[f"seconds_{part}"]
                return not asked()

            left = run.total_timesteps - agent.num_timesteps
            if left > 0:
                agent.learn(left, progress_bar=True, callback=after_update)
    except KeyboardInterrupt:
        print(f"\nstopped in mid-update; the last checkpoint is kept in {path}\ngo on with: optioncoagent train --resume {path}")
        return False
    except OSError:
        raise
    except Exception as error:
        again = f"the same settings again: optioncoagent train --resume {path}; others need another folder"
        error.add_note(f"the last checkpoint is kept in {path}" if files.checkpoints(path) else f"there is no checkpoint yet; {again}")
        raise
    finally:
        if profile:
            total = sum(seconds.values()) or 1.0
            print("time: " + ", ".join(f"{part} {s:.1f} s ({s / total:.0%})" for part, s in seconds.items()))
    if asked() or agent.num_timesteps < run.total_timesteps:
        print(
            f"\nstopped after {agent.num_timesteps:,} steps; the agent is kept in {path}\nsee it with: optioncoagent evaluate {path}\n"
            f"go on with: optioncoagent train --resume {path}"
        )
        return False
    return _evaluated(run, agent, path)


def _announce(run: Run, agent: OptionCritic, path: Path) -> None:
    backend = getattr(agent.env, "backend", type(agent.env).__name__)
    print(f"training {agent.network} on {run.env_id}\n{agent.num_envs} environments ({backend}); run folder {path}", flush=True)
    print(agent.spec, flush=True)
    if agent.settings.int_coef:
        chosen = agent.settings
        of = f"{chosen.int_counts}s, {chosen.count_form}"
        print(f"exploration bonus for {of}: int_coef={chosen.int_coef:g}, {chosen.int_returns} returns", flush=True)
    if 0 < agent.num_timesteps < run.total_timesteps and backend != "compiled":
        print(f"the state of {run.env_id} cannot be kept: its episodes start anew")


def _evaluated(run: Run, agent: OptionCritic, path: Path) -> bool:
    """The final evaluation, into the run's folder if all of it could be run."""
    result = evaluate(agent, run.eval_episodes)
    whole = len(result.returns) == run.eval_episodes
    if whole:
        folder.write_json(path / folder.EVALUATION, vars(result))
    print(result)
    if not whole:
        print(f"evaluate it in full with: optioncoagent train --resume {path}")
    return whole
