"""A sampler that draws from a policy a little apart: measured in every round, and weighted where it matters."""

import dataclasses
import math

import pytest
import torch
from tiny_policies import tiny_model
from tiny_trainers import tiny_trainer

from heed.align.importance import Importance
from heed.errors import HeedError


def prepared(trainer, shift=0.0):
    """A scored rollout whose sampler says that it drew each token with ``shift`` nats more."""
    prompts, columns = trainer.prompts.draw(0)
    rollout = trainer.sampler.roll(prompts, trainer.generator, columns)
    rollout.logp = rollout.logp + shift * rollout.sequences.mask
    return trainer.scoring.measure(rollout, trainer.scoring.rewards(rollout), trainer.step)


def test_each_tokens_gradient_is_weighted_for_every_objective():
    trainer = tiny_trainer(kl_beta=0.0, kl_place="loss")
    scored = prepared(trainer)
    mask = scored.sequences.mask
    weights = 0.2 + 1.8 * torch.rand(mask.shape, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(len(mask))
    advantages = torch.randn(2, len(mask), generator=torch.Generator().manual_seed(1))
    trainer.accumulate(dataclasses.replace(scored, importance=weights), advantages, rows)
    logp = trainer.policy.logp(scored.sequences)
    parameters = list(trainer.policy.trainable().values())
    for k in range(2):
        loss = (weights * logp * mask * advantages[k][:, None]).sum() / mask.sum()
        expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, retain_graph=True)])
        assert expected.norm() > 1e-3
        torch.testing.assert_close(trainer.jacobian.total()[k], expected, rtol=1e-4, atol=1e-6)


def test_weighted_draws_of_another_policy_have_the_policys_own_gradient():
    """Over all tokens: sum_a q(a) [p(a) / q(a)] A(a) dlogp(a) is the policy gradient under p, whatever q."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, generator=generator, dtype=torch.float64, requires_grad=True)
    q = torch.randn(7, generator=generator, dtype=torch.float64).softmax(0)
    advantage = torch.randn(7, generator=generator, dtype=torch.float64)
    logp = logits.log_softmax(0)
    weights = Importance(1e9).weights(logp.detach(), q.log(), torch.ones(7))
    (found,) = torch.autograd.grad((q * weights * advantage * logp).sum(), logits, retain_graph=True)
    (own,) = torch.autograd.grad((logp.exp() * advantage).sum(), logits)
    torch.testing.assert_close(found, own, rtol=1e-12, atol=1e-12)


def test_in_float32_it_is_measured_and_nothing_is_weighted():
    trainer = tiny_trainer()
    assert prepared(trainer).importance is None
    roll = trainer.sampler.roll

    def shifted(*arguments):
        rollout = roll(*arguments)
        rollout.logp = rollout.logp - 0.25 * rollout.sequences.mask
        return rollout

    trainer.sampler.roll = shifted
    metrics = trainer.round()
    assert metrics["sampler/mismatch"] == pytest.approx(0.25, abs=1e-4)
    assert metrics["sampler/capped"] == 0
    for other in ({"sampler": "generate"}, {"top_k": 3}):
        unknown = tiny_trainer(**other).round()
        assert math.isnan(unknown["sampler/mismatch"]) and unknown.keys() == metrics.keys()


def test_what_is_cut_off_is_counted_on_the_completions_alone():
    importance = Importance(0.5)
    mask = torch.tensor([[1, 1, 0, 0]])
    weights = importance.weights(torch.tensor([[0.0, -1.0, 0.0, 0.0]]), torch.zeros(1, 4), mask)
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.3679, 0.5, 0.5]]), rtol=0, atol=1e-4)
    assert importance.metrics()["sampler/capped"] == 0.5
    assert importance.metrics()["sampler/capped"] == 0.0


@pytest.mark.parametrize(("cap", "expected"), [(2.0, 2.0), (10.0, 2.71828)])
def test_in_half_precision_tokens_are_weighted_up_to_the_cap(cap, expected):
    trainer = tiny_trainer(model=tiny_model().to(torch.bfloat16), importance_cap=cap)
    scored = prepared(trainer, shift=-1.0)
    kept = scored.sequences.mask.bool()
    with torch.no_grad():
        torch.testing.assert_close(scored.logp, trainer.policy.logp(scored.sequences), rtol=0, atol=0.05)
    assert scored.importance[kept].tolist() == pytest.approx([expected] * int(kept.sum()), rel=0.06)
    trainer.accumulate(scored, torch.randn(2, len(kept)), torch.arange(len(kept)), unmoved=True)
    metrics = trainer.importance.metrics()
    assert metrics["sampler/mismatch"] == pytest.approx(1.0, abs=0.05)
    assert metrics["sampler/capped"] == (1.0 if cap == 2.0 else 0.0)


def test_a_cap_of_zero_takes_the_samplers_word():
    trainer = tiny_trainer(model=tiny_model().to(torch.bfloat16), importance_cap=0.0)
    scored = prepared(trainer, shift=-1.0)
    assert scored.importance is None
    assert torch.equal(scored.logp, scored.sampler_logp)


def test_a_negative_cap_is_refused():
    with pytest.raises(HeedError, match="--importance-cap"):
        tiny_trainer(importance_cap=-1.0)
