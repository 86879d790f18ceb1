"""Gradient forms of coagents: which there are, which a coagent may have, which it has where nobody chooses.

expected     Σ_u ∂π(u) W(u), where the critic knows the coagent's output
difference   the same of two outputs, from their difference
score        of the output that was drawn, with what was gained
posterior    score, averaged over what the output may have been, given what those that alone read it gave
"""

from __future__ import annotations

from collections.abc import Mapping

from optioncoagent.network import CoagentNetwork

FORMS = ("expected", "difference", "score", "posterior")


def available(network: CoagentNetwork, name: str) -> tuple[str, ...]:
    """The forms that a coagent may have."""
    real = name in network.gaussians
    known = not (name in network.unseen or network[name].additive or real)
    may = (known, known and network[name].num_outputs == 2, True, not real and only_read_in_sums(network, name))
    return tuple(form for form, may_be in zip(FORMS, may, strict=True) if may_be)


def choose_forms(network: CoagentNetwork, chosen: Mapping[str, str]) -> dict[str, str]:
    """The form of every coagent. Raises ValueError naming the coagent whose choice cannot be."""
    others = set(chosen) - set(network.names)
    if others:
        raise ValueError(f"forms names {sorted(others)}, but the coagents are {list(network.names)}")
    forms = {}
    for name in network.names:
        may = available(network, name)
        usual = next(form for form in ("expected", "posterior", "score") if form in may)
        forms[name] = form = chosen.get(name, usual)
        if form not in may:
            raise ValueError(f"coagent {name!r}: {_why_not(network, name, form)}")
    return forms


def _why_not(network: CoagentNetwork, name: str, form: str) -> str:
    if form not in FORMS:
        return f"gradient form {form!r}, choose one of {FORMS}"
    if form == "posterior" and name in network.gaussians:
        return "the form posterior is for finitely many outputs, and its output is Gaussian"
    if form == "posterior":
        return (
            "the form posterior is for an output that is neither action nor memory, and that nothing but the policies of additive coagents "
            f"read; {network.readers(name)} read it"
        )
    if form == "difference" and "expected" in available(network, name):
        return f"the form difference is for two outputs, it has {network[name].num_outputs}"
    return f"the critic does not know its output, so its gradient form is score, not {form}"


def sampled(network: CoagentNetwork, forms: Mapping[str, str]) -> list[str]:
    """The coagents that the encoder learns from by default: the actions, and those that learn from sampled returns (forms score and
    posterior); all coagents where none of these observes."""
    names = [name for name in network.names if name in network.action or forms[name] in ("score", "posterior")]
    return names if any(network[name].observes for name in names) else [*network.names]


def only_read_in_sums(network: CoagentNetwork, name: str) -> bool:
    """Does what a coagent gave matter through the policies of additive coagents of the same step alone?"""
    readers = [network[reader] for reader in network.readers(name)]
    return name not in (*network.action, *network.memory) and all(
        r.additive and name not in network.touched[r.name].upstream for r in readers
    )
