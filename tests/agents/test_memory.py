"""What must be remembered: a T-maze, by a coagent that remembers and by recurrent units, trained by the same learner."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from t_maze import CORRIDOR, FORWARD, JUNCTION, LEFT, RIGHT, flat, remembering, retaining, t_maze

import optioncoagent as oc

SURE = 50.0


def by_hand(network, mdp):
    """Logits: note the cue, keep it, go on, turn as noted. Without a memory, turn left."""
    params = {name: np.zeros(network.parameter_shape(name, mdp.num_observations)) for name in network.names}
    action = params["action"]
    action[:, ..., FORWARD] = SURE
    action[JUNCTION, ..., FORWARD] = 0
    action[JUNCTION, ..., LEFT] = SURE
    if "memory" in params:
        action[JUNCTION, RIGHT] = SURE * np.eye(3)[RIGHT]
        for cue in (LEFT, RIGHT):
            params["memory"][cue, ..., cue] = SURE
            if network["memory"].previous:
                params["memory"][CORRIDOR:, cue, cue] = SURE
    return params


def test_a_coagent_that_remembers_solves_the_maze_and_none_that_does_not():
    mdp = t_maze()
    best = {describe: oc.expected_return(mdp, describe(3), by_hand(describe(3), mdp)) for describe in (flat, remembering, retaining)}
    assert best[remembering] == pytest.approx(0.95**4)  # the turn is the fifth step
    # one that notes anew at 4 steps with probability 1/50, and then either way: correct with probability (1 + 0.98^4) / 2
    assert best[retaining] == pytest.approx(0.95**4 * (1 + 0.98**4) / 2)
    assert best[flat] == pytest.approx(0.95**4 / 2)
    ascended = oc.ascend(mdp, flat(3), flat(3).init_params(mdp.num_observations), 200)
    assert oc.expected_return(mdp, flat(3), ascended) == pytest.approx(best[flat])


def mazes():
    return SyncVectorEnv([lambda: TimeLimit(t_maze().to_env(), 40)] * 16, autoreset_mode=AutoresetMode.SAME_STEP)


@pytest.mark.parametrize(
    ("describe", "settings"),
    [
        pytest.param(retaining, {}, id="coagent"),
        pytest.param(flat, {"recurrent_size": 16}, id="recurrent", marks=pytest.mark.slow),
    ],
)
def test_it_is_learned(describe, settings):
    agent = oc.CoagentActorCritic(mazes(), describe, gamma=0.95, seed=0, **settings).learn(30_000)
    assert agent.evaluate(300, env=mazes()).returns.mean() > 0.85
