"""optioncoagent audit: is the gradient that a trained agent follows the true one?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from optioncoagent import flags
from optioncoagent.imports import full_id, plain_id
from optioncoagent.outputs import PICTURES, check_file, whole

if TYPE_CHECKING:
    from optioncoagent.auditing.examination import Examination
    from optioncoagent.mdp import MDP


@dataclass(frozen=True)
class Audit:
    """Compare what a trained agent's learner computes with the exact gradient, on one enumerated level or on a toy_text environment.

    Prints the agent's exact return there beside that of episodes, and for each coagent how far the learner's gradient is from the true
    one: by gradient form, by critic, and by what the agent's settings add. With --checkpoints, how that went along training.
    """

    run_dir: flags.RunDir
    """Folder of a run; its newest checkpoint is audited."""
    checkpoints: bool = False
    """Audit all checkpoints that the run has kept: the last three and the best."""
    level: int = 0
    """Seed of the MiniGrid level."""
    horizon: bool = False
    """Count the time: rewards that fall with it and the time limit are part of the MDP, max_steps times as large."""
    rollouts: int = 32
    """Rollouts that the learner's gradients are computed from; a multiple of 16, or the next one."""
    num_episodes: int = 100
    """Episodes whose return is compared with the exact one."""
    seed: int = 0
    """Seed of rollouts and episodes."""
    module: flags.Modules = ()
    network: flags.Network = None
    csv: Path | None = None
    """Write the rows to this file too."""
    out: Path | None = None
    """Picture to write, against the steps trained: FILE.png, .pdf, .svg."""

    def run(self) -> None:
        _run(self)


def _run(command: Audit) -> None:
    from optioncoagent import imports
    from optioncoagent.agents.files import checkpoints
    from optioncoagent.agents.loading import load_agent
    from optioncoagent.auditing import examine

    if command.num_episodes < 1:
        raise ValueError(f"num_episodes={command.num_episodes}: it must be at least 1")
    check_file("csv", command.csv)
    check_file("out", command.out, PICTURES)
    imports.import_named(command.module)
    folders = checkpoints(command.run_dir)[::-1] if command.checkpoints else [command.run_dir]
    if not folders:
        raise ValueError(f"{command.run_dir} holds no checkpoints")
    agents = [load_agent(folder, command.network) for folder in folders]
    agent = agents[-1]
    agent.interface.check_makeable()
    assert agent.interface.env_id is not None
    agent.check_tables()
    mdp, max_steps = _enumerate(agent.interface.env_id, agent.interface.env_kwargs, agent.settings.gamma, command)
    print(mdp)
    rows: list[dict[str, Any]] = []
    for agent in agents:
        found = examine(agent, mdp, command.rollouts, command.seed, None if command.horizon else max_steps)
        J = _returns(agent, mdp, command, found)
        print(f"after {agent.num_timesteps:,} steps: {J}")
        rows += [moment(agent, J, found) | row._asdict() for row in found.rows]
        if len(agents) == 1:
            print(table(found))
    if len(agents) > 1:
        print(along(rows))
    if command.csv is not None:
        import csv

        with whole(command.csv) as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    if command.out is not None:
        from optioncoagent.auditing.picture import draw

        with whole(command.out) as path:
            draw(rows).savefig(path)
        print(command.out)


def _enumerate(env_id: str, env_kwargs: dict[str, Any], gamma: float, command: Audit) -> tuple[MDP, int | None]:
    """The MDP of an agent's environment, and the time limit of its episodes."""
    import gymnasium as gym

    from optioncoagent.agents.environments import names_minigrid
    from optioncoagent.mdp import MDP

    if names_minigrid(env_id):
        if env_kwargs:
            raise ValueError(
                f"{command.run_dir} holds an agent that was trained with env_kwargs={env_kwargs}: a level is enumerated without"
            )
        mdp = MDP.from_minigrid(env_id, gamma, command.level, command.horizon, "egocentric", progress_bar=True)
        with gym.make(plain_id(env_id)) as env:
            return mdp, int(env.unwrapped.max_steps)  # type: ignore[attr-defined]
    if command.level or command.horizon:
        raise ValueError(f"--level and --horizon are for MiniGrid environments, not for {env_id}")
    with closing(gym.make(full_id(env_id), **env_kwargs)) as env:
        assert env.spec is not None
        return MDP.from_env(env, gamma), env.spec.max_episode_steps


class Returns(NamedTuple):
    """The exact J, and what episodes on the environment itself gave: mean and standard error where they are of the same kind, else NaN."""

    exact: float
    mean: float
    error: float
    words: str

    def __str__(self) -> str:
        return self.words


def _returns(agent: Any, mdp: MDP, command: Audit, found: Examination) -> Returns:
    """The exact return, costs left out, beside the mean over episodes."""
    import numpy as np

    from optioncoagent.agents.environments import names_minigrid
    from optioncoagent.exact import expected_return
    from optioncoagent.exact.forms import undiscounted_mdp
    from optioncoagent.network import CoagentNetwork

    num_envs = min(agent.num_envs, command.num_episodes)
    env = one_level(agent.interface.env_id, command.level, num_envs) if names_minigrid(agent.interface.env_id) else None
    episodes = agent.evaluate(command.num_episodes, seed=command.seed, env=env)
    discounted = discounted_successes(episodes.returns, episodes.lengths, mdp.gamma)
    told, what = replace(episodes, returns=discounted), f"success pays {mdp.gamma:g}^t"
    exact, note, network = found.expected_return, "", agent.network.tabulated()
    if any(c.cost for c in network.coagents):  # episodes are of rewards alone
        network = CoagentNetwork([replace(c, cost=0.0) for c in network.coagents], network.action)
        exact = expected_return(mdp, network, agent.params(mdp))
    if command.horizon:
        exact = expected_return(undiscounted_mdp(mdp), network, agent.params(mdp))
        told, what = episodes, "the environment's own return"
    elif env is None:
        return Returns(exact, np.nan, np.nan, f"J exact {exact:.4f}, discounted; undiscounted, {episodes}")
    else:
        note = " (episodes are cut by the time limit, of which the exact one knows nothing)"
    mean, error = float(told.returns.mean()), told.standard_error
    return Returns(exact, mean, error, f"J ({what}): exact {exact:.4f}, {len(told.returns)} episodes {mean:.4f} ± {error:.4f}{note}")


