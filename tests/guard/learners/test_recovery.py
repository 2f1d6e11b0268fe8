"""Recovery RL: a risk whose value is known, who acts above the limit, what each replay keeps, and the hand-over."""

import copy

import numpy as np
import pytest
import torch
from guard_worlds import NO_ACTION, CartEnv, Person, at

from heed.errors import HeedError
from heed.guard.decisions import Decision
from heed.guard.guard import Guard
from heed.guard.intervention import fail_closed
from heed.guard.labels import LabelCollector
from heed.guard.learners.recovery import Recovery, RecoveryPhases, RecoverySAC
from heed.guard.phases import Phase
from heed.guard.phases_config import PhasesConfig

SETTINGS = {"learning_starts": 10, "seed": 0, "device": "cpu", "buffer_size": 500, "policy_kwargs": {"net_arch": [16]}}


class Known(RecoverySAC):
    """Risk is how far to the right an action pushes, in [0, 1]; recovery is half back."""

    def risk(self, states, actions):
        return (actions[:, 0] + 1) / 2

    def recover(self, states):
        return torch.full((len(states), 1), -0.5)


def test_the_risk_of_a_small_mdp_is_its_exact_value_and_the_recovery_policy_finds_the_way_out():
    """Two states. In the second a push to the right breaks, one to the left leads out; the first leads to the second.

    So there Q_risk is 1 to the right and 0 to the left, and in the first state gamma_risk times the share of its
    proposals that the task policy pushes to the right.
    """
    wide = SETTINGS | {"learning_rate": 1e-2, "tau": 0.05, "policy_kwargs": {"net_arch": [64]}}
    model = RecoverySAC("MlpPolicy", CartEnv(), cost_gamma=0.6, **wide)
    model.learn(1)  # sets the logger up
    model.safety_buffer.reset()
    draw = np.random.default_rng(0)
    for number in range(400):
        second, push = number % 2, draw.uniform(-1, 1)
        broken = second and push > 0
        here, there = np.array([[float(second), 0.0]]), np.array([[1.0, 0.0]])
        ends = np.array([bool(second)])
        model.safety_buffer.add(here, there, np.array([[push]]), np.array([float(broken)]), ends, [{}])
    torch.manual_seed(0)
    model.learn_risk(1000, 128)
    proposals = model.actor.action_log_prob(torch.tensor([1.0, 0.0]).expand(20_000, 2))[0].detach()
    share = float((proposals > 0).float().mean())
    assert 0.2 < share < 0.8
    for place, pushes, expected in (
        (1.0, (-0.8, -0.4), 0.0),
        (1.0, (0.4, 0.8), 1.0),
        (0.0, (-0.5, 0.5), 0.6 * share),
    ):
        result = model.risk(torch.tensor([[place, 0.0]] * 2), torch.tensor(pushes)[:, None])
        torch.testing.assert_close(result, torch.full((2,), expected), atol=0.1, rtol=0)
    out = model.recover(torch.tensor([[1.0, 0.0]]))
    assert float(out) < -0.2 and float(model.risk(torch.tensor([[1.0, 0.0]]), out)) < 0.1


def test_at_the_limit_a_proposal_passes_and_above_it_the_recovery_policy_acts():
    recovery, here = Recovery(Known("MlpPolicy", CartEnv(), **SETTINGS), limit=0.75), at([0.0, 1.0])
    proposed = np.array([1.0], np.float32)  # half ahead: risk .75
    assert recovery.decide(here, proposed) == Decision(proposed, proposed, "allow", "policy", risk=0.75)
    decision = recovery.decide(here, np.array([1.5], np.float32))
    assert (decision.decision, decision.source, decision.judged) == ("block", "recovery", True)
    assert decision.risk == pytest.approx(0.875) and decision.executed.tolist() == [-1.0]
    assert decision.executed.dtype == np.float32


@pytest.mark.parametrize("lost", ["risk", "recover"])
def test_nothing_passes_where_a_critic_or_a_policy_is_lost(lost):
    class Lost(Known):
        def risk(self, states, actions):
            return torch.full((1,), torch.nan) if lost == "risk" else torch.ones(1)

        def recover(self, states):
            return torch.full((1, 1), torch.nan) if lost == "recover" else super().recover(states)

    closed = fail_closed(Recovery(Lost("MlpPolicy", CartEnv(), **SETTINGS), 0.5))
    decision = closed.decide(at([0.0, 1.0]), np.array([-1.0], np.float32))
    assert decision.decision == "block"
    assert decision.executed.tolist() == ([-1.0] if lost == "risk" else [-2.0])  # else the declared safe action
    for action in NO_ACTION:
        assert closed.decide(at([0.0, 1.0]), action).decision == "block"


