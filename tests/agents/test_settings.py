"""Settings: each one is read, and a wrong one is named."""

import math
import subprocess
import sys
import threading
from dataclasses import fields, replace
from itertools import combinations

import numpy as np
import pytest
import torch
from small import GRIDWORLD, SMALL

import optioncoagent as oc
from optioncoagent.agents.exploration import COUNTINGS
from optioncoagent.agents.settings import ALIASES, Settings, on_this_machine
from optioncoagent.agents.torch_state import tiny_is_zero, torch_threads
from optioncoagent.runs.training import Run

CHANGES = dict(
    num_envs=5,
    num_steps=17,
    update_epochs=3,
    num_minibatches=3,
    learning_rate=2e-3,
    anneal_lr=True,
    gamma=0.9,
    gae_lambda=0.5,
    clip_coef=0.01,
    target_kl=1e-9,
    ent_coef=0.1,
    ent_coefs={"termination": 0.1},
    vf_coef=1.0,
    diversity_coef=0.1,
    max_grad_norm=0.01,
    normalize_advantages=False,
    normalize_rewards=False,
    discount_weighting=True,
    sampled_returns=False,
    encoder_gradient="all",
    frozen=("critic",),
    hidden_sizes=(32,),
    recurrent_size=8,
    dtype="float64",
    observation_kinds={"": "pixels"},
    seed=1,
)
OUT_OF_RANGE = dict(
    num_envs=0,
    num_steps=1.5,
    gamma=1.1,
    gae_lambda=-0.1,
    learning_rate=0.0,
    ent_coef=-1.0,
    int_coef=-1.0,
    diversity_coef=-0.1,
    clip_coef=0.0,
    target_kl=0.0,
    seed=-1,
    recurrent_size=-1,
    encoder_gradient="none",
    int_returns="both",
    int_form="novelty",
)


def test_every_setting_changes_the_first_updates():
    """No dead settings (where and with how many threads torch computes may not matter)."""
    assert {f.name for f in fields(Settings)} == {*CHANGES, "int_coef", "int_counts", "int_form", "int_returns", "device", "torch_threads"}

    def first_updates(env="CartPole-v1", **settings):
        agent = oc.OptionCritic(env, num_options=2, **{**SMALL, **settings})
        agent.learn(65)  # two updates
        return torch.cat([p.detach().double().flatten() for p in agent.module.parameters()])

    base = first_updates()
    for name, value in CHANGES.items():
        changed = first_updates(**{name: value})
        assert changed.shape != base.shape or not torch.equal(changed, base), name
    for name, value in dict(gradient_form="score", deliberation_cost=0.5, first="terminate").items():
        assert not torch.equal(first_updates(**{name: value}), base), name
    assert not torch.equal(first_updates(GRIDWORLD, int_coef=0.1), first_updates(GRIDWORLD))  # CartPole's observations are not counted
    places, observations = (first_updates("MiniGrid-Empty-5x5-v0", int_counts=what) for what in ("place", "observation"))
    assert not torch.equal(places, observations)
    forms = [first_updates("MiniGrid-Empty-5x5-v0", num_steps=64, int_coef=1.0, int_form=form) for form in COUNTINGS]
    assert len(forms) == 4 and not any(torch.equal(x, y) for x, y in combinations(forms, 2))
    ends = {"env": "MiniGrid-Dynamic-Obstacles-5x5-v0", "num_steps": 64}
    assert not torch.equal(*(first_updates(**ends, int_returns=returns) for returns in ("episodic", "non-episodic")))


@pytest.mark.parametrize(("name", "value"), [*OUT_OF_RANGE.items(), ("dtype", "float16"), ("hidden_sizes", (0,)), ("num_envs", 10**9)])
def test_a_setting_out_of_range_is_named(name, value):
    with pytest.raises(ValueError, match=f"^{name}="):
        Settings(**{name: value}).check()
    with pytest.raises(ValueError, match=f"^{name}="):
        oc.OptionCritic("CartPole-v1", **{name: value})


@pytest.mark.parametrize(
    ("name", "ours"),
    [("n_epochs", "update_epochs"), ("n_steps", "num_steps"), ("lr", "learning_rate"), ("clip_range", "clip_coef"), ("n_envs", "num_envs"),
     ("batch_size", "num_minibatches"), ("policy_kwargs", "hidden_sizes"), ("n_options", "num_options")],
)  # fmt: skip
def test_settings_by_other_names_are_told_ours(name, ours):
    with pytest.raises(TypeError, match=f"no setting '{name}': here it is {ours}"):
        oc.OptionCritic("CartPole-v1", **{name: 3})


def test_every_other_name_leads_to_a_setting_and_is_none():
    settings = {f.name for f in fields(Settings)}
    targets = {ours.split()[0].strip(",") for ours in ALIASES.values()}
    assert targets <= {*settings, "num_options", "env_id"} and not settings & set(ALIASES)


