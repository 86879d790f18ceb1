"""`optioncoagent report`: what runs were, did and came to, as one HTML page that needs nothing else.

Pictures are in the page itself (data URIs), so that it can be sent, kept and read without a network. Beside `maps`, above `runs`.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from optioncoagent import flags
from optioncoagent.imports import import_named
from optioncoagent.outputs import check_file, whole
from optioncoagent.runs.folder import EVALUATION, differing, distinct, is_recorded, read_command, read_config, read_evaluation, settings_of
from optioncoagent.runs.rows import read_training

FILMS = {".gif": "image/gif", ".webp": "image/webp", ".mp4": "video/mp4"}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 1200px; margin: 2em auto; padding: 0 1em; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2em; border-bottom: 1px solid #ccc; } img, video { max-width: 100%; height: auto; }
table { border-collapse: collapse; } th, td { padding: .25em .8em; text-align: left; border-bottom: 1px solid #ddd; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; } p.note { color: #666; } pre, .wide { overflow-x: auto; }
"""


@dataclass(frozen=True)
class Report:
    """Write one page of everything about some runs: configuration, curves, options, maps, films, evaluation.

    It needs no network and no other file. A film is whatever .gif, .webp or .mp4 lies in a run's folder.
    """

    run_dir: flags.RunDirs
    """Folders of runs, or folders with runs in them, as a sweep's."""
    out: Path = Path("report.html")
    """Page to write."""
    level: int = 0
    """Seed of the MiniGrid level of the maps."""
    module: flags.Modules = ()

    def run(self) -> None:
        import_named(self.module)
        if self.level < 0:
            raise ValueError(f"level={self.level}: the seed of a level is at least 0")
        check_file("out", self.out)
        text = report(self.run_dir, self.level)
        with whole(self.out) as file:
            file.write_text(text, encoding="utf-8")
        print(self.out)


@dataclass(frozen=True)
class Summary:
    """What is said of a run: its folder, its config.json, its task and seed, its settings (`folder.settings_of`), its last row, its final
    evaluation (if it has one)."""

    folder: Path
    config: Mapping[str, Any]
    task: str
    seed: int | None
    settings: Mapping[str, Any]
    last: Mapping[str, float]
    evaluation: tuple[np.ndarray, np.ndarray] | None


def report(folders: Iterable[str | Path], level: int = 0) -> str:
    """The page, as HTML, each run once. Raises FileNotFoundError or ValueError naming what is missing or damaged."""
    runs = [summarise(folder) for folder in distinct(folders)]
    by_task: dict[str, list[Summary]] = {}
    for run in runs:
        by_task.setdefault(run.task, []).append(run)
    sections = {task: _task(part, level) for task, part in by_task.items()}
    title = "Runs on " + ", ".join(by_task)
    return page(title, sections | {"Configuration": "".join(_configuration(run) for run in runs)})


def page(title: str, sections: Mapping[str, str]) -> str:
    """An HTML page with headings."""
    body = "\n".join(f"<h2>{escape(heading)}</h2>\n{content}" for heading, content in sections.items())
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body></html>\n'


def _task(runs: Sequence[Summary], level: int) -> str:
    from optioncoagent.runs import curves

    learning = _picture(curves.plot(curves.read_curves(run.folder for run in runs)), "learning curves")
    maps = "\n".join(_maps(run, runs, level) for run in first_of_each(runs) if "network" not in run.settings)  # of OptionCritics
    films = "\n".join(_films(run) for run in runs)
    return f"{runs_table(runs)}\n{options_table(runs)}\n<h3>Learning</h3>\n{learning}\n{maps}\n{films}"


def summarise(folder: Path) -> Summary:
    """Read a run folder. Raises FileNotFoundError or ValueError naming the file."""
    config, command = read_config(folder), read_command(folder)
    last = {name: float(values[-1]) for name, values in read_training(folder).items()}
    evaluation = read_evaluation(folder) if (folder / EVALUATION).exists() else None
    seed = command.get("settings", {}).get("seed")
    return Summary(folder, config, command["env_id"], seed, settings_of(command), last, evaluation)


def first_of_each(runs: Sequence[Summary]) -> list[Summary]:
    """The first run of each setting."""
    names = differing([run.settings for run in runs])
    firsts: dict[str, Summary] = {}
    for run in runs:
        firsts.setdefault(json.dumps([run.settings.get(name) for name in names]), run)
    return list(firsts.values())


