"""The public contract in short: names, shapes, a training, the command line. Also run with the oldest dependencies that are allowed."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

import optioncoagent as oc

TRAIN = ["--total-timesteps", "64", "--num-steps", "8", "--num-envs", "2", "--eval-episodes", "2"]


def two_states():
    """State 0: action 1 goes on to the end and pays 1, action 0 stays."""
    P = np.array([[[1.0, 0], [0, 1]], [[0, 1], [0, 1]]])
    return oc.MDP(P, np.array([[0.0, 1], [0, 0]]), [1, 0], 0.5)


def test_every_public_name_is_there():
    assert all(getattr(oc, name) is not None for name in oc.__all__)
    assert (oc.TERMINATE, oc.CONTINUE) == (0, 1)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (oc.OptionCritic.learn, ["total_timesteps", "progress_bar", "callback"]),
        (oc.OptionCritic.predict, ["observation", "state", "episode_start", "deterministic"]),
        (oc.OptionCritic.evaluate, ["num_episodes", "env"]),
        (oc.OptionCritic.set_params, ["mdp", "params"]),
        (oc.estimate_return, ["mdp", "network", "params", "episodes", "seed", "max_steps", "threads"]),
        (oc.option_values, ["mdp", "params", "first", "deliberation_cost", "initial"]),
        (oc.option_critic, ["num_options", "num_actions", "first", "deliberation_cost", "initial"]),
        (oc.compare_gradients, ["mdp", "params", "forms"]),
    ],
)
def test_arguments_come_in_this_order(call, names):
    assert [name for name in inspect.signature(call).parameters if name != "self"][: len(names)] == names


def test_the_three_solvers_agree():
    """J of the uniform policy: v = ½ (½ v) + ½ gives 2/3."""
    mdp, network = two_states(), oc.option_critic(2, 2)
    params = network.init_params(mdp.num_observations, scale=0.0)
    assert oc.expected_return(mdp, network, params) == pytest.approx(2 / 3)
    estimate = oc.estimate_return(mdp, network, params, episodes=20_000)
    assert abs(estimate.mean - 2 / 3) < 5 * estimate.standard_error
    gradient, slopes = oc.policy_gradient(mdp, network, params), oc.finite_difference(mdp, network, params)
    assert all(np.allclose(gradient[name], slopes[name], atol=1e-8) for name in network.names)
    assert {"termination", "option"} <= {row.coagent for row in oc.compare_gradients(mdp, params)}


@pytest.mark.parametrize("env_id", ["MiniGrid-Empty-5x5-v0", "CartPole-v1"])
def test_a_short_training(env_id, tmp_path):
    agent = oc.OptionCritic(env_id, num_envs=2, num_steps=8).learn(32)
    agent.save(tmp_path / "agent")
    observation, _ = agent.env.reset(seed=0)
    action, state = oc.OptionCritic.load(tmp_path / "agent").predict(observation)
    assert action.shape == (2,) and state.shape == (2, 1)
    assert len(agent.evaluate(3).returns) == 3


def test_the_command_line(tmp_path):
    command = [sys.executable, "-W", "error", "-m", "optioncoagent"]
    subprocess.run([*command, "train", "MiniGrid-Empty-5x5-v0", *TRAIN, "--run-dir", "run"], cwd=tmp_path, check=True)
    subprocess.run([*command, "evaluate", "run", "--num-episodes", "2"], cwd=tmp_path, check=True)
