"""optioncoagent audit: is the gradient that a trained agent follows the true one?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from optioncoagent.auditing.examination import Examination
    from optioncoagent.mdp import MDP


@dataclass(frozen=True)
class Audit:
    """Compare what a trained agent's learner computes with the exact gradient, on one enumerated level or on a toy_text environment.

    Prints the agent's exact return there beside that of episodes, and for each coagent how far the learner's gradient is from the true
    one: by gradient form, by critic, and by what the agent's settings add.
    """

    run_dir: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN_DIR")]
    """Folder of a run."""
    level: int = 0
    """Seed of the MiniGrid level."""
    horizon: bool = False
    """Count the time: rewards that fall with it and the time limit are part of the MDP, max_steps times as large."""
    rollouts: int = 32
    """Rollouts that the learner's gradients are computed from."""
    num_episodes: int = 100
    """Episodes whose return is compared with the exact one."""
    seed: int = 0
    """Seed of rollouts and episodes."""
    module: tuple[str, ...] = ()
    """Modules to import before, which register the environment; one that the run names is only imported from the working directory."""
    csv: Path | None = None
    """Write the rows to this file too."""

    def run(self) -> None:
        _run(self)


def _run(command: Audit) -> None:
    from optioncoagent import imports
    from optioncoagent.agents import OptionCritic
    from optioncoagent.auditing import examine

    if command.num_episodes < 1:
        raise ValueError(f"num_episodes={command.num_episodes}: it must be at least 1")
    imports.import_named(command.module)
    agent = OptionCritic.load(command.run_dir)
    imports.import_own(agent.interface.env_id, command.run_dir)
    agent.interface.check_makeable()
    agent.check_tables()
    mdp, max_steps = _enumerate(agent.interface.env_id, agent.interface.env_kwargs, agent.settings.gamma, command)
    print(mdp)
    found = examine(agent, mdp, command.rollouts, command.seed, None if command.horizon else max_steps)
    print(_returns(agent, mdp, command, found))
    print(table(found))
    if command.csv is not None:
        import csv

        with command.csv.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(found.rows[0]._fields)
            writer.writerows(found.rows)


def _enumerate(env_id: str, env_kwargs: dict[str, Any], gamma: float, command: Audit) -> tuple[MDP, int | None]:
    """The MDP of an agent's environment, and the time limit of its episodes."""
    import gymnasium as gym

    from optioncoagent.mdp import MDP

    if is_minigrid(env_id):
        if env_kwargs:
            raise ValueError(
                f"{command.run_dir} holds an agent that was trained with env_kwargs={env_kwargs}: a level is enumerated without"
            )
        mdp = MDP.from_minigrid(env_id, gamma, command.level, command.horizon, "egocentric", progress_bar=True)
        with gym.make(env_id) as env:
            return mdp, int(env.unwrapped.max_steps)  # type: ignore[attr-defined]
    if command.level or command.horizon:
        raise ValueError(f"--level and --horizon are for MiniGrid environments, not for {env_id}")
    if not env_kwargs:
        return MDP.from_env(env_id, gamma), gym.spec(env_id).max_episode_steps
    env = gym.make(env_id, **env_kwargs)
    mdp = MDP.from_env(env, gamma)
    env.close()
    return mdp, gym.spec(env_id).max_episode_steps


def is_minigrid(env_id: str) -> bool:
    return env_id.rpartition(":")[2].removeprefix("OptionCoagent/").startswith(("MiniGrid-", "BabyAI-"))


def _returns(agent: Any, mdp: MDP, command: Audit, found: Examination) -> str:
    """The exact return beside the mean over episodes on the environment itself."""
    import numpy as np

    env = one_level(agent.interface.env_id, command.level, agent.settings.num_envs) if is_minigrid(agent.interface.env_id) else None
    episodes = agent.evaluate(command.num_episodes, seed=command.seed, env=env)
    returns, what = discounted_successes(episodes.returns, episodes.lengths, mdp.gamma), f"success pays {mdp.gamma:g}^t"
    exact, note = found.expected_return, ""
    if command.horizon:
        from optioncoagent.exact import expected_return
        from optioncoagent.mdp import MDP

        undiscounted = MDP(mdp.P, mdp.R, mdp.d0, 1.0, mdp.terminal, mdp.observation)
        exact = expected_return(undiscounted, agent.network, agent.params(mdp))
        returns, what = episodes.returns, "the environment's own return"
    elif env is None:
        return f"J exact {exact:.4f}, discounted; {episodes}"
    else:
        note = " (episodes are cut by the time limit, of which the exact one knows nothing)"
    error = returns.std(ddof=1) / np.sqrt(len(returns)) if len(returns) > 1 else np.nan
    return f"J ({what}): exact {exact:.4f}, {len(returns)} episodes {returns.mean():.4f} ± {error:.4f}{note}"


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

    return SyncVectorEnv([lambda: OneLevel(gym.make(env_id))] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)


def table(found: Examination) -> str:
    """Rows as text."""
    lines = [f"{found.steps:,} steps, {found.episodes:,} episodes"]
    for e in found.critic:
        lines.append(f"critic, {e.critic}: error {e.rmse:.4g} (of which mean {e.mean:+.4g}), Q itself varies by {e.spread:.4g}")
        if e.apart_exact > 0:
            apart = f"varies by {e.apart:.3g}, Q itself by {e.apart_exact:.3g}, correlation {e.correlation:+.2f}"
            lines.append(f"    between outputs at one state it {apart}")
    lines.append(f"{'coagent':<14}{'form':<12}{'critic':<22}{'with':<24}{'cosine':>8}{'±':>7}{'norm ratio':>12}{'noise':>9}{'|exact|':>11}")
    for row in found.rows:
        left = f"{row.coagent:<14}{row.form:<12}{row.critic:<22}{row.deviation:<24}"
        numbers = f"{'lost':>8}{'':>7}{'':>12}" if row.lost else f"{row.cosine:>8.3f}{row.cosine_error:>7.3f}{row.norm_ratio:>12.3f}"
        lines.append(f"{left}{numbers}{row.noise:>9.3g}{row.exact_norm:>11.3g}")
    lines.append("cosine and norm ratio: of the estimate's mean to the exact gradient. noise: of one rollout, over the estimate's mean.")
    lines.append("lost: the mean is below its own standard error.")
    return "\n".join(lines)
