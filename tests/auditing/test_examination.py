"""The audit: with the exact critic it finds the truth, and what is wrong shows in its own row."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from additive_networks import layers, sharing, with_shared_terms
from small import appendix_d, random_mdp

import optioncoagent as oc
from optioncoagent.auditing import examination
from optioncoagent.auditing.examination import BEST, EXACT, OWN, examine
from optioncoagent.auditing.picture import draw
from optioncoagent.auditing.states import StatesVectorEnv
from optioncoagent.exact import critic_values

SETTINGS = dict(num_steps=32, num_envs=1, hidden_sizes=(), gamma=0.9, gae_lambda=1.0, dtype="float64", seed=1)
NOTHING_ADDED = dict(discount_weighting=True, normalize_advantages=False, ent_coef=0.0)


def agent_on(mdp, network, **settings):
    """Policies drawn at random, and a critic that says 0."""
    from optioncoagent.auditing.states import StatesVectorEnv

    class Seen(StatesVectorEnv):
        """Shows observations where the audit needs states."""

        def reset(self, **given):
            return mdp.observation[super().reset(**given)[0]], {}

    env = Seen(mdp, 16)
    env.single_observation_space.n = np.int64(mdp.num_observations)
    agent = oc.CoagentActorCritic(env, network, **{**SETTINGS, **settings})
    if agent.settings.hidden_sizes == () and agent.network.tabulated() is agent.network:
        agent.set_params(mdp, agent.network.init_params(mdp.num_observations, seed=4))
    else:  # a fresh agent's options are alike, and then it does not matter which of them runs
        noise = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for parameter in agent.module.parameters():
                parameter.normal_(generator=noise)
    return agent


def alike(mdp):
    return oc.MDP(mdp.P, mdp.R, mdp.d0, mdp.gamma, mdp.terminal, [0, 1, 1, 2, 3])


def rows_of(rows, **wanted):
    found = [row for row in rows if all(getattr(row, key) == value for key, value in wanted.items())]
    assert found
    return found


NETWORKS = {
    "two levels": lambda n: oc.option_critic((2, 2), n, deliberation_cost=0.1),
    "appendix D": appendix_d,
    "shared parameters": sharing,
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("settings", [{}, pytest.param({"hidden_sizes": (7,)}, marks=pytest.mark.slow)], ids=["tables", "layers"])
def test_with_the_exact_critic_every_form_is_the_exact_gradient(name, settings):
    found = examine(agent_on(alike(random_mdp()), NETWORKS[name], **settings), alike(random_mdp()), rollouts=64)
    rows = rows_of(found.rows, critic=EXACT)
    assert {row.form for row in rows} == {"expected", "difference", "score", "marginal"}
    assert not any(row.settings for row in rows)
    for row in rows:
        if row.form != "score" or row.noise < 2:
            assert row.cosine > 1 - 4 * row.cosine_error - 0.02, row
            assert row.norm_ratio == pytest.approx(1, abs=0.05 + 5 * row.noise / 8), row
    assert sum(row.form != "score" for row in rows) >= 3
    assert_marginal(rows)


@pytest.mark.parametrize("make", (layers, pytest.param(with_shared_terms, marks=pytest.mark.slow)))
def test_of_additive_coagents_the_posterior_form_has_less_noise_than_the_score_and_the_marginal_form_the_least(make):
    """With gae_lambda=1 all are exact whatever the critic says: only their noise differs."""
    mdp = alike(random_mdp())
    agent = agent_on(mdp, make)
    rows = oc.audit(agent, mdp, rollouts=64)
    bits = [name for name in agent.network.names if name != "action" and agent.network[name].owner == name]
    marginal = {row.coagent: row for row in rows_of(rows, form="marginal")}
    assert list(marginal) == [*bits, "action"]
    for critic in (OWN, EXACT):
        base = rows_of(rows, critic=critic, deviation="")
        forms = {form: {row.coagent: row for row in rows_of(base, form=form)} for form in ("posterior", "score")}
        assert list(forms["posterior"]) == bits and set(forms["score"]) == {*bits, "action"}
        seen = [row for row in forms["posterior"].values() if row.noise < 2]
        assert seen
        for row in seen:
            assert marginal[row.coagent].noise < row.noise < forms["score"][row.coagent].noise
            assert row.cosine > 1 - 4 * row.cosine_error - 0.02, row
            assert row.norm_ratio == pytest.approx(1, abs=0.05 + 5 * row.noise / 8), row
    assert agent.forms == {name: "score" if name == "action" else "posterior" for name in agent.network.names}
    drawn = draw(
        [{"timesteps": 0, "J": 1.0, "J_episodes": 1, "J_error": 0, "critic_apart": 0, "critic_apart_exact": 0} | r._asdict() for r in rows]
    )
    assert [axes.get_title() for axes in drawn.axes[: len(bits) + 1]] == [*(f"{bit}, posterior form" for bit in bits), "action, score form"]
    drawn.canvas.draw()
    assert_marginal(rows)


def assert_marginal(rows):
    """The exact gradient, and no form has less noise."""
    for row in rows_of(rows, form="marginal"):
        assert (row.critic, row.deviation, row.settings, row.lost) == (EXACT, "", False, False)
        assert row.cosine > 1 - 4 * row.cosine_error - 0.02 and row.norm_ratio == pytest.approx(1, abs=0.02 + 4 * row.noise / 8), row
        others = [other for other in rows_of(rows, critic=EXACT, coagent=row.coagent) if other is not row]
        assert all(row.noise < 1.2 * other.noise for other in others)  # noise is itself an estimate


def test_a_chain_without_a_matrix_has_no_marginal_row(monkeypatch):
    monkeypatch.setattr(examination, "is_large", lambda mdp, network: True)
    mdp = random_mdp()
    assert not any(row.form == "marginal" for row in oc.audit(agent_on(mdp, appendix_d), mdp, rollouts=16))


def test_a_wrong_critic_shows_and_a_right_one_does_not():
    mdp = random_mdp()
    agent = agent_on(mdp, lambda n: oc.option_critic(2, n))
    q = critic_values(mdp, agent.network, agent.params(mdp))
    weight = agent.module.critic.weight
    with torch.no_grad():
        weight.copy_(torch.from_numpy(q.T + 0.25))  # nothing but an offset, which no coagent's choice depends on
    right = examine(agent, mdp)
    assert [(e.critic, round(e.rmse, 9), round(e.mean, 9)) for e in right.critic] == [(OWN, 0.25, 0.25)]
    assert right.critic[0].spread > 0.1
    assert right.critic[0].apart == pytest.approx(right.critic[0].apart_exact) and right.critic[0].correlation == pytest.approx(1)
    assert all(row.cosine > 0.99 for row in rows_of(right.rows, critic=OWN, form="expected", deviation=""))
    with torch.no_grad():
        weight.copy_(torch.from_numpy(-q.T))  # the order of the options upside down
    wrong = examine(agent, mdp)
    for row in rows_of(wrong.rows, critic=OWN, form="expected", deviation=""):
        assert row.cosine == pytest.approx(-1, abs=0.01) and row.norm_ratio == pytest.approx(1, abs=0.1)
    assert wrong.critic[0].apart == pytest.approx(right.critic[0].apart) and wrong.critic[0].correlation == pytest.approx(-1)
    assert right.expected_return == wrong.expected_return == oc.expected_return(mdp, agent.network, agent.params(mdp))


def test_what_the_settings_add_has_a_row_each():
    mdp = random_mdp()
    rows = oc.audit(agent_on(mdp, appendix_d), mdp, rollouts=16)
    together = "all together, clipped"
    assert {row.deviation for row in rows} == {"", "no γ^t", "normalised advantages", "entropy bonus", together}
    assert all(row.settings == (row.deviation != "") for row in rows)
    rows = oc.audit(agent_on(mdp, appendix_d, **NOTHING_ADDED), mdp, rollouts=16)
    assert {row.deviation for row in rows} == {"", together}


def test_rewards_and_their_scale_a_hundred_times_as_large_change_no_row():
    """The learner divides the one by the other: what it follows, bonus and clipping included, is the same."""
    network, found = (lambda n, cost: oc.option_critic(2, n, deliberation_cost=cost)), []
    for factor in (1.0, 100.0):
        mdp = random_mdp()
        mdp = oc.MDP(mdp.P, factor * mdp.R, mdp.d0, mdp.gamma, mdp.terminal)
        agent = agent_on(mdp, lambda n, cost=0.1 * factor: network(n, cost), ent_coef=0.1)
        agent.scale.square, agent.scale.count = (3.0 * factor) ** 2, 1
        assert agent.reward_scale == 3.0 * factor
        found.append(oc.audit(agent, mdp, rollouts=16))
    assert {row.deviation for row in found[0]} >= {"entropy bonus", "all together, clipped"}
    for one, other in zip(*found, strict=True):
        assert (one.coagent, one.form, one.critic, one.deviation) == (other.coagent, other.form, other.critic, other.deviation)
        for name in ("cosine", "noise", "norm_ratio"):
            assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-6), (name, one, other)
        assert other.exact_norm == pytest.approx(factor * one.exact_norm)


def test_an_encoder_left_alone_has_a_row_for_each_coagent_that_leaves_it():
    """What is left of the gradient is its part in the heads: shorter, and the rest of it is the same."""
    mdp = random_mdp()
    agents = [agent_on(mdp, lambda n: oc.option_critic(2, n), hidden_sizes=(8,), encoder_gradient=name) for name in ("sampled", "all")]
    alone, every = (oc.audit(agent, mdp, rollouts=16) for agent in agents)
    left = rows_of(alone, deviation="encoder left alone")
    assert {(row.coagent, row.form, row.critic) for row in left} == {("termination", "expected", OWN), ("option", "expected", OWN)}
    assert "encoder left alone" not in {row.deviation for row in every}
    for row in left:
        bases = [rows_of(rows, coagent=row.coagent, form="expected", critic=OWN, deviation="")[0] for rows in (alone, every)]
        np.testing.assert_equal(*bases)
        assert bases[0].norm_ratio > row.norm_ratio > 0


@pytest.mark.parametrize(
    ("settings", "weighed"),
    [({"ent_coef": 0.1}, {"termination", "option", "action"}), ({"ent_coefs": {"termination": 0.1}}, {"termination"})],
)
def test_the_entropy_bonus_turns_a_flat_gradient_around(settings, weighed):
    """All rewards alike but for a trifle: what is left of the gradient with the bonus is the bonus, of the coagents that have one."""
    mdp = random_mdp()
    mdp = oc.MDP(mdp.P, 1e-6 * mdp.R, mdp.d0, mdp.gamma, mdp.terminal)
    agents = [agent_on(mdp, lambda n: oc.option_critic(2, n), **{**NOTHING_ADDED, **given}) for given in (settings, {})]
    rows, without = (oc.audit(agent, mdp, rollouts=16) for agent in agents)
    np.testing.assert_equal(rows_of(rows, deviation=""), rows_of(without, deviation=""))  # the base knows of no bonus
    together = "all together, clipped"
    for row in [*rows_of(rows, deviation="entropy bonus"), *rows_of(rows, deviation=together)]:
        if row.deviation == together:
            (base,) = rows_of(without, coagent=row.coagent, deviation=together)
        else:
            (base,) = rows_of(rows, coagent=row.coagent, form=row.form, critic=OWN, deviation="")
        if row.coagent in weighed:
            assert row.norm_ratio > 1e3 and (base.lost or row.norm_ratio > 10 * base.norm_ratio)
        else:
            np.testing.assert_equal(row[5:], base[5:])


def test_clipping_bounds_the_norm():
    mdp = random_mdp()
    mdp = oc.MDP(mdp.P, 100 * mdp.R, mdp.d0, mdp.gamma, mdp.terminal)
    loose, tight = (
        rows_of(oc.audit(agent_on(mdp, appendix_d, **NOTHING_ADDED, max_grad_norm=m), mdp, 16), deviation="all together, clipped")
        for m in (1e6, 0.01)
    )
    for large, small in zip(loose, tight, strict=True):
        assert small.norm_ratio < 0.01 * large.norm_ratio


def test_observations_that_states_share_have_a_best_critic():
    mdp = random_mdp()
    assert not any(row.critic == BEST for row in oc.audit(agent_on(mdp, appendix_d), mdp, rollouts=16))
    found = examine(agent_on(alike(mdp), lambda n: oc.option_critic(2, n)), alike(mdp), rollouts=16)
    own, best = found.critic
    assert best.critic == BEST and 0 < best.rmse < own.rmse and abs(best.mean) < 1e-6
    assert {row.form for row in rows_of(found.rows, critic=BEST)} == {"expected", "difference", "score"}


def test_the_same_seed_gives_the_same_rows_and_the_agent_is_left_alone():
    mdp = random_mdp()
    agent = agent_on(mdp, appendix_d)
    before = {name: x.clone() for name, x in agent.module.state_dict().items()}
    first, second, other = (oc.audit(agent, mdp, rollouts=16, seed=seed) for seed in (0, 0, 1))
    assert repr(first) == repr(second) != repr(other)
    assert all(torch.equal(x, before[name]) for name, x in agent.module.state_dict().items()) and agent.running is None


def test_the_critic_s_error_by_hand():
    """Two states, visited three and one times in four; in the first the options are visited alike, in the second only one is."""
    q, share = np.array([[1.0, 3.0], [0.0, 9.0]]), np.array([[0.375, 0.375], [0.25, 0.0]])
    error = examination._error("own", np.array([[2.0, 1.0], [4.0, 7.0]]), q, share)
    assert error.mean == pytest.approx(0.375 * 1 - 0.375 * 2 + 0.25 * 4)
    assert error.rmse == pytest.approx(np.sqrt(0.375 * 1 + 0.375 * 4 + 0.25 * 16))
    # a mean of 3/2: deviations -1/2, 3/2 and -3/2
    assert error.spread == pytest.approx(np.sqrt(0.375 * 0.25 + 0.375 * 2.25 + 0.25 * 2.25))
    assert (error.apart, error.apart_exact) == pytest.approx((np.sqrt(0.75) / 2, np.sqrt(0.75)))
    assert error.correlation == pytest.approx(-1)


def test_measures_of_a_known_distribution():
    """Mean of length 2 at 60° to the exact gradient, unit noise in each of 50 directions."""
    rng = np.random.default_rng(0)
    exact, mean = np.eye(50)[0] * 4.0, 2.0 * np.append([0.5, np.sqrt(0.75)], np.zeros(48))
    found = np.array([examination._measure(mean + rng.normal(size=(16, 50)), exact, 3.0)[:5] for _ in range(400)])
    cosine, error, ratio, noise, norm = found.mean(axis=0)
    assert cosine == pytest.approx(0.5, abs=0.03) and ratio == pytest.approx(0.5, abs=0.03) and norm == 4
    assert error == pytest.approx(found[:, 0].std(), rel=0.3)
    assert noise == pytest.approx(np.sqrt(3 * 50) / 2, rel=0.2)
    few = rng.normal(size=(4, 3)) + 5.0  # m - 1 in the variance
    _, _, ratio, noise, norm, _ = examination._measure(few, np.ones(3), 2.0)
    assert noise * ratio * norm == pytest.approx(np.sqrt(2.0 * few.var(axis=0, ddof=1).sum()))
    assert examination._measure(rng.normal(size=(16, 50)), exact, 1.0)[5]
    assert np.isnan(examination._measure(rng.normal(size=(16, 50)), 0 * exact, 1.0)[0])


def test_what_cannot_be_audited():
    mdp = random_mdp()
    agent = agent_on(mdp, appendix_d)
    with pytest.raises(ValueError, match="gamma=0.5, the agent learns with gamma=0.9"):
        oc.audit(agent, oc.MDP(mdp.P, mdp.R, mdp.d0, 0.5, mdp.terminal))
    with pytest.raises(ValueError, match="rollouts=0"):
        oc.audit(agent, mdp, rollouts=0)
    for max_steps in (0, -3, True):
        with pytest.raises(ValueError, match=f"max_steps={max_steps}"):
            oc.audit(agent, mdp, max_steps=max_steps)
    endless = oc.MDP(mdp.P[:4, :, :4] / mdp.P[:4, :, :4].sum(axis=2, keepdims=True), mdp.R[:4, :, :4], np.full(4, 0.25), 0.9)
    with pytest.raises(ValueError, match="only 0 episodes began"):
        oc.audit(agent_on(endless, appendix_d), endless, rollouts=16)
    assert oc.audit(agent_on(endless, appendix_d), endless, rollouts=16, max_steps=20)


def test_episodes_that_are_longer_than_what_is_looked_at_count_in_proportion():
    """All of 24 steps, where 32 of each environment are looked at, in which one or two begin."""
    n, rng = 25, np.random.default_rng(0)
    P = np.zeros((n, 2, n))
    P[np.arange(n), :, np.minimum(np.arange(n) + 1, n - 1)] = 1
    R = rng.normal(size=(n, 2)) * (np.arange(n) < n - 1)[:, None]
    mdp = oc.MDP(P, R, np.eye(n)[0], 0.999)
    network = lambda num_actions: oc.option_critic(2, num_actions, deliberation_cost=0.1)  # noqa: E731
    rows = oc.audit(oc.CoagentActorCritic(StatesVectorEnv(mdp, 4), network, **{**SETTINGS, "gamma": 0.999, "num_steps": 16}), mdp)
    marginal = next(row for row in rows if (row.form, row.coagent) == ("marginal", "action"))
    assert marginal.cosine > 0.99 and marginal.norm_ratio == pytest.approx(1.0, abs=0.1)
    # Σ_{t<24} γ^t, whatever switching costs; and of two environments, one of which was reset by its last step
    mdp = oc.MDP(P, R, np.eye(n)[0], 0.9)
    params = network(2).init_params(n, seed=1)
    assert examination._expected_steps(mdp, network(2), params) == pytest.approx((1 - 0.9**24) / (1 - 0.9))
    rollout = SimpleNamespace(age=torch.tensor([[2, 0], [3, 1], [0, 2]]), valid=torch.tensor([[True, True], [True, True], [False, True]]))
    assert examination._sampled_steps(mdp, [rollout]) == pytest.approx(0.81 + 0.729 + 1 + 0.9 + 0.81)


def test_a_horizon_is_part_of_the_mdp():
    mdp = random_mdp()
    short = oc.MDP(mdp.P, mdp.R, mdp.d0, mdp.gamma, mdp.terminal, horizon=3)
    found = examine(agent_on(short, lambda n: oc.option_critic(2, n)), short, rollouts=32)
    assert all(row.cosine > 0.98 for row in rows_of(found.rows, critic=EXACT, form="expected"))
    assert BEST in {row.critic for row in found.rows}  # the time is not seen


def scaled_agent():
    mdp = random_mdp()
    agent = oc.CoagentActorCritic(
        StatesVectorEnv(mdp, 16),
        lambda n: oc.option_critic(2, n),
        num_steps=32,
        hidden_sizes=(),
        gamma=0.9,
        gae_lambda=1.0,
        dtype="float64",
        seed=1,
        discount_weighting=True,
        normalize_advantages=False,
        ent_coef=0.0,
        max_grad_norm=1e9,
    )
    agent.set_params(mdp, agent.network.init_params(mdp.num_observations, seed=4))
    return mdp, agent


def test_a_critic_that_is_exact_in_scaled_units_has_no_error():
    """A critic that is exact in the units of the scaled rewards has no error."""
    mdp, agent = scaled_agent()
    agent.scale.square, agent.scale.count = 100.0, 1
    assert agent.reward_scale == 10
    with torch.no_grad():
        agent.module.critic.weight.copy_(torch.from_numpy(critic_values(mdp, agent.network, agent.params(mdp)).T / 10))
    found = examine(agent, mdp, rollouts=16)
    assert found.critic[0].rmse == pytest.approx(0, abs=1e-9)
    assert all(
        row.norm_ratio == pytest.approx(1, abs=0.15)
        for row in found.rows
        if row.critic == "own" and row.form == "expected" and not row.deviation
    )


def test_a_minibatch_is_of_the_agent_s_size():
    """Of an agent whose minibatch is the whole rollout the row of all together is the base's, to rounding, where nothing is added."""
    mdp = random_mdp()
    rows = oc.audit(agent_on(mdp, appendix_d, **NOTHING_ADDED, num_minibatches=1, max_grad_norm=1e9), mdp, rollouts=16)
    for row in rows_of(rows, deviation="all together, clipped"):
        (base,) = rows_of(rows, coagent=row.coagent, form=row.form, critic=OWN, deviation="")
        assert (row.cosine, row.norm_ratio) == pytest.approx((base.cosine, base.norm_ratio), rel=1e-9)


def test_what_is_frozen_is_no_part_of_the_norm_that_is_cut():
    mdp, ratios = random_mdp(), []
    for frozen in ((), ("right", "action", "critic")):
        agent = agent_on(mdp, appendix_d, **NOTHING_ADDED, max_grad_norm=1e-3, frozen=frozen)
        (row,) = rows_of(oc.audit(agent, mdp, rollouts=16), coagent="left", deviation="all together, clipped")
        ratios.append(row.norm_ratio)
    assert ratios[1] > 1.5 * ratios[0]


def test_all_together_is_of_one_minibatch_as_the_base_is():
    """Where nothing is added and nothing clipped, the row of all together is an estimate of the base's gradient from one minibatch."""
    mdp, agent = scaled_agent()
    rows = oc.audit(agent, mdp, rollouts=64)
    for row in (row for row in rows if row.deviation == "all together, clipped" and row.form == "expected"):
        (base,) = (b for b in rows if (b.coagent, b.form, b.critic, b.deviation) == (row.coagent, row.form, "own", ""))
        assert row.norm_ratio == pytest.approx(base.norm_ratio, rel=0.35), (row, base)
