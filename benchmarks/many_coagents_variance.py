"""Claim: the variance of the score form grows with the number of bits of a layer, that of the posterior form hardly, and that of the
expected and the marginal form not at all, relative to the gradient itself.

    python benchmarks/many_coagents_variance.py [--learner-units 16 32 …] [--simulator-units 2 4 …] [--out figures/many_coagents.png]

Layers of `gallery.stochastic_layers(additive=True)`, whose action reads all bits of the one layer; everything is of the gradient with
respect to the bits' parameters, summed over these. Rows that are there are not measured again; the picture is drawn of all rows.

In the learner, on CartPole-v1 (many_coagents_variance.csv): at the parameters of an agent that has made some updates, the gradient from
each of many rollouts of 512 steps, in both forms from the same rollouts: its variance, and the square of its mean (the same for both; less
what is noise in it, so that it may come out negative where noise is all there is). Q(s, u) of every joint output of 256 bits is no table:
the forms that need it are measured on a small MDP.

In the simulator, on the 3x3 gridworld (many_coagents_forms.csv): the table that the sums of terms add up to, parameters drawn as the
learner draws them, the exact critic; the variance of one episode's gradient in each form from equally many episodes, and the square of the
exact gradient. score: the sampled return less a baseline V(s); the others weigh steps with values (`optioncoagent.simulate.forms`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import rows
import torch
import tyro
from many_coagents import make
from matplotlib.figure import Figure
from torch import Tensor

import optioncoagent as oc
from optioncoagent.agents.rollout import collect
from optioncoagent.agents.targets import make_batch
from optioncoagent.exact import critic_values
from optioncoagent.gallery import stochastic_layers
from optioncoagent.network.additive import expanded

LEARNER = Path(__file__).with_suffix(".csv")
SIMULATOR = LEARNER.with_name("many_coagents_forms.csv")
FORMS = ("score", "one_step", "posterior", "expected", "marginal")


@dataclass(frozen=True)
class Trained:
    units: str
    updates: str
    form: str


@dataclass(frozen=True)
class Drawn:
    units: str
    form: str
    seed: int


# In the learner


def gradients(agent: oc.CoagentActorCritic, rollouts: int, forms: tuple[dict[str, str], ...]) -> np.ndarray:
    """The gradient of the first layer's parameters in each of these choices of forms, from the same rollouts: (forms, rollouts, size)."""
    agent.update()  # so that the episodes that run are not all new
    assert agent.running is not None
    units = [p for name, p in agent.module.policies.named_parameters() if "unit_1_" in name]
    found = list[list[Tensor]]()
    for _ in range(rollouts):
        rollout = collect(agent.module, agent.sampler, agent.spec, agent.running, agent.size.num_steps)
        found.append([])
        for chosen in forms:
            batch = make_batch(agent.module, agent.spec, rollout, agent.settings, chosen)
            parts = torch.autograd.grad(agent.losses(batch)[:-1].sum(), units)
            found[-1].append(torch.cat([part.flatten() for part in parts]))
    return torch.stack([torch.stack(each) for each in found]).transpose(0, 1).double().numpy()


def in_learner(units: int, updates: int, rollouts: int, seed: int = 0) -> None:
    """Write the rows of both forms."""
    agent = make("CartPole-v1", str(units), "score", seed)
    for _ in range(updates):
        agent.update()
    agent.settings = replace(agent.settings, num_steps=32, ent_coef=0.0)
    score = dict(agent.forms)
    posterior = {name: "posterior" if name.startswith("unit") else form for name, form in score.items()}
    for name, samples in zip(("score", "posterior"), gradients(agent, rollouts, (score, posterior)), strict=True):
        noise = float(samples.var(axis=0, ddof=1).sum())
        signal = float((samples.mean(axis=0) ** 2).sum()) - noise / rollouts  # of the mean, less what is noise in it
        rows.write(LEARNER, Trained(str(units), str(updates), name), {"rollouts": rollouts, "variance": noise, "signal": signal})


# In the simulator


def problem(units: int, seed: int) -> tuple[oc.MDP, oc.CoagentNetwork, dict[str, np.ndarray]]:
    """The gridworld, a layer of so many bits as tables, and parameters that are drawn as those of a fresh learner are."""
    mdp = oc.MDP.from_env(gym.make("optioncoagent_envs:OptionCoagent/Gridworld-v0"), 0.99)
    network, rng = stochastic_layers((units,), mdp.num_actions, additive=True), np.random.default_rng(seed)
    terms = {f"unit_1_{i}": rng.normal(0, 0.01, (mdp.num_observations, 2)) for i in range(units)}
    terms["action"] = np.concatenate([np.zeros((1, mdp.num_actions)), rng.normal(0, units**-0.5, (2 * units, mdp.num_actions))])
    return mdp, network.tabulated(), expanded(network, terms, mdp.num_observations)


