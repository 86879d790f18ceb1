"""Figures of degeneracy by enumeration: every way in which a step can go, and mutual information as Σ p ln p / (p p)."""

from collections import defaultdict

import numpy as np
from brute_force import ticks


def figures(network, policies, visits):
    """{name: value}, as `optioncoagent.exact.degeneracy` has them, of visits (weight, start, observation, outputs of the step before)."""
    total, executions, stays = 0.0, defaultdict(float), defaultdict(float)
    in_force, sure = (defaultdict(lambda: defaultdict(float)) for _ in range(2))
    joint = defaultdict(lambda: defaultdict(lambda: defaultdict(float)))  # {reader: {visit: {(x, u): probability}}}
    alike = defaultdict(lambda: defaultdict(lambda: defaultdict(float)))  # the same, by what else the policy reads
    for visit, (weight, start, observation, previous) in enumerate(visits):
        total += weight
        for way in ticks(network, start, observation, previous):
            p = weight * way.probability(policies)
            draws = dict(way.draws)
            for position, coagent in enumerate(network.coagents):
                name, u = coagent.name, way.outputs[position]
                in_force[name][u] += p
                if not start and u == previous[position]:
                    stays[name] += p
                if not way.executed[position]:
                    continue
                executions[name] += p
                for v in range(coagent.num_outputs):
                    sure[name][v] += p * (policies[name][(*draws[name][:-1], v)] > 0.95)
                if coagent.upstream:
                    x = tuple(way.outputs[network.names.index(other)] for other in coagent.upstream)
                    before = tuple(previous[network.names.index(other)] for other in coagent.previous)
                    joint[name][visit][x, u] += p
                    alike[name][observation * coagent.observes, before][x, u] += p
    found = {}
    for name in network.names:
        found[f"{name}/length"] = total / executions[name] if executions[name] else np.inf
        found[f"{name}/run_length"] = total / (total - stays[name])
        found[f"{name}/usage_entropy"] = -sum(p / total * np.log(p / total) for p in in_force[name].values() if p)
        found |= {f"{name}/sure_{u}": share / executions[name] for u, share in sure[name].items()}
    for name in joint:
        law = defaultdict(float)
        for table in joint[name].values():
            for (x, _), p in table.items():
                law[x] += p / executions[name]
        found[f"{name}/information"] = sum(map(_information, joint[name].values())) / executions[name]
        found[f"{name}/marginal_information"] = sum(map(_information, alike[name].values())) / executions[name]
        found[f"{name}/divergence"] = 0.0
        for visit, table in joint[name].items():
            _, start, observation, previous = visits[visit]
            coagent, mass = network[name], sum(table.values())
            read = (observation,) * coagent.observes
            before = tuple(previous[network.names.index(other)] for other in coagent.previous)
            redrawn = {(x, u): q * p * mass for x, q in law.items() for u, p in enumerate(policies[name][(*read, *x, *before)])}
            found[f"{name}/divergence"] += _information(redrawn) / executions[name]
    return found


def _information(table):
    """Σ p(x, u) ln [ p(x, u) P / (p(x) p(u)) ] of a table that sums to P."""
    of_x, of_u = defaultdict(float), defaultdict(float)
    for (x, u), p in table.items():
        of_x[x] += p
        of_u[u] += p
    whole = sum(table.values())
    return sum(p * np.log(p * whole / (of_x[x] * of_u[u])) for (x, u), p in table.items() if p)