def moment(agent: Any, J: Returns, found: Examination) -> dict[str, Any]:
    """What is said of an agent at one moment of its training: steps, J, and the errors of its critic."""
    own = found.critic[0]._asdict()
    return {"timesteps": agent.num_timesteps, "J": J.exact, "J_episodes": J.mean, "J_error": J.error} | {
        f"critic_{key}": x for key, x in own.items() if key != "critic"
    }


def discounted_successes(returns: Any, lengths: Any, gamma: float) -> Any:
    """γ^(length - 1) where an episode earned anything: the discounted return of one that pays 1 with its last step."""
    import numpy as np

    return np.where(np.asarray(returns) > 0, gamma ** (np.asarray(lengths) - 1.0), 0.0)


def one_level(env_id: str, level: int, num_envs: int) -> Any:
    """A vector environment of a MiniGrid task whose every episode is the level of one seed."""
    import gymnasium as gym
    import minigrid  # noqa: F401, registers the ids
    from gymnasium.vector import AutoresetMode, SyncVectorEnv

    class OneLevel(gym.Wrapper[Any, Any, Any, Any]):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
            return self.env.reset(seed=level, options=options)

    return SyncVectorEnv([lambda: OneLevel(gym.make(plain_id(env_id)))] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)


def table(found: Examination) -> str:
    """Rows as text."""
    forms = {row.coagent: row.form for row in found.rows if row.settings}
    lines = [f"{found.steps:,} steps, {found.episodes:,} episodes"]
    for e in found.critic:
        lines.append(f"critic, {e.critic}: error {e.rmse:.4g} (of which mean {e.mean:+.4g}), Q itself varies by {e.spread:.4g}")
        if e.apart_exact > 0:
            apart = f"varies by {e.apart:.3g}, Q itself by {e.apart_exact:.3g}, correlation {e.correlation:+.2f}"
            lines.append(f"    between outputs at one state it {apart}")
    width = 2 + max(len("coagent"), *(len(row.coagent) for row in found.rows))
    head = f"{'coagent':<{width}}{'form':<13}{'critic':<22}{'with':<24}{'cosine':>8}{'±':>7}{'norm ratio':>12}{'noise':>9}{'|exact|':>11}"
    lines.append(head)
    group: tuple[str, str] = ("", "")
    for row in found.rows:
        if (row.critic, row.deviation) != group and group != ("", ""):
            lines.append("")
        group = row.critic, row.deviation
        form = row.form + "*" * (row.form == forms[row.coagent])
        left = f"{row.coagent:<{width}}{form:<13}{row.critic:<22}{row.deviation:<24}"
        numbers = f"{'lost':>8}{'':>7}{'':>12}" if row.lost else f"{row.cosine:>8.3f}{row.cosine_error:>7.3f}{row.norm_ratio:>12.3f}"
        lines.append(f"{left}{numbers}{row.noise:>9.3g}{row.exact_norm:>11.3g}")
    return "\n".join([*lines, *LEGEND])


LEGEND = (
    "",
    "*: the form that the agent learns with. with: which of the agent's settings are added to the base estimate, which is exact if the",
    "critic is (nothing: every step weighed by γ^t, advantages as they are, no entropy bonus, no clipping). The last rows have all of its",
    "settings but the exploration bonus and the reward for diversity; what is frozen is shown as if it learned.",
    "cosine and norm ratio: of the estimate's mean to the exact gradient. noise: of one rollout, over the estimate's mean.",
    "lost: the mean is below its own standard error; where noise is near the square root of the number of rollouts the others say little.",
)


def along(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of several moments as text, a line for each moment and coagent, in the form that the agent learns with."""
    from optioncoagent.auditing.examination import EXACT, OWN, own_forms

    forms = own_forms(rows)
    width = 2 + max(len("coagent"), *map(len, forms))
    titles = ("own critic", "exact critic", "own, all settings")
    head = f"{'steps':>12}  {'coagent':<{width}}{'form':<12}" + "".join(f"{title:>26}" for title in titles) + f"{'|exact|':>11}"
    lines = ["", head, f"{'':{26 + width}}" + f"{'cosine':>12}{'norm ratio':>14}" * 3]
    for step in sorted({row["timesteps"] for row in rows}):
        for coagent, form in forms.items():
            mine = [row for row in rows if (row["timesteps"], row["coagent"], row["form"]) == (step, coagent, form)]
            shown = (
                next(row for row in mine if row["critic"] == OWN and not row["deviation"]),
                next(row for row in mine if row["critic"] == EXACT),
                [row for row in mine if row["settings"]][-1],
            )
            numbers = (f"{'lost':>12}{'':>14}" if row["lost"] else f"{row['cosine']:>12.3f}{row['norm_ratio']:>14.3f}" for row in shown)
            lines.append(f"{step:>12,}  {coagent:<{width}}{form:<12}{''.join(numbers)}{shown[0]['exact_norm']:>11.3g}")
    return "\n".join([*lines, "", *LEGEND[4:]])
