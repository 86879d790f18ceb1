"""Agents of run folders for the command line, with the code that they need beside them: `imports` says what may be imported."""

from __future__ import annotations

from pathlib import Path

from optioncoagent import imports
from optioncoagent.agents import checkpoint
from optioncoagent.agents.files import CHECKPOINTS, CONFIG
from optioncoagent.agents.learner import CoagentActorCritic
from optioncoagent.agents.options import OptionCritic


def load_agent(folder: str | Path, network: str | None = None) -> CoagentActorCritic:
    """The agent of a run, or of one of its checkpoints; the module of its environment is imported if it is the user's own.

    network: MODULE:NAME of the description that a `CoagentActorCritic` was made with, a CoagentNetwork or a function that returns one;
    None for an `OptionCritic`. Raises ValueError where it is missing, not what the agent was made with, or given for an `OptionCritic`;
    ImportError where there is no such name.
    """
    folder = Path(folder)
    agent: CoagentActorCritic
    if network is None:
        agent = OptionCritic.load(folder)
    elif "num_options" in checkpoint.read(folder).description:
        raise ValueError(f"{folder} holds an OptionCritic, which describes its own network: leave out network={network} (--network)")
    else:
        agent = CoagentActorCritic.load(folder, imports.named(network))
    home, run = folder.absolute().parent, folder.absolute().parent.parent
    of_a_run = home.name == CHECKPOINTS and (run / CONFIG).exists()
    imports.import_own(agent.interface.env_id, run if of_a_run else folder)
    return agent