@pytest.mark.parametrize(("name", "value"), [("hidden_sizes", 64), ("anneal_lr", "no"), ("int_coef", "0.1"), ("sampled_returns", 1)])
def test_a_setting_of_another_kind_is_named(name, value):
    with pytest.raises(ValueError, match=f"^{name}={value!r}: it must be"):
        oc.OptionCritic("CartPole-v1", **{name: value})


def test_numpys_numbers_are_settings():
    given = dict(seed=np.int64(3), num_envs=np.int32(2), learning_rate=np.float32(0.5), anneal_lr=np.bool_(True))
    settings = oc.OptionCritic("CartPole-v1", **given).settings
    for name, value in given.items():
        assert getattr(settings, name) == value and type(getattr(settings, name)) in (int, float, bool)  # JSON takes these


@pytest.mark.parametrize("value", [lambda progress: 1e-3, "1e-3", None, True])
def test_a_learning_rate_is_a_number(value):
    with pytest.raises(ValueError, match="^learning_rate=.*: it must be a number"):
        oc.OptionCritic("CartPole-v1", learning_rate=value)


@pytest.mark.parametrize(
    ("given", "message"),
    [({"end": 0.1}, r"^ent_coefs names \['end'\], but the coagents are \['termination', 'option', 'action'\]"),
     ({"action": -0.1}, r"^ent_coefs\['action'\]=-0.1: it must be a number, at least 0 and finite"),
     ({"option": float("nan")}, r"^ent_coefs\['option'\]=nan"), ({"option": float("inf")}, r"^ent_coefs\['option'\]=inf"),
     ({"option": "0.1"}, r"^ent_coefs\['option'\]='0.1'"), ({"option": None}, r"^ent_coefs\['option'\]=None"),
     ({"option": True}, r"^ent_coefs\['option'\]=True"), (0.1, "^ent_coefs=0.1: it must be a dict from coagents to weights")],
)  # fmt: skip
def test_a_wrong_entropy_weight_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        oc.OptionCritic("CartPole-v1", ent_coefs=given)


def test_entropy_weights_are_checked_before_a_run_and_kept_with_the_agent(tmp_path):
    with pytest.raises(ValueError, match=r"names \['termination'\], but the coagents are \['termination_2', 'termination_1'"):
        Run("CartPole-v1", num_options=(2, 2), settings=Settings(ent_coefs={"termination": 0.0})).check()
    Run("CartPole-v1", settings=Settings(ent_coefs={"action_1": 0.0})).check()  # the environment has to say that there is none
    weights = {"termination": 0.0, "option": 0.02}
    agent = oc.OptionCritic("CartPole-v1", ent_coefs=weights, **SMALL).learn(64)
    agent.save(tmp_path)
    assert oc.OptionCritic.load(tmp_path).settings.ent_coefs == agent.settings.ent_coefs == weights
    assert oc.OptionCritic.load(tmp_path, ent_coefs={}).settings.ent_coefs == {}
    network = oc.CoagentNetwork([oc.Coagent("action", 2)])
    assert oc.CoagentActorCritic("CartPole-v1", network, ent_coefs={"action": 0}).settings.ent_coefs == {"action": 0}
    with pytest.raises(ValueError, match=r"the coagents are \['action'\]"):
        oc.CoagentActorCritic("CartPole-v1", network, ent_coefs={"option": 0})


def test_settings_are_public_without_torch():
    code = "import sys, optioncoagent as oc; oc.Settings(num_envs=2).check(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_device_is_found_and_an_agent_outlives_its_own(tmp_path):
    agent = oc.OptionCritic("CartPole-v1", **SMALL)
    assert Settings().device == "auto" and agent.settings.device == ("cuda" if torch.cuda.is_available() else "cpu")
    agent.save(tmp_path)
    assert on_this_machine({"device": "cuda:77", "seed": 0}) == {"device": "auto", "seed": 0}
    assert on_this_machine({"device": "cpu"}) == {"device": "cpu"}
    with pytest.raises(ValueError, match="device='cuda:77'"):  # asked for, not saved
        oc.OptionCritic.load(tmp_path, device="cuda:77")


def test_a_wrong_setting_or_device_is_named():
    with pytest.raises(TypeError, match="no setting 'num_option': did you mean 'num_options'"):
        oc.OptionCritic("CartPole-v1", num_option=2)
    with pytest.raises(TypeError, match="no setting 'num_options': num_options is an argument of some agents, and not of this one"):
        oc.CoagentActorCritic("CartPole-v1", oc.option_critic(2, 2), num_options=2)
    with pytest.raises(ValueError, match="device='foo'"):
        oc.OptionCritic("CartPole-v1", device="foo")


@pytest.mark.parametrize("name", ["learning_rate", "ent_coef", "max_grad_norm"])
def test_settings_are_finite(name):
    with pytest.raises(ValueError, match=name):
        oc.OptionCritic("OptionCoagent/Gridworld-v0", **{name: float("inf")})


