"""Training settings: one frozen record."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

OTHER_PARTS = ("critic", "encoder")  # of an agent, beside its coagents' policies
MOST = 1_000_000  # environments, or steps of a rollout: more fill the memory before anything can say so
BOX_KINDS = ("box", "cells", "grid", "pixels", "slope")  # what a Box may be taken for
KINDS = (*BOX_KINDS, "mission")  # and a mission that never varies, for one that does
# what was done before there was a choice: of agents and runs whose settings do not say
OLD_DEFAULTS = {"int_coef": 0.0, "int_counts": "observation", "normalize_rewards": False, "encoder_gradient": "all", "target_kl": None}
GradientForm = Literal["q_beta", "advantage", "score"]  # of option-critic's termination
EVALUATION_SEED = 1_000_000  # apart from the training seeds one would choose
EVALUATION_STEPS = 100_000  # more than the episodes of any common task have

# Other names of what is set here or beside it, Stable-Baselines3's and short ones
ALIASES = {
    "n_steps": "num_steps",
    "n_envs": "num_envs",
    "n_epochs": "update_epochs",
    "epochs": "update_epochs",
    "batch_size": "num_minibatches (the number of parts of a rollout, not the size of one)",
    "minibatch_size": "num_minibatches (the number of parts of a rollout, not the size of one)",
    "lr": "learning_rate",
    "clip_range": "clip_coef",
    "clip": "clip_coef",
    "max_kl": "target_kl",
    "kl_limit": "target_kl",
    "discount": "gamma",
    "lam": "gae_lambda",
    "entropy_coef": "ent_coef",
    "value_coef": "vf_coef",
    "normalize_advantage": "normalize_advantages",
    "net_arch": "hidden_sizes",
    "policy_kwargs": "hidden_sizes (in Python also encoder, a torch module of one's own)",
    "lstm_hidden_size": "recurrent_size",
    "n_options": "num_options",
    "env": "env_id",
}


@dataclass(frozen=True)
class Settings:
    """How the network is trained. `check` says whether the values are in range."""

    num_envs: int | None = None
    """Environments stepped together (an environment given as an object brings its own number). By default 32 of MiniGrid, 16 of others."""
    num_steps: int | None = None
    """Steps of each environment in one rollout. By default rollouts grow: 2,048 steps of all environments together at first, up to 16,384,
    the largest power of two within a 64th of the steps so far, but at least 32 of each (see `optioncoagent.agents.sizes`)."""
    update_epochs: int | None = None
    """Passes over a rollout, at most (see target_kl); 1 with one minibatch is the plain local gradient. By default 8, over rollouts of more
    than 4,096 steps 4."""
    num_minibatches: int | None = None
    """Parts into which each pass is cut, whose sizes differ by at most one step. By default 8, or more of 1,024 steps each."""
    learning_rate: float = 1e-3
    """Step size of Adam."""
    anneal_lr: bool = False
    """Let the step size fall linearly to zero over the steps of one call of `learn`."""
    gamma: float = 0.99
    """Discount."""
    gae_lambda: float = 0.95
    """λ of the λ-returns."""
    clip_coef: float = 0.2
    """Probability ratios are clipped to 1 ± this in every coagent's objective."""
    target_kl: float | None = 0.05
    """Learning from a rollout stops at a minibatch in which the actions' policies are farther than this from those that acted, in KL
    divergence, and the step that brought them there is taken back, unless it was the first; None: no limit."""
    ent_coef: float = 0.01
    """Weight of the entropy bonus of every coagent's policy."""
    ent_coefs: dict[str, float] = field(default_factory=dict)
    """In place of ent_coef, for the coagents named: {coagent: weight}. Option-critic's are termination, option and action."""
    vf_coef: float = 0.5
    """Weight of the critic's loss."""
    int_coef: float | None = None
    """Weight of the exploration bonus for what was seldom met; 0 for none. By default 0.005 on MiniGrid, else 0."""
    int_counts: Literal["auto", "place", "observation"] = "auto"
    """What the bonus counts: the place of the agent with what it carries, or its observation; auto: places where the environment tells
    them, as MiniGrid does."""
    int_form: Literal["auto", "episodic", "lifetime", "both", "difference"] = "auto"
    """How counts become the bonus. Episodic: the first visit in an episode is paid; lifetime: every visit, less the more there were in
    the whole run; both: the first visit in an episode, less the more episodes had one; difference: the first visit in an episode, by how
    much rarer it is than where it was reached from (BeBold, NovelD). By default (auto) episodic for places, both for observations."""
    int_returns: Literal["episodic", "non-episodic"] = "episodic"
    """Where the return of the bonus ends: with the episode (episodic), or nowhere, the next episode's being part of it (non-episodic).
    Where a task asks for what mostly ends an episode, as MiniGrid-PutNear does, the bonus that an end takes away is in the way of
    learning it. Non-episodic, any termination is paid what the bonus of an episode is worth, which is a reason to end once an episode has
    nothing new; a time limit is paid nothing."""
    diversity_coef: float = 0.0
    """Weight of a reward for actions that tell which option chose them, whatever network it is (see `optioncoagent.agents.diversity`);
    0 for none."""
    max_grad_norm: float = 0.5
    """The gradient is scaled down to this norm."""
    normalize_advantages: bool = True
    """Divide the advantages of all coagents by one number, the standard deviation of the λ-advantages of the rollout."""
    normalize_rewards: bool = True
    """Divide rewards and costs by a running scale of returns where that is more than 1."""
    discount_weighting: bool = False
    """Weight step t of an episode by γ^t, as the gradient of the discounted return has it."""
    sampled_returns: bool = True
    """Use sampled values of the next outputs in λ-returns, in place of their expectation: λ = 1 gives the sampled return, and what the
    critic takes for differences between outputs, mostly its error, does not add up along the way."""
    encoder_gradient: Literal["all", "sampled"] = "sampled"
    """Which coagents the encoder, and what is recurrent, learn from beside the critic: all, for the gradient of the return in every weight;
    sampled: the actions and those whose gradient form is score or posterior (all, where none of these observes). The others' forms are
    differences of the critic, mostly its error, and end at the features. Coagents that share parameters count as one."""
    frozen: tuple[str, ...] = ()
    """What stays as it is: coagents (their policies), critic, encoder (recurrent units are of it). A policy on features that go on
    changing changes with them: options that are kept for another task are the encoder, the termination and the action."""
    hidden_sizes: tuple[int, ...] = (64, 64)
    """Widths of the encoder's layers; none makes heads linear in the observation (tables, if it is Discrete), with nothing in common
    between the options that a policy reads."""
    recurrent_size: int = 0
    """Gated recurrent units between encoder and heads, for what must be remembered of an episode; 0 for none. Minibatches are then
    whole rollouts of some environments each, at most num_envs of them."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of the parameters."""
    observation_kinds: dict[str, str] = field(default_factory=dict)
    """What parts of the observation are, where it is not what they are taken for: their keys joined by "/" ("" for one without parts) and
    box, cells, grid, pixels or slope (see `optioncoagent.agents.observations`); or mission, for a mission that never varies and is left
    out without, so that the agent can go on with tasks whose missions do."""
    device: str = "auto"
    """Where torch computes; auto: on a CUDA device if there is one, else on the CPU."""
    torch_threads: int = 1
    """Threads torch computes with here; networks this small lose with more, badly where other programs run."""
    seed: int = 0
    """Seed of everything random."""

    @property
    def count_form(self) -> str:
        """`int_form`, or what auto stands for where `int_counts` is chosen."""
        usual = {"place": "episodic", "observation": "both"}
        return usual[self.int_counts] if self.int_form == "auto" else self.int_form

    def check(self) -> None:
        """Raise ValueError that names the field if a value is out of range.

        Not done when the record is made: the command line's parser would wrap the error in words of its own.
        """
        for name in ("num_envs", "num_steps", "update_epochs", "num_minibatches", "torch_threads"):
            value, required = getattr(self, name), name == "torch_threads"
            _require(_is_integer(value, 1) or (value is None and not required), name, value, "an integer of at least 1")
        for name in ("num_envs", "num_steps"):
            _require((getattr(self, name) or 1) <= MOST, name, getattr(self, name), f"at most {MOST:,}")
        for name in ("learning_rate", "max_grad_norm", "clip_coef", "gamma", "gae_lambda", "ent_coef", "vf_coef", "diversity_coef"):
            _require(_is_number(getattr(self, name)), name, getattr(self, name), "a number")
        for name in ("learning_rate", "max_grad_norm", "clip_coef"):
            _require(0 < getattr(self, name) < math.inf, name, getattr(self, name), "greater than 0 and finite")
        limit = self.target_kl
        _require(limit is None or (_is_number(limit) and 0 < limit < math.inf), "target_kl", limit, "greater than 0 and finite, or None")
        for name in ("gamma", "gae_lambda"):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "in [0, 1]")
        for name in ("ent_coef", "vf_coef", "diversity_coef"):
            _require(0 <= getattr(self, name) < math.inf, name, getattr(self, name), "at least 0 and finite")
        coef = self.int_coef
        _require(coef is None or (_is_number(coef) and 0 <= coef < math.inf), "int_coef", coef, "a number, at least 0 and finite, or None")
        _require(isinstance(self.ent_coefs, dict), "ent_coefs", self.ent_coefs, "a dict from coagents to weights")
        for coagent, value in self.ent_coefs.items():
            _require(_is_number(value) and 0 <= value < math.inf, f"ent_coefs[{coagent!r}]", value, "a number, at least 0 and finite")
        for name in ("seed", "recurrent_size"):
            _require(_is_integer(getattr(self, name), 0), name, getattr(self, name), "an integer of at least 0")
        kinds = self.observation_kinds
        allowed = f"a dict from parts of the observation to one of {', '.join(KINDS)}"
        _require(isinstance(kinds, dict) and {*kinds.values()} <= {*KINDS}, "observation_kinds", kinds, allowed)
        words = isinstance(self.frozen, tuple) and all(isinstance(part, str) for part in self.frozen)
        _require(words, "frozen", self.frozen, "a tuple of names")
        sizes = self.hidden_sizes
        integers = isinstance(sizes, tuple) and all(_is_integer(n, 1) for n in sizes)
        _require(integers, "hidden_sizes", sizes, "a tuple of integers of at least 1")
        for name, kind in get_type_hints(Settings).items():
            value, choices = getattr(self, name), get_args(kind)
            if get_origin(kind) is Literal:
                _require(value in choices, name, value, "one of " + ", ".join(choices))
            if kind is bool:
                _require(isinstance(value, bool), name, value, "True or False")

    def check_coagents(self, names: Sequence[str]) -> None:
        """Raise ValueError for a coagent with settings of its own, or one that is frozen, that is not one of these."""
        for setting, found, parts in (("ent_coefs", self.ent_coefs, ()), ("frozen", self.frozen, OTHER_PARTS)):
            others = [name for name in found if name not in (*names, *parts)]
            if others:
                also = f"; the other parts are {', '.join(parts)}" if parts else ""
                raise ValueError(f"{setting} names {others}, but the coagents are {[*names]}{also}")
        for name in self.frozen:
            if name in names and name in OTHER_PARTS:
                raise ValueError(f"frozen names {name!r}, which is a coagent and another part, too: give the coagent another name")


