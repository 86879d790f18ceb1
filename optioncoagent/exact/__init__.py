"""What the theory says, exactly: returns, gradients, values and reductions of any coagent network on any finite MDP, by linear solves.

    chain                 the Markov chain that (mdp, network, params) makes: its kernel, values and occupancies
    structure, layout     what the parameters do not change: which nodes it has, how they are numbered
    tick, solve           one sweep of the network over all nodes; the linear system
    large                 the same chain for networks that remember much, by products with a matrix that is never built
    factors, iterate      its tick, one coagent at a time on a grid; the iterations
    gradients             expected_return, policy_gradient, local_gradient, finite_difference, for each objective
    average               the gain, bias and stationary law of a chain that goes on for ever
    ascent                steps along the gradient
    critic                Q(s, K), the critic of any network
    comdp, synchronous    the CoMDP of one coagent; the reduction to a synchronous network
    option_values         option-critic's values and occupancies
    option_models         what whole options bring and where they lead; planning with them
    output_occupancies    where each output of a coagent is in force, chosen and given up
    degeneracy            how far options are from being options
    forms, network_forms  the gradient forms of option-critic, and of any network, as records
    network_setting       what the latter are computed from: a coagent at the nodes of the chain
    compare               how they differ from the gradient

Sources: ACN is Kostas, Nota, Thomas, "Asynchronous Coagent Networks" (ICML 2020), appendices A to E; OC is Bacon, Harb, Precup, "The
Option-Critic Architecture" (AAAI 2017). Where each numbered statement is, as a function and as a test (tests/exact):

    statement                                            function                            test, as file: name (… for any ending)
    ACN A, definition of the CoMDP                       comdp                               appendix_b: test_…
    ACN B, Property 1: law of (S_0, U_0^pre)             comdp(…).d0                         appendix_b: test_property_1
    ACN B, Property 2: law of S_0                        comdp(…).d0                         appendix_b: test_property_2
    ACN B, Property 3: transitions                       comdp(…).P                          appendix_b: test_property_3
    ACN B, Property 4: rewards                           comdp(…).R                          appendix_b: test_property_4
    ACN B, Property 5: law of (S_t, U_t^pre)             comdp                               appendix_b: test_property_5
    ACN B, Property 6: law of S_t                        comdp                               appendix_b: test_property_6
    ACN B, Property 7: law of U_t^pre given S_t          comdp                               appendix_b: test_property_7
    ACN B, Property 8: law of S_{t+1}                    comdp(…).P                          appendix_b: test_property_8
    ACN B, Property 9: U_{t+1}^pre given S_{t+1} alone   comdp(…).P                          appendix_b: test_property_9
    ACN B, Property 10: law of R_t                       comdp                               appendix_b: test_property_10
    ACN B, Property 11: J = J_i                          expected_return, comdp              appendix_b: test_property_11
    ACN B, Lemma 1: the CoMDP is an MDP                  comdp                               appendix_b: test_lemma_1
    ACN B, Lemma 2: it models the environment            comdp                               appendix_b: test_lemma_2
    ACN B, Lemma 3: its gradient is Δ_i                  local_gradient, comdp               appendix_b: test_lemma_3
    ACN B, Theorem 1: ∇J = [Δ_1; …; Δ_m]                 policy_gradient                     appendix_b: test_theorem_1
    the same for asynchronous networks (ACPGT)           policy_gradient, local_gradient     gradients: test_acpgt_…
    the same where parameters are shared                 policy_gradient, local_gradient     sharing: test_the_gradient_…
    the same through C's reduction                       synchronous, comdp                  appendix_b: test_theorem_1_for_…
    ACN B, Corollary 1: convergence                      policy_gradient                     corollary_1: test_corollary_1
    ACN C.1: joint law of (A_t, U_t, E_t)                synchronous                         appendix_c: test_c_1_joint_law
    ACN C.2.1: law of the state                          synchronous                         appendix_c: test_c_2_1_state_laws
    ACN C.2.2: law of the reward                         synchronous                         appendix_c: test_c_2_2_reward_laws
    ACN C.2.3: J is the same                             synchronous, expected_return        appendix_c: test_c_2_3_objectives
    ACN E.2: the two termination gradients are one       termination_gradient                option_critic: test_e_2_termination_gradient
    OC, Theorems 1 and 2                                 policy_gradient, option_values      option_critic: test_oc_theorems_1_and_2
    OC, equations 1 to 3                                 option_values                       option_critic: test_option_values
    models of options, their Bellman equation            option_models                       option_models: test_values_of_…
"""

from optioncoagent.exact.ascent import ascend
from optioncoagent.exact.comdp import CoMDP, comdp
from optioncoagent.exact.compare import Comparison, compare_gradients, form_gradient, network_form_gradient, termination_gradient
from optioncoagent.exact.critic import critic_values
from optioncoagent.exact.degeneracy import degeneracy
from optioncoagent.exact.forms import FORMS, Form
from optioncoagent.exact.gradients import expected_return, finite_difference, local_gradient, policy_gradient
from optioncoagent.exact.network_forms import NETWORK_FORMS, NetworkForm
from optioncoagent.exact.option_models import OptionModels, Plan, option_models, plan
from optioncoagent.exact.option_values import OptionValues, option_values
from optioncoagent.exact.output_occupancies import OutputOccupancies, output_occupancies
from optioncoagent.exact.synchronous import SynchronousMDP, synchronous

__all__ = [
    "FORMS",
    "NETWORK_FORMS",
    "CoMDP",
    "Comparison",
    "Form",
    "NetworkForm",
    "OptionModels",
    "OptionValues",
    "OutputOccupancies",
    "Plan",
    "SynchronousMDP",
    "ascend",
    "comdp",
    "compare_gradients",
    "critic_values",
    "degeneracy",
    "expected_return",
    "finite_difference",
    "form_gradient",
    "local_gradient",
    "network_form_gradient",
    "option_models",
    "option_values",
    "output_occupancies",
    "plan",
    "policy_gradient",
    "synchronous",
    "termination_gradient",
]
