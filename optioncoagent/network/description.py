"""A coagent network, written down once as data.

A network is a fixed order of coagents. Within one time step (a *tick*) each coagent, in that order, executes or not; one that executes
draws an output from its own softmax policy, one that does not retains its output of the step before. The exact solver, the simulator and
the learner all read the same `CoagentNetwork`; none of them needs to know what the coagents are for.

Notation is that of Kostas, Nota, Thomas, "Asynchronous Coagent Networks" (ICML 2020), called ACN: `U^pre` are the outputs of the coagents
before this one at this step, `U^all_{t-1}` all outputs of the step before, `X_t = (S_t, U^pre_t, U^all_{t-1})` the local state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from optioncoagent.network.coagent import Coagent, FloatArray, check_wiring, initial_law
from optioncoagent.network.execution import tabulate, trace
from optioncoagent.network.gaussian import check_untouched
from optioncoagent.network.parameters import ParameterLayout, softmax
from optioncoagent.network.plan import CoagentPlan, plan

MAX_NUMBERS = 1 << 30  # of a table of logits: eight gigabytes


class CoagentNetwork:
    """Coagents in their order of execution, and which outputs are the action.

    coagents: in order; a coagent's `upstream` must be earlier ones. action: the name of the action coagent, or several names whose
    joint output, in C order, is the action.

    Attributes, all derived from the description:
        names, num_outputs: tuples in order.
        counted, gaussians: the coagents whose output is one of finitely many, and {name: Gaussian} of the others.
        by_kind: all coagents, first those that are counted and then the others, each in order.
        touched: {name: Touched}, what each execution function looks at.
        memory: outputs that the next step can see: named in a `previous`, touched through `x.previous`, or read by somebody and perhaps
            retained. Only these need to be carried from step to step.
        critic_inputs: K, such that (S_t, K_t) screens off everything earlier, and a critic Q(s, K) is a value. It holds memory; what
            an action that is not memory reads in a table; and each output by which the action is chosen, its own among them, that depends
            on the step before, may be retained at a first step, or is one that another of K depends on.
        unseen: outputs by which the action is chosen that K does not tell, so that K's values say nothing of their local gradients.
        carried: memory, and what a first step alone can see of the outputs before it.

    Raises ValueError, naming the coagent and what to change, for a description that is not a network.
    """

    def __init__(self, coagents: Iterable[Coagent], action: str | Iterable[str] = "action"):
        if isinstance(coagents, Coagent):
            raise TypeError(f"coagents is one Coagent, {coagents.name!r}: write CoagentNetwork([…]), with brackets")
        self.coagents = tuple(coagents)
        if others := [c for c in self.coagents if not isinstance(c, Coagent)]:
            raise TypeError(f"{others[0]!r} is no Coagent: write Coagent(name, num_outputs, …)")
        if not isinstance(action, Iterable):
            raise TypeError(f"action={action!r}: give the name of the action coagent, or several names")
        self.action = (action,) if isinstance(action, str) else tuple(action)
        self.names = tuple(c.name for c in self.coagents)
        self.num_outputs = tuple(c.num_outputs for c in self.coagents)
        check_wiring(self.coagents, self.action)
        self.counted = tuple(c for c in self.coagents if c.gaussian is None)
        self.gaussians = {c.name: c.gaussian for c in self.coagents if c.gaussian is not None}
        self.by_kind = (*self.counted, *(c for c in self.coagents if c.gaussian is not None))
        self._by_name = dict(zip(self.names, self.coagents, strict=True))
        self._layouts: dict[int | None, ParameterLayout] = {}
        self._plans: dict[frozenset[str], tuple[CoagentPlan, ...]] = {}
        self._tables: dict[tuple[str, int], FloatArray] = {}
        self._initial = {c.name: initial_law(c) for c in self.coagents}
        self.touched = {c.name: trace(c, self.names) for c in self.coagents}
        check_untouched(self.coagents, self.touched)
        self._may_retain = {c.name: self._find_retention(c) for c in self.coagents}
        self.memory = self._find_memory()
        self.carried = self._find_carried()
        self.critic_inputs, self.unseen = self._find_critic_inputs()

    def __getitem__(self, name: str) -> Coagent:
        return self._by_name[name]

    def __repr__(self) -> str:
        outputs = [f"{c.name}:{c.num_outputs if c.gaussian is None else f'{c.gaussian.size} numbers'}" for c in self.coagents]
        return f"CoagentNetwork({', '.join(outputs)}; action={self.action})"

    @property
    def num_actions(self) -> int:
        """Number of joint actions."""
        return prod(self[name].num_outputs for name in self.action)

    def joint_action(self, outputs: Mapping[str, Any]) -> Any:
        """Index of the joint action, in C order over `action`; `outputs[name]` are integer arrays or tensors of one shape."""
        return self.joint_index(self.action, outputs)

    def joint_index(self, names: Iterable[str], outputs: Mapping[str, Any]) -> Any:
        """Index of the joint outputs of these coagents, in C order, 0 of none; `outputs[name]` as in `joint_action`."""
        index: Any = 0
        for name in names:
            index = index * self[name].num_outputs + outputs[name]
        return index

    def check_name(self, name: str) -> None:
        """Raise ValueError for a name that is no coagent's."""
        if name not in self.names:
            raise ValueError(f"no coagent {name!r}: the network has {list(self.names)}")

    def initial(self, name: str) -> FloatArray:
        """Law h_0 of the output before the first step, shape (num_outputs,)."""
        return self._initial[name]

    def may_retain(self, name: str, start: bool | None = None) -> bool:
        """Can this coagent fail to execute: at a first step (start=True), at a later one (False), at any (None)? True, too, where that
        depends on the state."""
        return any(self._may_retain[name]) if start is None else self._may_retain[name][int(start)]

    def readers(self, name: str) -> tuple[str, ...]:
        """Coagents whose policy or execution function reads this output at this same step."""
        return tuple(c.name for c in self.coagents if name in c.upstream or name in self.touched[c.name].upstream)

    @property
    def final(self) -> tuple[str, ...]:
        """The outputs that outlive a tick, memory and action, in order."""
        return tuple(name for name in self.names if name in self.memory or name in self.action)

    def plan(self, kept: Iterable[str]) -> tuple[CoagentPlan, ...]:
        """Each coagent's turn in a tick at whose end the outputs `kept` matter: see `plan.CoagentPlan`. In order."""
        key = frozenset(kept)
        if key not in self._plans:
            self._plans[key] = plan(self, key)
        return self._plans[key]

    # Parameters

    def configuration_shape(self, name: str) -> tuple[int, ...]:
        """Sizes of the discrete outputs over which the policy is a table: upstream, then previous."""
        upstream, previous = self[name].tabled
        return tuple(self[other].num_outputs for other in (*upstream, *previous))

    def parameter_shape(self, name: str, num_observations: int) -> tuple[int, ...]:
        """((num_observations,) if it observes) + upstream sizes + previous sizes + (num_outputs,)."""
        observation = (num_observations,) if self[name].observes else ()
        return (*observation, *self.configuration_shape(name), self[name].num_outputs)

    def parameters(self, num_observations: int) -> ParameterLayout:
        """Where the parameters lie: owners, shapes and slices. ValueError naming a coagent with a `Gaussian`, which is no table of logits,
        or one that is additive."""
        if num_observations not in self._layouts:
            self.check_counted("tables of logits")
            for coagent in self.coagents:
                if coagent.additive:
                    raise ValueError(
                        f"coagent {coagent.name!r}: its policy is additive, and the exact solver and the simulator are for tables: give "
                        "them network.tabulated() where it reads few outputs"
                    )
            shapes = {name: self.parameter_shape(name, num_observations) for name in self.names if self[name].shares is None}
            self._layouts[num_observations] = ParameterLayout(shapes, {c.name: c.owner for c in self.coagents})
        return self._layouts[num_observations]

    def tabulated(self) -> CoagentNetwork:
        """The same network with a table in place of every sum of terms, itself if it has none: see `additive.expanded` for its parameters.
        ValueError naming a coagent that reads a `Gaussian`."""
        if not any(c.additive for c in self.coagents):
            return self
        for c in self.coagents:
            for name in (n for n in c.upstream if n in self.gaussians):
                raise ValueError(
                    f"coagent {c.name!r}: it reads {name!r}, whose output is Gaussian, and there is no table over real numbers"
                )
        return CoagentNetwork([replace(c, additive=False) for c in self.coagents], self.action)

    def init_params(self, num_observations: int, seed: int = 0, scale: float = 1.0) -> dict[str, FloatArray]:
        """Random logits, {owner: array of its shape}, drawn normal(0, scale)."""
        rng, layout = np.random.default_rng(seed), self.parameters(num_observations)
        for owner, shape, _ in layout.blocks:
            if prod(shape) > MAX_NUMBERS:
                raise ValueError(f"coagent {owner!r}: its logits would be {prod(shape):,} numbers, {shape}: let it read fewer outputs")
        return {block.owner: scale * rng.standard_normal(block.shape) for block in layout.blocks}

    def policies(self, params: Mapping[str, Any], num_observations: int) -> dict[str, FloatArray]:
        """Softmax policies of every coagent, {name: array of its `parameter_shape`}. Raises ValueError as `ParameterLayout.check` does."""
        layout = self.parameters(num_observations)
        by_owner = {owner: softmax(logits) for owner, logits in layout.check(params).items()}
        return {name: by_owner[layout.of[name].owner] for name in self.names}

    def check_actions(self, num_actions: int) -> None:
        """ValueError unless an MDP with this many actions takes the network's joint actions."""
        self.check_counted("an MDP with finitely many actions")
        if num_actions != self.num_actions:
            raise ValueError(f"the MDP has {num_actions} actions, the network's action {self.action} has {self.num_actions} joint outputs")

    def check_counted(self, what: str, instead: str = "train the network with CoagentActorCritic") -> None:
        """ValueError naming a coagent with a `Gaussian`, where there can only be finitely many outputs; instead: what there is for it."""
        for name in self.gaussians:
            raise ValueError(
                f"coagent {name!r}: its output is Gaussian, and the exact solver and the simulator are for finitely many outputs "
                f"({what}): {instead}, or give it num_outputs of which each stands for some numbers"
            )

    # Execution functions

    def execution_table(self, name: str, num_observations: int) -> FloatArray:
        """Probability that a coagent executes, tabulated once over what its execution function touches: see `execution.tabulate`."""
        key = name, num_observations if self.touched[name].state else 1
        if key not in self._tables:
            sizes = dict(zip(self.names, self.num_outputs, strict=True))
            self._tables[key] = table = tabulate(self[name], self.touched[name], sizes, num_observations)
            table.flags.writeable = False
        return self._tables[key]

    def _find_retention(self, coagent: Coagent) -> tuple[bool, bool]:
        """(may fail to execute at a later step, may fail at a first step)."""
        touched = self.touched[coagent.name]
        if touched.state:
            return True, True
        table = self.execution_table(coagent.name, 1)
        later, first = table if touched.start else (table, table)
        return bool((later < 1).any()), bool((first < 1).any())

    def _find_memory(self) -> tuple[str, ...]:
        looked_at = {name for c in self.coagents for name in (*c.previous, *self.touched[c.name].previous)}
        return tuple(name for name in self.names if name in looked_at or self._retains_what_matters(name, start=False))

    def _find_carried(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name in self.memory or self._retains_what_matters(name, start=True))

    def _retains_what_matters(self, name: str, start: bool) -> bool:
        return self.may_retain(name, start) and (name in self.action or bool(self.readers(name)))

    def _find_critic_inputs(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """K, and the outputs by which the action is chosen that K does not tell."""
        inputs, acting, leading = set(self.memory), set(self.action).difference(self.memory), set[str]()
        for c in reversed(self.coagents):
            if c.name in acting:
                if c.name in self.action:
                    inputs.update(c.tabled[0])
                # what depends on the step before, or what another of K depends on, is not screened off unless K tells it
                if c.previous or self.may_retain(c.name, start=True) or c.name in leading:
                    inputs.add(c.name)
                if c.name not in inputs:
                    acting.update(set(c.upstream).difference(inputs))
            if c.name in inputs or c.name in leading:
                leading.update(c.upstream, self.touched[c.name].upstream)
        acting -= inputs
        return tuple(name for name in self.names if name in inputs), tuple(name for name in self.names if name in acting)
