"""The command `optioncoagent maps`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from optioncoagent import flags
from optioncoagent.imports import import_named
from optioncoagent.maps import MAX_STATES
from optioncoagent.outputs import PICTURES, check_file, whole


@dataclass(frozen=True)
class Maps:
    """Draw what the options of a trained agent do, over the floor plan of a level: MiniGrid, four rooms, gridworld.

    Of a network of your own, what the outputs of its coagents do, but those of actions and of terminations.
    """

    run_dir: flags.RunDir
    """Folder of a run."""
    out: Path
    """Picture to write: FILE.png, .pdf, .svg."""
    level: int = 0
    """Seed of the MiniGrid level."""
    max_states: int = MAX_STATES
    """A MiniGrid level with more states is refused; a thousand of them take a second or two to find."""
    module: flags.Modules = ()
    network: flags.Network = None

    def run(self) -> None:
        import_named(self.module)
        from optioncoagent.agents.loading import load_agent
        from optioncoagent.maps import option_maps

        check_file("out", self.out, PICTURES)
        figure = option_maps(load_agent(self.run_dir, self.network), self.level, self.max_states)
        with whole(self.out) as file:
            figure.savefig(file, dpi=130)
        print(self.out)
