"""Is the gradient that an agent follows the true one? What its learner computes from rollouts against ∇J on an enumerated MDP.

Every row changes one thing. The base is the plain estimate that theory knows to be exact given the exact critic: steps weighted by γ^t,
advantages as they are, no bonus, no clipping. Rows of the base differ in gradient form and critic; then follow, with the agent's own
forms and critic, the things its settings add, one at a time, and all together.

The learner has no marginal form; its row, with the exact critic, says what of the noise is left when at every visited state the
expectation is taken over everything that the network may draw there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

import numpy as np

from optioncoagent.agents.forms import FORMS, available, sampled
from optioncoagent.agents.rollout import Rollout
from optioncoagent.agents.settings import Settings
from optioncoagent.agents.torch_state import torch_threads
from optioncoagent.auditing.gradient import FloatArray, check_tables, pull_back
from optioncoagent.auditing.twin import Twin
from optioncoagent.exact import critic_values, expected_return, policy_gradient
from optioncoagent.exact.large import is_large
from optioncoagent.exact.network_forms import marginal_at
from optioncoagent.exact.network_setting import NetworkSetting, Place
from optioncoagent.mdp import MDP
from optioncoagent.network import CoagentNetwork
from optioncoagent.network.additive import collected

MARGINAL = "marginal"
OWN, EXACT, BEST = "own", "exact", "best of observations"
BLOCKS = 16  # of rollouts, between which the noise is measured
ROUNDING = 1e-12  # an exact gradient this much smaller than the largest coagent's is zero
WARM_UP = 2  # rollouts of each block that are not looked at, as environments begin in step

Tables = dict[str, FloatArray]


def own_forms(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """{coagent: the form that the agent learns with}, which its settings are seen with; rows: `AuditRow`s as dicts."""
    return {row["coagent"]: row["form"] for row in rows if row["settings"]}


class AuditRow(NamedTuple):
    """One coagent's gradient as the learner estimates it against the exact one, with respect to the agent's torch parameters.

    form: "expected" (Q_β form for a termination), "difference" (its advantage form), "score", "posterior" or "marginal", which the learner
    does not have (where the exact solver builds a matrix). critic: "own"; "exact", Q(s, K); "best of observations", the mean of Q(s, K)
    over the visited states that look alike: what a perfect critic of the agent's would say (only where states share observations).
    deviation: what else differs from the base. settings: is it in the agent's settings?

    cosine, norm_ratio: of the estimate's expectation to the exact gradient, |.| corrected for the sampling noise in the mean;
    cosine_error: standard error of the cosine. noise: standard deviation of the estimate from one rollout, over the norm of its
    expectation. exact_norm: that of the exact gradient. lost: is the estimate's expectation no larger than the standard error of the mean
    over all rollouts? Then cosine and norm_ratio say nothing, and the noise is at least √rollouts, which is given. cosine and norm_ratio
    are NaN where the exact gradient is zero.
    """

    coagent: str
    form: str
    critic: str
    deviation: str
    settings: bool
    cosine: float
    cosine_error: float
    norm_ratio: float
    noise: float
    exact_norm: float
    lost: bool


class CriticError(NamedTuple):
    """Q̂ − Q over the pairs (s, K) as often as they were visited. critic: "own" or "best of observations" (see `AuditRow`).

    rmse: root of the mean square. mean: the mean, the part that no baseline sees. spread: standard deviation of Q itself. Of what is told
    apart at one state, Q(s, K) less its mean over K there, all that coagents whose output is known to the critic learn from: apart, the
    standard deviation of Q̂'s; apart_exact, of Q's; correlation of the two (NaN where nothing is told apart).
    """

    critic: str
    rmse: float
    mean: float
    spread: float
    apart: float
    apart_exact: float
    correlation: float


@dataclass(frozen=True)
class Examination:
    """Everything that `examine` finds. expected_return: the exact J. steps, episodes: that were sampled."""

    rows: list[AuditRow]
    critic: list[CriticError]
    expected_return: float
    steps: int
    episodes: int


def audit(agent: Any, mdp: MDP, rollouts: int = 32, seed: int = 0, max_steps: int | None = None) -> list[AuditRow]:
    """Is the gradient that an agent follows the true one? An `AuditRow` for each coagent, gradient form, critic and thing that its settings
    add: the rows of `examine`, which says what the arguments are."""
    return examine(agent, mdp, rollouts, seed, max_steps).rows


def examine(agent: Any, mdp: MDP, rollouts: int = 32, seed: int = 0, max_steps: int | None = None) -> Examination:
    """Compare what an agent's learner computes, from rollouts of its own size on the MDP, with the exact gradient.

    mdp: made from the agent's environment (see `agent.params`), with the agent's gamma. rollouts: how many, rounded up to a multiple of
    16. max_steps: a time limit that truncates episodes as the agent's environment does, of which J knows nothing: one deviation more, in
    every row.
    The agent is not changed. Raises ValueError for a gamma that differs, where an episode never ends, and where `agent_gradient` does.
    """
    if mdp.gamma != agent.settings.gamma:
        raise ValueError(
            f"the MDP has gamma={mdp.gamma}, the agent learns with gamma={agent.settings.gamma}: make the MDP with the agent's"
        )
    for name, value in {"rollouts": rollouts, "max_steps": 1 if max_steps is None else max_steps}.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name}={value!r}: it needs an integer of at least 1")
    with torch_threads(agent.settings.torch_threads):
        return _examine(agent, mdp, rollouts, seed, max_steps)


def _examine(agent: Any, mdp: MDP, rollouts: int, seed: int, max_steps: int | None) -> Examination:
    mdp, network = mdp.unrolled, agent.network
    check_tables(network, mdp.num_observations)
    tables, params = network.tabulated(), agent.params(mdp)
    q = critic_values(mdp, network, params)
    gradient = collected(network, policy_gradient(mdp, tables, params), mdp.num_observations)
    exact = {name: _vector(pull_back(agent, mdp, {name: g})) for name, g in gradient.items()}
    largest = max(float(np.abs(g).max()) for g in exact.values())
    exact = {name: np.where(np.abs(g).max() > ROUNDING * largest, g, 0.0) for name, g in exact.items()}
    twin = Twin(agent, mdp, seed, max_steps, copies=BLOCKS)
    windows = [twin.rollouts() for _ in range(WARM_UP - (-rollouts // BLOCKS))][WARM_UP:]
    seen = [rollout for window in windows for rollout in window]
    episodes, steps = sum(_starts(rollout) for rollout in seen), sum(rollout.start.numel() for rollout in seen)
    if episodes < BLOCKS:
        raise ValueError(f"only {episodes} episodes began in {steps:,} steps: give more rollouts, or max_steps to cut them")
    # parts of episodes count in proportion, as many may be cut by the end of what is looked at
    number = _sampled_steps(mdp, seen) / _expected_steps(mdp, tables, params) if max_steps is None else episodes
    visits = _visits(network, seen, mdp.num_states).reshape(q.shape)
    critics, errors = _critics(twin, mdp, q, visits)
    blocks = list(zip(*windows, strict=True))
    marginal = [] if is_large(mdp, tables) else [_Marginal(NetworkSetting(mdp, tables, params), tuple(exact))]
    rows = []
    variants: list[_Variant | _Marginal] = [*_base(agent, critics, tuple(exact)), *marginal, *_added(agent, tuple(exact))]
    for variant in variants:
        twin.set_critic(critics[variant.critic])
        sums = [variant.gradient(agent, twin, block) for block in blocks]
        for name in variant.coagents:
            samples = np.stack([_vector(variant.pulled(agent, mdp, {name: part[name]})) for part in sums]) * (BLOCKS / number)
            measured = _measure(samples, exact[name], len(windows))
            rows.append(AuditRow(name, variant.forms[name], variant.critic, variant.deviation, variant.settings, *measured))
    J = expected_return(mdp, tables, params)
    return Examination(rows, errors, J, steps, episodes)


@dataclass(frozen=True)
class _Variant:
    """One way to compute gradients, and the coagents it is reported for."""

    critic: str
    deviation: str
    settings: bool
    forms: Mapping[str, str]
    coagents: tuple[str, ...]
    learning: Settings
    clipped: bool = False
    left_alone: bool = False  # is the encoder, by those that do not learn from sampled returns?

    def pulled(self, agent: Any, mdp: MDP, tables: Tables) -> dict[str, Any]:
        """Tables of logits as a gradient in the agent's parameters."""
        shaping = {*_shaping(agent.network, self.forms), "critic"} if self.left_alone else {*tables}
        split = [({name: table for name, table in tables.items() if (name in shaping) == reached}, reached) for reached in (True, False)]
        parts = [pull_back(agent, mdp, some, encoder=reached) for some, reached in split if some]
        return {name: sum(part[name] for part in parts) for name in parts[0]}

    def gradient(self, agent: Any, twin: Twin, rollouts: Iterable[Rollout]) -> Tables:
        """Σ over the steps of rollouts of every coagent's local gradient, as tables of logits, in the units of the rewards.

        The learner follows this over its scale of returns, and in those units it adds an entropy bonus and clips.
        """
        total = _total([self._of_one(agent, twin, rollout) for rollout in rollouts])
        return {name: twin.scale * table for name, table in total.items()}

    def _of_one(self, agent: Any, twin: Twin, rollout: Rollout) -> Tables:
        batch = twin.batch(rollout, self.learning, self.forms)
        if not self.clipped:
            return twin.gradient(batch, self.learning)
        # the first minibatch, its gradient cut to max_grad_norm with the critic's in it, and without what is frozen
        size = -(-len(batch) // twin.num_minibatches)
        part = batch.at(twin.order(len(batch))[:size])
        tables = twin.gradient(part, self.learning)
        frozen = {name for name, x in agent.module.named_parameters() if any(x is other for other in agent.frozen)}
        learned = [x / size for name, x in self.pulled(agent, twin.mdp, tables).items() if name not in frozen]
        norm = np.sqrt(sum(float(x.ravel() @ x.ravel()) for x in learned))
        scale = min(1.0, self.learning.max_grad_norm / (norm + 1e-6)) * len(batch) / size
        return {name: scale * table for name, table in tables.items()}


@dataclass(frozen=True)
class _Marginal:
    """The marginal form with the exact critic, like a `_Variant`. coagents: see there."""

    setting: NetworkSetting
    coagents: tuple[str, ...]
    critic: str = EXACT
    deviation: str = ""
    settings: bool = False
    pulled = staticmethod(pull_back)

    @property
    def forms(self) -> Mapping[str, str]:
        return dict.fromkeys(self.coagents, MARGINAL)

    def gradient(self, agent: Any, twin: Twin, rollouts: Iterable[Rollout]) -> Tables:
        """Σ over the steps of rollouts of γ^t times the expectation of the local gradient, given the state and the outputs before."""
        made, occupancy = self.setting.made, np.zeros(len(self.setting.made.reward))
        for rollout in rollouts:
            previous = {name: rollout.previous[name].numpy().ravel() for name in made.structure.layout.carried}
            nodes = made.structure.numbers(rollout.start.numpy().ravel(), rollout.observation[""].numpy().ravel(), previous)
            weight = twin.mdp.gamma ** rollout.age.numpy() * rollout.valid.numpy()
            occupancy += np.bincount(nodes, weight.ravel(), occupancy.size)
        tables: Tables = {}
        for index, coagent in enumerate(self.setting.network.coagents):
            tables[coagent.owner] = tables.get(coagent.owner, 0.0) + marginal_at(Place(made, index, occupancy))
        return collected(agent.network, tables, twin.mdp.num_observations)


def _own(agent: Any) -> tuple[Settings, Settings]:
    """The agent's settings that decide what is computed from a rollout, and those of the base."""
    own = Settings(**{name: getattr(agent.settings, name) for name in Twin.SETTINGS})
    return own, replace(own, discount_weighting=True, normalize_advantages=False, ent_coef=0.0, ent_coefs={})


def _base(agent: Any, critics: Mapping[str, FloatArray], names: tuple[str, ...]) -> Iterator[_Variant]:
    """Forms and critics at the base. names: of the coagents that have parameters of their own."""
    network, (_, base) = agent.network, _own(agent)
    for critic in critics:
        done: set[tuple[str, str]] = set()
        for form in FORMS:
            forms = {name: form if form in available(network, name) else agent.forms[name] for name in network.names}
            new = tuple(name for name in names if (name, forms[name]) not in done)
            done |= set(forms.items())
            if new:
                yield _Variant(critic, "", False, forms, new, base)


def _added(agent: Any, names: tuple[str, ...]) -> Iterator[_Variant]:
    """What the agent's settings add, with its own forms and critic."""
    ours, (own, base) = agent.settings, _own(agent)
    added: dict[str, dict[str, Any]] = {}
    if not ours.discount_weighting and ours.gamma < 1:
        added["no γ^t"] = {"discount_weighting": False}
    if ours.normalize_advantages:
        added["normalised advantages"] = {"normalize_advantages": True}
    if ours.ent_coef or any(ours.ent_coefs.values()):
        added["entropy bonus"] = {"ent_coef": ours.ent_coef, "ent_coefs": ours.ent_coefs}
    for deviation, change in added.items():
        yield _Variant(OWN, deviation, True, agent.forms, names, replace(base, **change))
    left_alone = ours.encoder_gradient == "sampled" and any(True for _ in agent.module.encoder.parameters())
    alone = tuple(name for name in names if left_alone and name not in _shaping(agent.network, agent.forms))
    if alone:
        yield _Variant(OWN, "encoder left alone", True, agent.forms, alone, base, left_alone=True)
    yield _Variant(OWN, "all together, clipped", True, agent.forms, names, own, clipped=True, left_alone=left_alone)


def _shaping(network: CoagentNetwork, forms: Mapping[str, str]) -> set[str]:
    """The coagents with parameters of their own that the encoder learns from."""
    return {network[name].owner for name in sampled(network, forms)}


def _critics(twin: Twin, mdp: MDP, q: FloatArray, visits: FloatArray) -> tuple[dict[str, FloatArray], list[CriticError]]:
    """The critics that rows are computed with, and their errors."""
    own = twin.own_critic.reshape(q.shape)
    critics = {OWN: own, EXACT: q}
    looks = mdp.observation
    weight, total = visits + 1e-9, np.zeros((2, mdp.num_observations, *q.shape[1:]))  # where nothing was visited a plain mean
    np.add.at(total[0], looks, weight * q)
    np.add.at(total[1], looks, weight)
    best = (total[0] / np.where(total[1] > 0, total[1], 1.0))[looks]
    if np.abs((best - q) * (visits > 0)).max() > 1e-9 * np.abs(q).max():
        critics[BEST] = best
    share = visits / visits.sum()
    return critics, [_error(name, values, q, share) for name, values in critics.items() if name != EXACT]


def _error(critic: str, values: FloatArray, q: FloatArray, share: FloatArray) -> CriticError:
    """Of Q̂ against Q, both (S, …), weighted with the share of each."""
    values, q, share = (x.reshape(len(x), -1) for x in (values, q, share))
    mean, error = (share * q).sum(), values - q
    of_state = np.where(share.sum(axis=1, keepdims=True) > 0, share.sum(axis=1, keepdims=True), 1.0)
    ours, theirs = (x - (share * x).sum(axis=1, keepdims=True) / of_state for x in (values, q))
    apart, apart_exact = (float(np.sqrt((share * x**2).sum())) for x in (ours, theirs))
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = float((share * ours * theirs).sum() / np.float64(apart * apart_exact))
    return CriticError(
        critic,
        rmse=float(np.sqrt((share * error**2).sum())),
        mean=float((share * error).sum()),
        spread=float(np.sqrt((share * (q - mean) ** 2).sum())),
        apart=apart,
        apart_exact=apart_exact,
        correlation=correlation,
    )


def _sampled_steps(mdp: MDP, seen: list[Rollout]) -> float:
    """Σ γ^t over all steps that were sampled."""
    return sum(float((mdp.gamma ** rollout.age.numpy() * rollout.valid.numpy()).sum()) for rollout in seen)


def _expected_steps(mdp: MDP, network: CoagentNetwork, params: Mapping[str, Any]) -> float:
    """E[Σ_t γ^t] over an episode: what a reward of 1 for every step is worth, whatever it costs."""
    rewards = (np.zeros((mdp.num_states, mdp.num_actions)), np.where(mdp.terminal, 0.0, 1.0)[:, None] * np.ones(mdp.num_actions))
    made = (MDP(mdp.P, R, mdp.d0, mdp.gamma, mdp.terminal, mdp.observation) for R in rewards)
    without, paid = (expected_return(x, network, params) for x in made)
    return paid - without


def _visits(network: CoagentNetwork, seen: list[Rollout], num_states: int) -> FloatArray:
    """How often each (s, K) was visited, flattened."""
    num_known = prod(network[name].num_outputs for name in network.critic_inputs)
    counts = np.zeros(num_states * num_known)
    for rollout in seen:
        known = network.joint_index(network.critic_inputs, rollout.outputs)
        index = (rollout.observation[""] * num_known + known).numpy()
        counts += np.bincount(index.ravel(), minlength=counts.size)
    return counts


def _measure(samples: FloatArray, exact: FloatArray, rollouts_a_block: float) -> tuple[float, float, float, float, float, bool]:
    """cosine, its error, norm ratio, noise, exact norm, lost: of gradients by block (B, P) whose mean is the estimate."""
    n, norm = len(samples), float(np.linalg.norm(exact))
    inner, along = samples @ samples.T, samples @ exact

    def mean_of(keep: FloatArray) -> tuple[float, float, float]:
        """(cosine, norm of the expectation, standard error of the mean) over some blocks, from their inner products alone."""
        m = keep.sum()
        squared = keep @ inner @ keep / m**2
        error = max((keep @ np.diag(inner) / m - squared) / (m - 1), 0.0)
        length = np.sqrt(max(squared - error, 0.0))  # |E g|² = E|ḡ|² − tr Cov(ḡ)
        cosine = keep @ along / m / (norm * length) if norm * length > 0 else np.nan
        return float(cosine), float(length), float(np.sqrt(error))

    cosine, length, error = mean_of(np.ones(n))
    lost = length <= error
    noise = error * np.sqrt(n * rollouts_a_block) / (error if lost else length) if error > 0 else 0.0
    without = np.array([mean_of(1.0 - np.eye(n)[i])[0] for i in range(n)])
    spread = float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))
    return float(np.clip(cosine, -1.0, 1.0)), spread, length / norm if norm > 0 else np.nan, float(noise), norm, bool(lost)


def _total(tables: list[Tables]) -> Tables:
    return {name: sum((part[name] for part in tables[1:]), tables[0][name]) for name in tables[0]}


def _vector(gradient: Mapping[str, Any]) -> FloatArray:
    return np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in gradient.values()])


def _starts(rollout: Rollout) -> int:
    return int((rollout.age == 0)[rollout.valid].sum())