def phased(blocks, steps=20, kind=Known, **settings):
    guard = Guard(CartEnv(), overseer=Person(blocks, instead=np.array([-2.0], np.float32)))
    model = kind("MlpPolicy", guard, **SETTINGS)
    config = PhasesConfig(oversight_steps=steps, **{"least_blocks": 2, **settings})
    phases = RecoveryPhases(guard, model, config, limit=0.6, updates=3, labels=LabelCollector(2, 1))
    recorded = []
    guard.observers = [recorded.append, phases]
    return model, phases, recorded


def test_oversight_asks_and_recovery_does_not():
    model, phases, recorded = phased(lambda proposal: proposal.action[0] > 0)
    before = copy.deepcopy(model.safety_critic.state_dict())
    model.learn(40)
    assert phases.phase is Phase.AUTONOMY and phases.handed_over_at == 20 and phases.labels.judgements == 20
    assert [step.decision.asked for step in recorded] == [True] * 20 + [False] * 20
    for step in recorded[20:]:
        risky = (step.proposed[0] + 1) / 2 > 0.6
        assert step.decision.source == ("recovery" if risky else "policy")
        assert step.executed == pytest.approx([-0.5] if risky else step.proposed)
    sources = {step.decision.source for step in recorded[20:]}
    assert sources == {"recovery", "policy"}
    assert any(not torch.equal(before[name], value) for name, value in model.safety_critic.state_dict().items())


def test_the_task_policy_learns_what_it_proposed_and_the_critic_what_was_executed():
    model, _, recorded = phased(lambda proposal: proposal.action[0] > 0)
    model.learn(40)
    row, risky = 0, model.safety_buffer
    for number, step in enumerate(recorded):
        assert model.replay_buffer.actions[number, 0] == pytest.approx(step.proposed, abs=1e-6)  # relabelled
        assert model.replay_buffer.rewards[number, 0] == pytest.approx(step.reward)
        assert risky.actions[row, 0] == pytest.approx(step.executed, abs=1e-6)
        assert (risky.rewards[row, 0], risky.dones[row, 0]) == (0, 0)
        row += 1
        if step.decision.asked and step.decision.decision == "block":  # what a person blocked is at full risk
            assert risky.actions[row, 0] == pytest.approx(step.proposed, abs=1e-6)
            assert (risky.rewards[row, 0], risky.dones[row, 0]) == (1, 1)
            row += 1
    assert model.replay_buffer.pos == 40 and risky.pos == row > 40  # what recovery replaced says nothing


def test_oversight_goes_on_until_there_is_something_to_learn_from():
    _, phases, _ = (parts := phased(lambda proposal: proposal.step >= 22))
    parts[0].learn(30)
    assert phases.handed_over_at == 24  # tried at 20, 22 (no block yet) and 24, when two had been given
    _, never, _ = (parts := phased(lambda _: False))
    parts[0].learn(40)
    assert never.handed_over_at is None and never.phase is Phase.OVERSIGHT


def test_a_spent_budget_hands_over_at_once_or_says_why_not():
    model, phases, _ = phased(lambda proposal: proposal.action[0] > 0, most_judgements=12)
    model.learn(20)
    assert phases.handed_over_at == phases.labels.judgements == 12
    model, _, _ = phased(lambda _: False, most_judgements=12)
    with pytest.raises(HeedError, match="12 judgements are spent"):
        model.learn(20)


def test_a_shadow_executes_what_was_proposed():
    guard = Guard(CartEnv(), overseer=Person(lambda proposal: proposal.action[0] > 0))
    model = Known("MlpPolicy", guard, **SETTINGS)
    config = PhasesConfig(oversight_steps=5, least_blocks=1)
    recorded = []
    phases = RecoveryPhases(guard, model, config, 0.6, 0, LabelCollector(2, 1), shadow=True)
    guard.observers = [recorded.append, phases]
    model.costs_seen = True  # nothing is kept from the agent, so that only a catastrophe would be
    model.learn(30)
    assert phases.phase is Phase.AUTONOMY
    assert all(np.array_equal(step.proposed, step.executed) for step in recorded)
    assert {step.decision.source for step in recorded[5:]} == {"policy", "recovery"}


def test_the_risk_survives_saving(tmp_path):
    model, _, _ = phased(lambda proposal: proposal.action[0] > 0, kind=RecoverySAC)
    model.learn(30)
    model.save(tmp_path / "learner.zip")
    again = RecoverySAC.load(tmp_path / "learner.zip", device="cpu")
    states, actions = torch.randn(5, 2), torch.rand(5, 1)
    assert torch.equal(again.risk(states, actions), model.risk(states, actions))
    assert torch.equal(again.recover(states), model.recover(states))


@pytest.mark.parametrize("limit", [-0.1, 1.1, float("nan")])
def test_a_limit_that_is_no_probability_is_one_line(limit):
    with pytest.raises(HeedError, match="--risk-limit"):
        Recovery(Known("MlpPolicy", CartEnv(), **SETTINGS), limit)