def make_settings(values: dict[str, Any]) -> Settings:
    """Settings from keyword arguments, checked, with the device that "auto" stands for here; TypeError for a name that is none, with the
    one that is meant."""
    names = [f.name for f in fields(Settings)]
    for name in values:
        if name not in names:
            raise TypeError(f"there is no setting {name!r}" + (meant(name) or f"; there are {names}"))
    # NumPy's numbers, as those of np.arange, and torch's
    values = {name: value.item() if getattr(value, "shape", None) == () else value for name, value in values.items()}
    values |= {name: tuple(values[name]) for name in ("hidden_sizes", "frozen") if isinstance(values.get(name), list)}  # as JSON has them
    settings = Settings(**values)
    settings.check()
    return replace(settings, device=_first_available()) if settings.device == "auto" else settings


def meant(name: str) -> str:
    """What a name that is no setting's stands for, ": here it is …" or ": did you mean …?"; "" where none is near."""
    if name in ALIASES:
        return f": here it is {ALIASES[name]}"
    others = ["num_options", "gradient_form", "deliberation_cost", "encoder", "env_kwargs"]
    if name in others:
        return f": {name} is an argument of some agents, and not of this one"
    near = difflib.get_close_matches(name, [*(f.name for f in fields(Settings)), *others], 1)
    return f": did you mean {near[0]!r}?" if near else ""


def check_device(device: str) -> None:
    """Raise ValueError for a device that torch does not have, or that has no double precision, in which laws and counts are."""
    import torch

    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(f"device={device!r}: torch cannot compute there ({str(error).splitlines()[0]})") from error


def on_this_machine(saved: dict[str, Any]) -> dict[str, Any]:
    """Settings that were saved, with another device where torch does not have theirs."""
    try:
        check_device(saved["device"])
    except ValueError:
        return {**saved, "device": "auto"}
    return saved


def _first_available() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise ValueError(f"{name}={value!r}: it must be {allowed}")
