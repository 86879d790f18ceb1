"""CoagentActorCritic: trains any coagent network from its local gradients, from the description alone.

Every coagent has a head of its own and a local gradient of its own, gated by whether it executed (ACN, the asynchronous coagent policy
gradient theorem); one critic Q(s, K) gives every baseline and every expected form. The order of one update is: collect, rewards,
sweep, returns, epochs.
"""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, VectorEnv
from torch import Tensor, nn

from optioncoagent.agents import carried, checkpoint, degeneracy, distributions, losses, metrics, progress, tables
from optioncoagent.agents.bar import Bar
from optioncoagent.agents.diversity import Diversity
from optioncoagent.agents.encoder import Encoder
from optioncoagent.agents.environments import Interface, checked_env_kwargs, layers, make_vector_env
from optioncoagent.agents.evaluation import STATISTICS, Evaluation, run_episodes
from optioncoagent.agents.exploration import CountBonus, default_coef, make_bonus
from optioncoagent.agents.forms import choose_forms, sampled
from optioncoagent.agents.gates import check_gates
from optioncoagent.agents.minibatches import by_environment, by_step
from optioncoagent.agents.modules import hold, make_module
from optioncoagent.agents.observations import told_apart
from optioncoagent.agents.places import places_of
from optioncoagent.agents.rollout import Rollout, Running, Sampler, check, collect, reset, tick, watch
from optioncoagent.agents.scale import ReturnScale
from optioncoagent.agents.schedule import Schedule
from optioncoagent.agents.settings import EVALUATION_SEED, EVALUATION_STEPS, make_settings
from optioncoagent.agents.sizes import Size, next_size
from optioncoagent.agents.targets import Batch, make_batch
from optioncoagent.agents.torch_state import derive_seed, seeded, tiny_is_zero, torch_threads
from optioncoagent.network import Coagent, CoagentNetwork
from optioncoagent.network.aspects import aspects

Row = dict[str, float]
RewardStage = Callable[[Rollout], tuple[Rollout, Row]]  # does something to the rewards of a rollout before anything is learned from them


