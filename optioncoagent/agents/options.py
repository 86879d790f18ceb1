"""OptionCritic: the learner with option-critic's network, defaults and vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from torch import nn

from optioncoagent.agents import checkpoint
from optioncoagent.agents.learner import CoagentActorCritic, Row
from optioncoagent.agents.settings import GradientForm
from optioncoagent.gallery import TERMINATE, option_critic
from optioncoagent.network import CoagentNetwork, Gaussian

FORM_OF: dict[str, str] = {"q_beta": "expected", "advantage": "difference", "score": "score"}


class OptionCritic(CoagentActorCritic):
    """Option-critic on a Gymnasium environment.

    env: an environment id (MiniGrid's among them), made with env_kwargs, an Env or a VectorEnv; a MultiDiscrete action space has a
    coagent "action_0", "action_1", … for each component, all of which read the option, and a Box one coagent "action" with a `Gaussian`,
    of which each option has a mean and a scale. num_options: how many options, or a tuple of them, top level first. gradient_form: of the
    terminations: "q_beta" (ACN, E.2), "advantage" (OC, Theorem 2; the same gradient) or "score" (sampled). deliberation_cost, first,
    initial: see `optioncoagent.option_critic`. settings: the fields of `Settings`.
    """

    def __init__(
        self,
        env: Any,
        num_options: int | tuple[int, ...] = 4,
        gradient_form: GradientForm = "q_beta",
        deliberation_cost: float = 0.0,
        first: Literal["select", "terminate"] = "select",
        initial: Any = None,
        *,
        encoder: nn.Module | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        **settings: Any,
    ):
        if gradient_form not in FORM_OF:
            raise ValueError(f"gradient_form={gradient_form!r}: choose one of {tuple(FORM_OF)}")

        hierarchy = option_critic(num_options, 2, first, deliberation_cost, initial)

        def network(num_actions: int | tuple[int, ...] | Gaussian) -> CoagentNetwork:
            if not isinstance(num_actions, tuple):
                return option_critic(num_options, num_actions, first, deliberation_cost, initial)
            *others, action = hierarchy.coagents
            actions = [replace(action, name=f"action_{i}", num_outputs=n) for i, n in enumerate(num_actions)]
            return CoagentNetwork([*others, *actions], action=[one.name for one in actions])

        forms = dict.fromkeys([name for name in hierarchy.names if name.startswith("termination")], FORM_OF[gradient_form])
        super().__init__(env, network, encoder=encoder, forms=forms, summary=option_metrics, env_kwargs=env_kwargs, **settings)
        self.description = {
            "num_options": num_options,
            "gradient_form": gradient_form,
            "deliberation_cost": deliberation_cost,
            "first": first,
            "initial": initial,
        }

    def begin_with(self, path: str | Path) -> Self:
        """See `CoagentActorCritic.begin_with`. ValueError for an agent with other options, too."""
        theirs: Any = checkpoint.read(Path(path)).description.get("num_options")
        ours = self.description["num_options"]
        if theirs is not None and np.ravel(ours).tolist() != np.ravel(theirs).tolist():
            raise ValueError(f"{path} holds an agent with num_options={theirs}, and this one has {ours}: give the same")
        return super().begin_with(path)

    @classmethod
    def load(  # type: ignore[override]
        cls, path: str | Path, env: Any = None, encoder: nn.Module | None = None, **settings: Any
    ) -> OptionCritic:
        """The agent saved in a folder, ready to act; settings given here, gradient_form and the like among them, replace its own.

        An encoder of one's own is code, so it is given again; loading never runs code from the folder. To train on, `env` is needed if
        the agent was made from an environment object. What goes on where it stopped: see `CoagentActorCritic.load`.
        """
        saved = checkpoint.read(Path(path))
        if not saved.description:
            raise ValueError(
                f"{path} holds an agent with a network of its own: load it with CoagentActorCritic.load(path, network); evaluate, watch, "
                "maps and audit take it as --network MODULE:NAME"
            )
        unknown = set(saved.description) - {"num_options", "gradient_form", "deliberation_cost", "first", "initial"}
        if unknown:
            raise ValueError(f"{path}/{checkpoint.AGENT} describes an agent of another version: unknown {', '.join(sorted(unknown))}")
        given = {**saved.description, **saved.settings_for(env), **settings}
        agent = cls(saved.interface if env is None else env, encoder=encoder, **given)
        agent.restore(Path(path), saved)
        agent.given = saved.left_to_the_environment(agent.given, settings)
        return agent


def option_metrics(row: Row) -> Row:
    """Mean option length, from one execution of its coagent to the next, and termination probability of every level, from the coagents'
    metrics."""
    named = {}
    for key, value in row.items():
        name, _, metric = key.partition("/")
        if metric == "length" and name.startswith("option"):
            named[f"{name}_length"] = value
        if metric == f"probability_{TERMINATE}" and name.startswith("termination"):
            named[f"{name}_probability"] = value
    return named