def in_simulator(units: int, seed: int, episodes: int) -> None:
    """Write the rows of all forms that have none."""
    there = rows.read(SIMULATOR, Drawn)
    missing = [form for form in FORMS if Drawn(str(units), form, seed) not in there]
    if not missing:
        return
    mdp, network, params = problem(units, seed)
    bits = [name for name in network.names if name != "action"]
    q, exact = critic_values(mdp, network, params), oc.policy_gradient(mdp, network, params)
    signal = sum(float((exact[name] ** 2).sum()) for name in bits)
    for form in missing:
        known: dict[str, Any] = {"critic": q} if form != "score" else {"baseline": q.reshape(mdp.num_states, -1).mean(axis=1)}
        estimate = oc.estimate_gradient(mdp, network, params, episodes, seed, form=form, **known)
        noise = episodes * sum(float((estimate.standard_error[name] ** 2).sum()) for name in bits)
        rows.write(SIMULATOR, Drawn(str(units), form, seed), {"episodes": episodes, "variance": noise, "signal": signal})


# What was measured


def relative() -> dict[str, dict[int, float]]:
    """In the simulator: variance over the square of the exact gradient, its geometric mean over the parameters, {form: {units: it}}."""
    measured, found = rows.read(SIMULATOR, Drawn), dict[str, dict[int, float]]()
    for form in FORMS:
        logs: dict[int, list[float]] = {}
        for run, row in measured.items():
            if run.form == form:
                logs.setdefault(int(run.units), []).append(np.log(row["variance"] / row["signal"]))
        found[form] = {units: float(np.exp(np.mean(logs[units]))) for units in sorted(logs)}
    return found


def tables() -> None:
    measured = rows.read(LEARNER, Trained)
    for units, updates in sorted({(int(run.units), int(run.updates)) for run in measured}, key=lambda pair: pair[::-1]):
        score, posterior = (measured[Trained(str(units), str(updates), form)] for form in ("score", "posterior"))
        noise, less = score["variance"], posterior["variance"]
        mean = posterior["signal"]  # both have the same, and this one less noise in it
        print(f"{units:>4} bits, {updates:>2} updates: score {noise:.3g}, posterior {less:.3g}, ratio {noise / less:.0f}, mean² {mean:.2g}")
    for form, by_units in relative().items():
        print(f"{form:10}", *(f"{units} bits {value:.3g} " for units, value in by_units.items()))


def picture(out: Path) -> None:
    figure = Figure(figsize=(10.5, 4.8), layout="constrained", dpi=130)
    left, right = figure.subplots(1, 2)
    names = {"score": "score, sampled returns less V(s)", "one_step": "score, exact critic"}
    for number, (form, by_units) in enumerate(relative().items()):
        style = "s--" if form == "marginal" else "o-"  # almost the same as expected
        left.plot([*by_units], [*by_units.values()], style, markersize=4, color=f"C{number}", label=names.get(form, form))
    left.set(title="3x3 gridworld, simulator, exact critic", ylabel="variance of one episode's gradient / |∇J|²")
    measured = rows.read(LEARNER, Trained)
    for form, colour in (("score", "C0"), ("posterior", "C2")):
        for updates, style in (("0", "o-"), ("10", "s--")):
            points = sorted(
                (int(run.units), row["variance"]) for run, row in measured.items() if (run.form, run.updates) == (form, updates)
            )
            if points:
                when = "fresh" if updates == "0" else f"after {updates} updates"
                right.plot(*zip(*points, strict=True), style, color=colour, label=f"{form}, {when}")
    right.set(title="CartPole-v1, learner, own critic", ylabel="variance of one rollout's gradient")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("bits in the layer")
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.13))
    figure.savefig(out)


@dataclass(frozen=True)
class Benchmark:
    learner_units: tuple[int, ...] = (16, 32, 64, 128, 256)
    """Bits of the layer, in the learner."""
    updates: tuple[int, ...] = (0, 10)
    """After which the learner's are measured."""
    rollouts: int = 100
    """Of the learner."""
    simulator_units: tuple[int, ...] = (1, 2, 4, 6, 8, 10)
    """Bits of the layer, in the simulator."""
    seeds: int = 10
    """Draws of the parameters, in the simulator."""
    episodes: int = 5_000
    """Of each form, in the simulator."""
    out: Path = LEARNER.parent / "figures" / "many_coagents.png"
    """The picture."""


def main(command: Benchmark) -> None:
    for units, seed in ((units, seed) for units in command.simulator_units for seed in range(command.seeds)):
        in_simulator(units, seed, command.episodes)
    for updates, units in ((updates, units) for updates in command.updates for units in command.learner_units):
        if Trained(str(units), str(updates), "posterior") not in rows.read(LEARNER, Trained):
            in_learner(units, updates, command.rollouts)
    tables()
    picture(command.out)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(tyro.cli(Benchmark))