class CoagentActorCritic:
    """An agent that trains `network` on `env`.

    env: an environment id, a Gymnasium Env or VectorEnv. env_kwargs: what an id is made with. network: any `CoagentNetwork`, or a function
    from the number of actions (a tuple of them for a MultiDiscrete space, which takes as many action coagents; for a Box a `Gaussian`,
    which the action coagent gets in place of a number) to one. encoder: a torch module from observations (a tensor, or a dict of tensors
    for a Dict or Tuple space) to (n, features), in place of the default one; if another agent has it, a copy as it is then.
    forms: {coagent: "expected" | "difference" | "score" | "posterior"}, its gradient form; by default expected wherever the critic knows
    its output, otherwise posterior if it can be, and else score. posterior, for outputs that additive coagents alone read, is score
    averaged over what the output may have been, given what these gave. Where observations hide the state and recurrent_size is 0, the
    critic cannot tell what a coagent of the network remembers: give such a coagent the form score, with gae_lambda=1.
    summary: a function from the metrics of an update to further ones, which the progress bar shows.
    settings: the fields of `Settings`.

    Raises ValueError, before anything is trained, for what cannot be: an unsupported space, another number of actions, a setting out
    of range; TypeError for a setting that there is not, or an `env` that is no environment.
    """

    def __init__(
        self,
        env: Any,
        network: CoagentNetwork | Callable[[Any], CoagentNetwork],
        *,
        encoder: nn.Module | None = None,
        forms: Mapping[str, str] | None = None,
        summary: Callable[[Row], Row] | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        **settings: Any,
    ):
        self.settings = self.given = make_settings(settings)  # given: as they were before the environment decided on some
        self._env: VectorEnv | None = None
        self._by_id = isinstance(env, Interface)  # loaded, and no other environment given
        if isinstance(env, Interface):
            kwargs = env.env_kwargs if env_kwargs is None else checked_env_kwargs(env_kwargs)
            self.interface = replace(env, env_kwargs=kwargs, spec=env.spec.taken_for(self.settings.observation_kinds))
        else:
            self._env = make_vector_env(env, self.settings.num_envs, self.settings.seed, env_kwargs)
            self.settings = replace(self.settings, num_envs=self._env.num_envs)
            env_id = env if isinstance(env, str) else None
            self.interface = Interface.of(self._env, env_id, env_kwargs, self.settings.observation_kinds)
        self.spec = self.interface.spec
        if self.settings.int_coef is None:
            self.settings = replace(self.settings, int_coef=default_coef(self.spec, self.env.single_observation_space))
        if self.settings.int_counts == "auto":
            self.settings = replace(self.settings, int_counts="observation" if places_of(self.env) is None else "place")
        self.network = network = self.interface.actions.network(network)
        self.forms = choose_forms(network, forms or {})
        self.settings.check_coagents(network.names)
        if "critic" in network.names:
            raise ValueError("coagent 'critic': the learner's critic has that name in the rows; give the coagent another one")
        self.summary = summary or (lambda row: {})
        self.description: dict[str, Any] = {}  # saved with the agent: what a subclass needs to make the network again

        seed, device = self.settings.seed, self.settings.device
        with torch_threads(self.settings.torch_threads):  # of which the last digits of the first weights depend
            self.module = make_module(network, self.spec, self.settings, encoder).eval()  # but for the epochs, if an encoder has dropout
        self.shaping = self.module.shaping(network.names if self.settings.encoder_gradient == "all" else sampled(network, self.forms))
        self.frozen = self.module.parts(self.settings.frozen)
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=self.settings.learning_rate, eps=1e-5, fused=True)
        self.sampler = Sampler(network, derive_seed(seed, "train"), device)
        self.predict_sampler = Sampler(network, derive_seed(seed, "predict"), device)
        self.shuffle = torch.Generator().manual_seed(derive_seed(seed, "minibatches"))
        self.exploration = self._new_bonus()
        self.scale = ReturnScale(self.num_envs, self.settings.gamma) if self.settings.normalize_rewards else None
        diversity = Diversity(self.module, self.spec, self.settings.diversity_coef) if self.settings.diversity_coef else None
        stages: dict[str, RewardStage | None] = {"exploration": self.exploration, "diversity": diversity, "scale": self.scale}
        self.rewards = {name: stage for name, stage in stages.items() if stage is not None}  # in order
        self.schedule = Schedule()
        self.goal: int | None = None  # the number of steps that `learn` trains to, while it does
        self.loss_names = (*(f"{c.name}/loss" for c in network.by_kind), "critic/loss")
        self.running: Running | None = None
        self.acted: tuple[dict[str, Tensor], dict[str, Tensor]] = {}, {}  # outputs, and who executed, in the last `predict`
        self._stopped_at: progress.Arrays = {}  # where a loaded agent's training goes on
        self.begun_with: str | None = None  # see `begin_with`
        self.num_timesteps = 0
        self.num_episodes = 0
        self.recent: deque[tuple[float, int]] = deque(maxlen=100)  # (return, length) of the last episodes
        hold(self.module)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.network}, {self.num_timesteps:,} steps on {self.interface.env_id or 'an environment object'})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy with an environment of its own, in the same episodes; TypeError, before anything is copied, for one that runs in other
        processes."""
        if self._env is not None and isinstance(self._env.unwrapped, AsyncVectorEnv):
            raise TypeError(
                "an AsyncVectorEnv runs in processes, which cannot be copied: save the agent, and load it with another environment"
            )
        memo[id(self)] = copy = type(self).__new__(type(self))
        vars(copy).update({name: deepcopy(value, memo) for name, value in vars(self).items()})
        copy.goal = None  # it is in no `learn`
        hold(copy.module)
        return copy

    def __copy__(self) -> Self:
        copy = type(self).__new__(type(self))
        vars(copy).update(vars(self))
        copy.goal = None
        return copy

    def __reduce__(self) -> Any:
        raise TypeError("an agent cannot be pickled: save it, agent.save(path), and load it in the other process")

    @property
    def env(self) -> VectorEnv:
        """The vector environment; a loaded agent makes its own when it is first needed, from its id. A reset of it ends the episodes that
        training was in: what is learned next begins new ones. (The first `learn` of a loaded agent goes on with those that were saved,
        whatever was done with it before.) ValueError if that is not like the one that it was trained on, as with other env_kwargs."""
        if self._env is None:
            self.interface.check_makeable()
            settings = self.settings
            made = make_vector_env(self.interface.env_id, settings.num_envs, settings.seed, self.interface.env_kwargs)
            try:
                self.interface.check(made, settings.observation_kinds)
            except ValueError:
                made.close()
                raise
            self._env = made
        return self._env

    @property
    def num_envs(self) -> int:
        """Environments stepped together."""
        return self.settings.num_envs or self.env.num_envs

    @property
    def size(self) -> Size:
        """How much the next update learns from."""
        return next_size(self.settings, self.num_envs, self.num_timesteps)

    # Training

    def learn(
        self,
        total_timesteps: int,
        progress_bar: bool = False,
        callback: Callable[[Any, Row], bool | None] | None = None,
        log: Callable[[Row], None] | None = None,
    ) -> Self:
        """Train for at least `total_timesteps` more steps, in whole rollouts; returns self. Called again it goes on.

        callback: called with the agent and the metrics of every update; False stops. log: called with those metrics. An interrupt (Ctrl-C)
        leaves the parameters as they were after the last whole minibatch; the steps of its rollout count. Raises ValueError for a
        total_timesteps that is no whole number, TypeError for a callback or log that is no function.
        """
        for name, given in (("callback", callback), ("log", log)):
            if given is not None and not callable(given):
                raise TypeError(f"{name}={given!r}: it must be a function")

        number = isinstance(total_timesteps, int | float | np.number) and not isinstance(total_timesteps, bool)
        if not number or not 0 <= total_timesteps < np.inf or total_timesteps != int(total_timesteps):
            raise ValueError(f"total_timesteps={total_timesteps!r}: it must be a whole number of at least 0")
        total_timesteps = int(total_timesteps)
        goal = self.num_timesteps + total_timesteps
        with self._aim(goal), Bar(total_timesteps, progress_bar) as bar:
            while self.num_timesteps < goal:
                before, row = self.num_episodes, self.update()
                shown = {"return" if self.num_episodes > before else "return (none ended)": row["return_mean"], **self.summary(row)}
                bar(min(int(row["timesteps"]), goal) - goal + total_timesteps, shown)
                if log is not None:
                    log(row)
                goes_on = None if callback is None else callback(self, row)
                if isinstance(goes_on, bool | np.bool_) and not goes_on:
                    break
        return self

    @contextmanager
    def _aim(self, goal: int) -> Iterator[None]:
        """Within the block `anneal_lr` knows where training goes; an update by itself has the full step size."""
        before, span = self.goal, self.schedule.span
        self.goal = goal
        try:
            yield
        finally:
            self.goal = before
            if before is not None:  # within another block, which goes on
                self.schedule.span = span

    def update(self) -> Row:
        """One rollout and the epochs on it; returns its metrics."""
        with torch_threads(self.settings.torch_threads):
            return self._update()

    def _update(self) -> Row:
        settings = self.settings
        self.running = self.running or self._start()
        if settings.anneal_lr:
            left = 1.0 if self.goal is None else self.schedule.left(self.num_timesteps, self.goal)
            self.optimizer.param_groups[0]["lr"] = settings.learning_rate * left

        # collect
        began = perf_counter()
        size = self.size
        with self.module.unchanged():
            rollout = collect(self.module, self.sampler, self.spec, self.running, size.num_steps)
        self.running.broken = True  # until all who look at a rollout have seen how it goes on from the one before
        check(self.spec, rollout)
        if not bool(rollout.valid.any()):  # one step long, and every environment was reset in it
            self.running.broken = False
            return self._update()
        self.num_timesteps += int(rollout.valid.sum())
        self.num_episodes += len(self.running.finished)
        self.recent.extend(self.running.finished)

        # rewards
        collected = perf_counter()
        row = {"timesteps": float(self.num_timesteps), "episodes": float(self.num_episodes), **metrics.episodes(self.recent)}
        row["num_steps"] = float(size.num_steps)
        # the least age of an episode in progress: where it grows no episode ends, and return_mean tells of the past
        row["steps_since_ending"] = float((self.running.age * self.running.valid).min())
        for stage in self.rewards.values():
            rollout, seen = stage(rollout)
            row |= seen
        self.running.broken = False

        # sweep, returns, forms
        batch = make_batch(self.module, self.spec, rollout, settings, self.forms)
        informations = degeneracy.informations(self.module, self.spec, rollout)  # of the policies that acted

        # epochs
        # of several threads torch's own would go on like that after the block
        with self._training(), tiny_is_zero() if settings.torch_threads == 1 else nullcontext():
            parts, divergence = self._epochs(rollout, batch, size)

        row |= {"minibatches": float(len(parts)), "kl": divergence}
        row |= dict(zip(self.loss_names, torch.stack(parts).mean(dim=0).tolist(), strict=True))
        row |= metrics.coagents(self.network, rollout, batch) | {name: float(x) for name, x in informations.items()}
        acting = collected - began - self.running.seconds
        learning = perf_counter() - collected
        seconds = {"seconds_environment": self.running.seconds, "seconds_acting": acting, "seconds_learning": learning}
        return row | self.summary(row) | seconds

    def _epochs(self, rollout: Rollout, batch: Batch, size: Size) -> tuple[list[Tensor], float]:
        """Passes over a rollout, until the actions' policies are too far from those that acted: the losses of each minibatch, and how far
        they were when that was last looked at (NaN if never). The step that went too far is taken back, though not out of Adam's moments,
        unless it was the first, so that something is learned."""
        cut, limit = by_step if rollout.hidden is None else by_environment, self.settings.target_kl
        own = not isinstance(self.module.encoder, Encoder)  # which may have dropout or batch norm
        state, before = [x.detach() for x in (*self.module.parameters(), *(self.module.buffers() if own else ()))], list[Tensor]()
        seen, divergence = list[Tensor](), math.nan
        for _ in range(size.update_epochs):
            for steps in cut(rollout.valid, size.num_minibatches, self.shuffle):
                minibatch = batch.at(steps)
                read = None if own else self._read(minibatch)
                if seen:
                    acting = self._read_as_it_acts(minibatch) if read is None else read.detach()
                    divergence = float(losses.divergence(self.network, acting, minibatch))
                    if limit is not None and divergence > limit:
                        if before:
                            torch._foreach_copy_(state, before)  # one call, which no interrupt can divide
                        return seen, divergence
                    before = [x.clone() for x in state] if limit is not None else []
                seen.append(self._step(self.losses(minibatch, read)))
        return seen, divergence

    def _step(self, parts: Tensor) -> Tensor:
        """One step of the optimiser against these losses."""
        # backward pass
        self.module.zero_grad(set_to_none=True)
        parts.sum().backward()
        for parameter in self.frozen:
            parameter.grad = None
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), self.settings.max_grad_norm)
        if not math.isfinite(norm):
            raise ValueError("the gradient is no longer finite: a smaller learning_rate, or smaller rewards, may help")
        self.optimizer.step()
        return parts.detach()

    def losses(self, batch: Batch, read: Tensor | None = None) -> Tensor:
        """What is minimised, in parts, in the order of `loss_names`: one for each coagent (objective and entropy bonus), one for the
        critic. read: what `_read` says of the batch, if it is there already."""
        read = self._read(batch) if read is None else read
        return losses.of_network(self.network, self.module.part, read, batch, self.settings.clip_coef, self.settings.vf_coef)

    def _read(self, batch: Batch) -> Tensor:
        """What the module says of the steps of a batch: the rows of its readout that they are about, (R, B)."""
        features, _ = self.module.encode(batch.inputs, batch.start, batch.hidden)
        readout = self.module.readout(features, shaping=self.shaping)
        return self.module.read(readout, batch.rows.T.contiguous(), batch.indicators)

    def _read_as_it_acts(self, batch: Batch) -> Tensor:
        """The same by an encoder that is not in training: what dropout and batch norm do then is no change of the policies."""
        self.module.eval()
        with torch.no_grad():
            read = self._read(batch)
        self._train()
        return read

    @contextmanager
    def _training(self) -> Iterator[None]:
        """In training mode. An encoder of one's own, which may have dropout, has random numbers of the seed, on the CPU: agents with such
        encoders learn one at a time, since all threads of the process share torch's generator."""
        own = not isinstance(self.module.encoder, Encoder)
        with seeded(self.settings.seed, f"epochs/{self.num_timesteps}") if own else nullcontext():
            self._train()
            try:
                yield
            finally:
                self.module.eval()

    def _train(self) -> None:
        """Into training mode, but for an encoder that is frozen, whose batch norm does not learn either."""
        self.module.train()
        if "encoder" in self.settings.frozen:
            self.module.encoder.eval()

    # Acting

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Actions for one observation or a batch, in Stable-Baselines3's contract.

        state: what the call before returned, the running outputs of the coagents in `network.memory` (n, memory), or None at the
        start; of a recurrent agent a pair, these and the hidden state (n, units). episode_start: (n,) bool, where an episode begins.
        deterministic: argmax of every policy; whether a coagent executes is still sampled. Raises ValueError for observations of another
        shape than the environment's, or of which nothing can be made, for a state that is none of these, and where episode_start
        has not one entry for each observation.
        """
        batched, tensors = self._seen(observation)
        n = len(next(iter(tensors.values())))
        start = torch.full((n,), state is None)
        if episode_start is not None:
            begun = np.asarray(episode_start, dtype=bool).reshape(-1)
            if len(begun) != n:
                raise ValueError(f"episode_start has {len(begun)} entries for {n} observations: give one for each")
            start |= torch.from_numpy(begun)
        start = start.to(self.settings.device)
        uniforms = self.predict_sampler.uniforms(1, n)[0]
        previous, hidden = self.predict_sampler.initial(uniforms), self.module.recurrence.initial(n)
        if state is not None:
            held, hidden = carried.checked(state, n, self.module)
            previous |= {name: torch.where(start, previous[name], held[:, j]) for j, name in enumerate(self.network.memory)}
        with torch.no_grad(), torch_threads(self.settings.torch_threads):
            features, hidden = self.module.features(self.spec.state(tensors), start, hidden)
            outputs, executed = tick(
                self.module, features, self.module.heads(), uniforms, self.spec.state(tensors), start, previous, deterministic
            )
        self.acted = outputs, executed
        action = self.interface.actions.taken(self.network, outputs)
        memory = np.array([outputs[name].cpu().numpy() for name in self.network.memory], dtype=np.int64).reshape(-1, n).T
        action, memory = (action, memory) if batched else (action[0], memory[0])
        if hidden is None:
            return action, memory
        return action, (memory, (hidden if batched else hidden[0]).cpu().numpy())

    def evaluate(
        self,
        num_episodes: int = 100,
        env: Any = None,
        seed: int = EVALUATION_SEED,
        deterministic: bool = False,
        max_steps: int = EVALUATION_STEPS,
    ) -> Evaluation:
        """Run episodes: their undiscounted returns and lengths, the same for the same seed. The training goes on undisturbed.

        env: an id, Env or VectorEnv to run them on; by default a new one from the agent's id, or from the spec of the environment object it
        was made from. deterministic: argmax of every policy; by default outputs are sampled (a deterministic agent can loop for ever).
        max_steps: an episode that has not ended by then is cut, which `cut` of the result, its str() and a warning tell.
        Raises ValueError for the environment that is trained on, whose episodes would be lost, and where no other can be made.
        """
        result = Evaluation.of(run_episodes(self, num_episodes, seed, deterministic, env, max_steps))
        if result.cut.any():
            warnings.warn(str(result), stacklevel=2)
        return result

    def _seen(self, observation: Any) -> tuple[bool, dict[str, Tensor]]:
        """Is this a batch of observations, and what it says, as a batch. Raises ValueError for a value that nothing can be made of."""
        batched = self.spec.is_batched(observation)
        tensors = self.spec.tensors(observation if batched else self.spec.stack([observation]), self.settings.device)
        sizes = {path: len(x) for path, x in tensors.items()}
        if len({*sizes.values()}) > 1:
            raise ValueError(f"all parts of a batched observation need the same batch size; these have {sizes}")
        fault = self.spec.fault(tensors)
        if fault is not None:
            raise ValueError(f"in observation {fault[0][0]} of the batch: {fault[1]}")
        return batched, tensors

    def probabilities(self, observation: Any, state: Any = None, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """The policies of these coagents, of every one by default, for these observations: {name: array}.

        Shapes as `network.init_params` has them, with the batch of observations (if it is one) as first axis of the coagents that
        observe. A Gaussian has (…, 2, size) in place of probabilities: mean and standard deviation of each number, in the units of the
        action, before what is drawn is brought within the bounds. See `params` for the exact solver. state: what `predict` returned
        before, on which a recurrent agent's policies depend; ValueError where it is missing, and naming a coagent that reads numbers of a
        Gaussian: its policy is no table.
        """
        return self._tables(observation, state, distributions.table, names)

    def _tables(
        self, observation: Any, state: Any, of: Callable[[Coagent, Tensor], Tensor], names: Iterable[str] | None = None
    ) -> dict[str, np.ndarray]:
        """`probabilities`, or what else there is `of` a coagent's parameters in `distributions`."""
        if state is None:
            self.check_tables()
        batched, tensors = self._seen(observation)
        with torch.no_grad():
            start = torch.zeros(len(next(iter(tensors.values()))), dtype=torch.bool, device=self.settings.device)
            hidden = carried.checked(state, len(start), self.module)[1] if self.settings.recurrent_size else None
            readout = self.module.readout(self.module.features(self.spec.state(tensors), start, hidden)[0])
            found = tables.of_readout(self.module, readout, of, names)
        return found if batched else {name: table[0] if self.network[name].observes else table for name, table in found.items()}

    def check_tables(self) -> None:
        """Raise ValueError for a recurrent agent, whose policies are no functions of the observation."""
        if self.settings.recurrent_size:
            raise ValueError(
                f"recurrent_size={self.settings.recurrent_size}: the policies of a recurrent agent depend on the hidden state too, so that "
                "there is no table of them for observations alone; probabilities(observation, state) has them for one state of predict"
            )

    def params(self, mdp: Any) -> dict[str, np.ndarray]:
        """The policies as parameters for the exact solver and the simulator, ln π, on an `MDP` made from the agent's environment.

        Observations are `mdp.observations` (a MiniGrid level), or 0, 1, … of a Discrete space; those that only the absorbing end has, which
        the environment never shows, get a row of zeros.
        """
        self.network.check_counted("tables of probabilities", "agent.probabilities(observation) has means and deviations")
        observations, seen = self.observations(mdp)
        found = self._tables(observations, None, distributions.log_table)
        return tables.padded(found, self.network, mdp.num_observations - seen)

    def observations(self, mdp: Any) -> tuple[Any, int]:
        """The observations of an `MDP` as one batch, in the order of their indices, and how many there are (see `params`).

        Raises ValueError for an MDP that is of another environment, with other actions, or observations that the agent's space has not.
        """
        return tables.observations(mdp, self.network, self.spec)

    def set_params(self, mdp: Any, params: Mapping[str, Any]) -> None:
        """Take over policies from tables of logits, the inverse of `params`; the critic and the optimiser stay as they are, and so do the
        policies for observations that are not among the MDP's.

        params: as `network.init_params(mdp.num_observations)` has them; rows for observations that the environment never shows are left
        out. Raises ValueError, and takes nothing over, where the policies are no tables (hidden_sizes=() on a Discrete space makes them),
        and for logits that do not fit or are -inf, which a linear layer cannot hold.
        """
        tables.take_over(self.module, self.spec, mdp, params)

    # Keeping

    def save(self, path: str | Path, overwrite: bool = False) -> None:
        """Write a folder with weights, optimiser, where training stands (safetensors) and settings (JSON).

        Raises FileExistsError if it holds an agent already.
        """
        if self.running is not None:
            stands = progress.to_arrays(self._generators, self.running, self._stages)
        else:
            stands = self._stopped_at or progress.of_stages(self._stages)
        counters = self.num_timesteps, self.num_episodes, list(self.recent)
        network = {} if self.description else aspects(self.network)
        settings, decided = asdict(self.settings), checkpoint.decided(self.given)
        saved = checkpoint.Saved(settings, self.forms, self.interface, *counters, self.description, network, decided)
        checkpoint.save(Path(path), saved, self.module, self.optimizer, stands, overwrite)

    @classmethod
    def load(
        cls,
        path: str | Path,
        network: CoagentNetwork | Callable[[Any], CoagentNetwork],
        env: Any = None,
        encoder: nn.Module | None = None,
        **settings: Any,
    ) -> CoagentActorCritic:
        """The agent saved in a folder; settings given here, forms among them, replace its own.

        The network (and an encoder of one's own) is code, so it is given again; loading never runs code from the folder. ValueError if it
        is another than the one the agent was made with, a warning if it only executes otherwise, or at another cost. To train on, `env`
        is needed if the agent was made from an environment object.

        On MiniGrid's compiled backend `learn` goes on as if it had never stopped, bit for bit, in the same episodes. Other environments
        are reset with the agent's seed. Where `env` is given, or env_kwargs, num_envs, seed, int_counts or int_form differ, the random
        states and what was counted start anew too, but not the scale of rewards and the step size of anneal_lr; on another device the
        random states.
        """
        saved = checkpoint.read(Path(path))
        interface = saved.interface if env is None else env
        given = {"forms": saved.forms, **saved.settings_for(env), **settings}

        made = saved.interface.actions.network(network)
        checkpoint.check_network(Path(path), made, saved.network)  # before forms are looked for of coagents that it may not have
        try:
            agent = cls(interface, made, encoder=encoder, **given)
        except ValueError as error:
            if env is not None:
                error.add_note(f"the agent in {path} was trained on {saved.interface.env_id or 'an environment object'}")
            raise
        agent.restore(Path(path), saved)
        agent.given = saved.left_to_the_environment(agent.given, settings)
        return agent

    def begin_with(self, path: str | Path) -> Self:
        """Take over what the agent saved in a folder has learned, on another task perhaps: weights, optimiser, the scale of rewards; steps
        and episodes are counted from 0. ValueError if it has another network, or its environment other observations or actions."""
        self.restore(Path(path), checkpoint.read(Path(path)))
        self.num_timesteps, self.num_episodes, self.schedule = 0, 0, Schedule()
        self.recent.clear()
        self.running, self._stopped_at = None, {}
        self.exploration = bonus = self._new_bonus()  # nothing is counted yet, whatever the agent has been through
        if bonus is not None:
            self.rewards["exploration"] = bonus
        self.begun_with = str(Path(path).resolve())
        return self

    def restore(self, folder: Path, saved: checkpoint.Saved) -> Self:
        """Take over what a folder holds: weights, optimiser, counters. ValueError if it was saved for another kind of environment."""
        of_both = ((x.spec, x.actions.num_actions) for x in (self.interface, saved.interface))
        for what, ours, theirs in zip(("", "the actions "), *of_both, strict=True):
            if ours != theirs:
                here, there = told_apart(ours, theirs)
                name = saved.interface.env_id or "an environment object"
                raise ValueError(f"{folder} was trained on {name} with {what}{there}; this environment has {what}{here}")
        checkpoint.check_network(folder, self.network, saved.network, warns=True)
        checkpoint.restore(folder, saved, self.module, self.optimizer)
        self.num_timesteps, self.num_episodes = saved.num_timesteps, saved.num_episodes
        ours = {name: getattr(self.settings, name) for name in ("num_envs", "seed", "int_counts", "int_form")}
        alike = all(saved.settings.get(name, value) == value for name, value in ours.items())
        alike = alike and self.interface.env_kwargs == saved.interface.env_kwargs
        stands, goes_on = saved.arrays[checkpoint.PROGRESS], self._by_id and alike
        kept = self._stages if goes_on else {name: part for name, part in self._stages.items() if name in ("scale", "schedule")}
        progress.restore_stages(stands, kept)
        if goes_on:
            self._stopped_at = stands
            self.recent.extend((episode_return, length) for episode_return, length in saved.recent)
        return self

    @property
    def _generators(self) -> dict[str, torch.Generator]:
        """What training draws from."""
        return {"": self.shuffle, **self.sampler.generators}

    @property
    def reward_scale(self) -> float:
        """What rewards are divided by before anything is learned from them: Q(s, K) is in these units."""
        return 1.0 if self.scale is None else self.scale.value

    @property
    def _stages(self) -> dict[str, Any]:
        """What else remembers from update to update, and says so `to_arrays`."""
        stages = {"exploration": self.exploration, "scale": self.scale, "schedule": self.schedule}
        return {name: stage for name, stage in stages.items() if stage is not None}

    def _new_bonus(self) -> CountBonus | None:
        return make_bonus(self.settings, self.spec, self._env, self.num_envs)

    def _start(self) -> Running:
        n, device = self.env.num_envs, self.settings.device
        if self._by_id and self.num_timesteps and any(STATISTICS & {*vars(layer)} for layer in layers(self.env)):
            warnings.warn("wrappers that normalise begin with new statistics, as those of the training so far are not kept", stacklevel=4)
        observation = reset(self.env, self.spec, self.settings.seed)
        check_gates(self.network, self.spec, self.spec.tensors(observation, device))
        start = torch.ones(n, dtype=torch.bool, device=device)
        age = torch.zeros(n, dtype=torch.long, device=device)
        outputs = {name: torch.zeros(n, dtype=torch.long, device=device) for name in self.sampler.laws}  # nobody reads them: all start
        hidden = self.module.recurrence.initial(n)
        running = Running(self.env, self.spec.tensors(observation, device), start, start.clone(), age, outputs, np.zeros(n), hidden)
        if self.exploration is not None and self.exploration.counting.counted == "place":
            running.places = places_of(self.env)
        if self._stopped_at:
            progress.from_arrays(self._stopped_at, self._generators, running, self.spec)
            self._stopped_at = {}
        watch(running)
        return running