def runs_table(runs: Sequence[Summary]) -> str:
    """A row for each run: where it is, what sets it apart, how far it came, what its final evaluation was."""
    names = differing([run.settings for run in runs])
    numbers = ("seed", "steps", "return, last 100", "return, final evaluation", "its episode length")
    head = "".join(f"<th>{escape(name)}</th>" for name in ("folder", *names))
    lines = ["<tr>" + head + "".join(f'<th class="number">{name}</th>' for name in numbers) + "</tr>"]
    for run in runs:
        words = [str(run.folder), *(_plain(run.settings.get(name)) for name in names)]
        figures = [
            "" if run.seed is None else str(run.seed),
            f"{run.last['timesteps']:,.0f}",
            "no episode has ended" if np.isnan(run.last["return_mean"]) else f"{run.last['return_mean']:.3f}",
            *_evaluation(run),
        ]
        cells = "".join(f"<td>{escape(word)}</td>" for word in words) + "".join(f'<td class="number">{figure}</td>' for figure in figures)
        lines.append(f"<tr>{cells}</tr>")
    note = "Returns are means: over the last 100 episodes of training, and over the final evaluation, with standard error and (episodes)."
    return f'<div class="wide"><table>{"".join(lines)}</table></div>\n<p class="note">{note}</p>'


FIGURES = r"option(_\d+)?/(length|run_length|usage_entropy)|action(_\d+)?/(information|divergence)|termination(_\d+)?/sure_[01]"


def options_table(runs: Sequence[Summary]) -> str:
    """A row for each run: what its options were like in the last update; nothing where no run has such columns."""
    names = list(dict.fromkeys(name for run in runs for name in run.last if re.fullmatch(FIGURES, name)))
    if not names:
        return ""
    lines = ["<tr><th>folder</th>" + "".join(f'<th class="number">{escape(name)}</th>' for name in names) + "</tr>"]
    for run in runs:
        figures = (f"{run.last[name]:.3g}" if name in run.last else "" for name in names)
        lines.append(f"<tr><td>{escape(str(run.folder))}</td>" + "".join(f'<td class="number">{x}</td>' for x in figures) + "</tr>")
    note = (
        "Options in the last update: steps from one choice to the next (length), and until another option is in force (run_length); "
        "entropy of how often each was in force, in nats; what the option tells of the action given the observation and the option before "
        "(information), and with options as often as they come (divergence), in nats; share of terminations with a probability above 0.95 "
        "(sure_0) and below 0.05 (sure_1)."
    )
    return f'<div class="wide"><table>{"".join(lines)}</table></div>\n<p class="note">{note}</p>'


def _evaluation(run: Summary) -> list[str]:
    if run.evaluation is None:
        return ["none" if is_recorded(run.config) else "not finished", ""]
    from optioncoagent.runs.statistics import standard_error

    returns, lengths = run.evaluation
    error = f" ± {standard_error(returns):.3f}" if returns.size > 1 else ""
    return [f"{returns.mean():.3f}{error} ({returns.size})", f"{lengths.mean():.1f}"]


def _maps(run: Summary, runs: Sequence[Summary], level: int) -> str:
    from optioncoagent.agents.loading import load_agent
    from optioncoagent.maps import option_maps

    setting = ", ".join(f"{name} = {_plain(run.settings.get(name))}" for name in differing([run.settings for run in runs]))
    heading = f"<h3>Options{escape(f' with {setting}' if setting else '')}, seed {run.seed}</h3>"
    try:
        return f"{heading}\n{_picture(option_maps(load_agent(run.folder), level), 'maps of options')}"
    except Exception as error:  # whatever its environment lacks or does, the page has the rest
        return f'{heading}\n<p class="note">No maps: {escape(str(error))}.</p>'


def _films(run: Summary) -> str:
    parts = []
    for path in sorted(run.folder.iterdir()):
        if (kind := path.suffix.lower()) in FILMS and path.stat().st_size:
            source = _data_uri(path.read_bytes(), FILMS[kind])
            shown = f'<video controls src="{source}"></video>' if kind == ".mp4" else f'<img src="{source}" alt="film of episodes">'
            parts.append(f"<h3>Film {escape(str(path))}</h3>\n{shown}")
    return "\n".join(parts)


def _configuration(run: Summary) -> str:
    text = escape(json.dumps(run.config, indent=2))
    return f"<details><summary>{escape(str(run.folder / 'config.json'))}</summary><pre>{text}</pre></details>\n"


def _picture(figure: Any, description: str) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return f'<img src="{_data_uri(file.getvalue(), "image/png")}" alt="{escape(description)}">'


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
