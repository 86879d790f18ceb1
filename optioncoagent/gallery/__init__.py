"""A gallery of networks: each a function of a few lines that returns a `CoagentNetwork`. numpy only.

    options         option_critic: one level of options or N, deliberation cost. TERMINATE, CONTINUE
    durations       always_terminating, random_length, clocked_options (fixed lengths: cycle): ends that no state decides
    feed_forward    feed_forward_options: layers of options, with shared parameters or without
    double          double_actor_critic: the option reads the one before, and is drawn at every step; double_params
    initiation      initiation_sets: coagents that say which options are available
    layers          stochastic_layers: small stochastic units; without layers the flat policy
    additions       with_memory, with_gate: functions from network to network

Each docstring has the network's picture, its source, and what it is equal to. tests/gallery holds all of this against the exact solver, the
simulator and the learner, none of which has a line for any of them. They compose: `with_memory(option_critic(4, 7), 3)`.

**One of your own** is written in the same way. A manager that decides every four steps on average, a worker, and a gate that learns
when the worker's last action is repeated; the gradient, exact and by differences; a training; what the options do:

    import gymnasium as gym, numpy as np, optioncoagent as oc
    from optioncoagent.gallery import random_length, with_gate

    def describe(num_actions):
        return with_gate(random_length(4, num_actions, mean_length=4), "action")

    mdp = oc.MDP.from_env(gym.make("optioncoagent_envs:OptionCoagent/Gridworld-v0"), gamma=0.9)
    network = describe(mdp.num_actions)
    params = network.init_params(mdp.num_observations, seed=0)
    exact, slopes = oc.policy_gradient(mdp, network, params), oc.finite_difference(mdp, network, params)
    assert all(np.allclose(exact[name], slopes[name], atol=1e-7) for name in network.names)

    agent = oc.CoagentActorCritic("MiniGrid-Empty-5x5-v0", describe, seed=0)
    agent.learn(20_000)
    policies = agent.probabilities(agent.env.reset(seed=1)[0])
    print(policies["option"][0])  # (4,): which option is chosen here
    print(policies["action"][0].round(2))  # (4, 7): what each does here
    print(policies["action_gate"][0, :, 1])  # (7,): how surely each action is repeated (CLOSED is 1)

`python -m optioncoagent.examples.own_hierarchy` goes this way with another hierarchy, written out coagent by coagent, and draws an episode.

Pictures: an arrow is read by a policy, a dotted line by an execution function, name_{t-1} is an output of the step before.

**What a description cannot say**, and why:

* *A policy that is given*: a copy, a counter, a maximum, a rule. Each coagent has a softmax of parameters that are learned, and one that
  executes may give any output, the same as before among them; so no memory can count for sure. A clock that counts is therefore
  `clocked_options` at the parameters `cycle`, which hardly move, and an action that takes the option that a third coagent has accepted
  needs a table over all three. Only execution functions are given.
* *Two coagents in one policy*: an interest function that multiplies the policy over options, which is normalised again ("Options of
  Interest"), a mixture or product of experts. With tables it is no further network: it gives the option coagent of `option_critic` other
  coordinates, ln π_Ω + ln I, and a gradient in them by the chain rule. Proposing and rejecting until an option is accepted would take two
  coagents and no such policy, but a coagent executes at most once in a step.
* *A policy of other features of the outputs that it reads* than tables over their joint values, or sums of a term for each (`additive`):
  an embedding of options, say; nor can coagents of other shapes share parameters.
* *An output that is neither one of finitely many nor Gaussian*: the directions of feudal networks' goals. Gaussian and additive coagents
  are the learner's: exact solver and simulator take tables.
* *An objective of one's own*: intrinsic rewards of a level, the termination critic, diversity terms. All coagents ascend the same return; a
  cost is a number for an execution, not a function of the state.
* *An execution function that knows values*: options that are interrupted when another is better (Sutton, Precup, Singh, 1999). It sees
  states and outputs only.
"""

from optioncoagent.gallery.additions import CLOSED, OPEN, with_gate, with_memory
from optioncoagent.gallery.double import double_actor_critic, double_params
from optioncoagent.gallery.durations import always_terminating, clocked_options, cycle, random_length
from optioncoagent.gallery.feed_forward import feed_forward_options
from optioncoagent.gallery.initiation import AVAILABLE, UNAVAILABLE, initiation_sets
from optioncoagent.gallery.layers import stochastic_layers
from optioncoagent.gallery.options import CONTINUE, TERMINATE, option_critic

__all__ = [
    "AVAILABLE",
    "CLOSED",
    "CONTINUE",
    "OPEN",
    "TERMINATE",
    "UNAVAILABLE",
    "always_terminating",
    "clocked_options",
    "cycle",
    "double_actor_critic",
    "double_params",
    "feed_forward_options",
    "initiation_sets",
    "option_critic",
    "random_length",
    "stochastic_layers",
    "with_gate",
    "with_memory",
]