def test_threads_of_torch_are_put_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    oc.OptionCritic("CartPole-v1", **SMALL).learn(64).predict(np.zeros(4, np.float32))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_first_weights_are_the_seeds_whatever_threads_there_are():
    """Those of torch, and those of Python in which agents are made at the same time; torch's own random state stays as it was."""

    def weights(made=None):
        agent = oc.OptionCritic("CartPole-v1", num_envs=2, num_steps=16, seed=3)
        found = torch.cat([x.detach().flatten() for x in agent.module.parameters()])
        return found if made is None else made.append(found)

    before, expected, made = torch.get_rng_state(), weights(), list[torch.Tensor]()
    with torch_threads(2):
        made.append(weights())
    threads = [threading.Thread(target=weights, args=(made,)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 13 and all(torch.equal(expected, found) for found in made)
    assert torch.equal(before, torch.get_rng_state())


def test_numbers_too_small_to_be_normal_are_zero_within_a_block():
    tiny, is_zero = torch.tensor(1e-30), lambda: bool(tiny * 1e-10 == 0)
    assert not is_zero()
    with pytest.raises(KeyError), tiny_is_zero():
        with tiny_is_zero():
            assert is_zero()
        assert is_zero()  # as it was before the inner one
        torch.set_default_dtype(torch.float64)
        try:
            with tiny_is_zero():
                pass
        finally:
            torch.set_default_dtype(torch.float32)
        assert is_zero()
        raise KeyError
    assert not is_zero()


def test_an_update_does_not_reckon_with_the_least_numbers_there_are():
    """Adam's moments of a weight whose gradient is 0 for long, as of an indicator that is not met, become such numbers, and stay so."""
    agent, moments = oc.OptionCritic("CartPole-v1", num_options=2, **SMALL), list[torch.Tensor]()
    agent.update()
    step = agent._step

    def step_without_gradient(parts):
        for state in agent.optimizer.state.values():
            state["exp_avg"].fill_(1e-44)
        step(0 * parts)
        moments.extend(state["exp_avg"].clone() for state in agent.optimizer.state.values())
        return parts.detach()

    agent._step = step_without_gradient
    agent.update()
    assert moments and all(bool((moment.view(torch.int32) == 0).all()) for moment in moments)
    step_without_gradient(agent.module.critic.weight.sum())
    assert bool((moments[-1] > 0).any())  # 0.9 times it is rounded to itself
    agent.settings = replace(agent.settings, torch_threads=2)  # whose second would go on like that
    agent.update()
    assert bool((moments[-1] > 0).any())


def test_options_are_numbers_or_an_array_of_them(tmp_path):
    agent = oc.OptionCritic("CartPole-v1", num_options=np.array([2, 3]), num_envs=1, num_steps=8, hidden_sizes=(4,))
    assert agent.network.names == oc.option_critic((2, 3), 2).names and agent.forms["termination_2"] == "expected"
    agent.save(tmp_path / "agent")
    assert [*oc.OptionCritic.load(tmp_path / "agent").network.names] == [*agent.network.names]


def test_the_gradient_is_scaled_down_to_its_largest_norm():
    """By plain gradient descent of step size 1: of what learns, and not of what is frozen; one that is not finite changes nothing."""
    for frozen, most in ((), 1e9), ((), 0.01), (("critic",), 0.01):
        agent = oc.OptionCritic("CartPole-v1", num_options=2, max_grad_norm=most, frozen=frozen, dtype="float64", **SMALL)
        agent.optimizer = torch.optim.SGD(agent.module.parameters(), lr=1.0)
        learning = [x for x in agent.module.parameters() if not any(x is other for other in agent.frozen)]
        weights = [torch.randn_like(x, generator=torch.Generator().manual_seed(i)) for i, x in enumerate(agent.module.parameters())]
        loss = lambda: torch.stack([(w * x).sum() for w, x in zip(weights, agent.module.parameters(), strict=True)])  # noqa: B023, E731
        gradient = dict(zip(learning, torch.autograd.grad(loss().sum(), learning), strict=True))
        norm = math.sqrt(sum(float(g.square().sum()) for g in gradient.values()))
        before = {x: x.detach().clone() for x in agent.module.parameters()}
        agent._step(loss())
        for x, old in before.items():
            # Δθ = −g min(1, m / |g|)
            change = -gradient[x] * min(1.0, most / norm) if x in gradient else torch.zeros_like(x)
            torch.testing.assert_close(x.detach() - old, change, rtol=1e-3, atol=1e-12)
        before = [x.detach().clone() for x in agent.module.parameters()]
        with pytest.raises(ValueError, match="the gradient is no longer finite"):
            agent._step(loss() * float("nan"))
        assert all(torch.equal(x, old) for x, old in zip(agent.module.parameters(), before, strict=True))
