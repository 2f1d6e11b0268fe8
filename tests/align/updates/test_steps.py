"""Optimiser steps that can be taken back: half a step is a step at half the rate, an undone one leaves no trace."""

import copy
import json
import math

import pytest
import torch
from tiny_trainers import FUNCTIONS, tiny_trainer

from heed.align.gradients import divergence
from heed.align.updates.steps import Steps
from heed.errors import HeedError


def trained(max_kl=0.1, lr=0.02, last_lr=None, before=3, **settings):
    """Steps of AdamW over two tensors after some steps, and one more at a rate of its own."""
    generator = torch.Generator().manual_seed(4)
    weights = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 2), (4,))]
    optimizer = torch.optim.AdamW(weights, lr=lr, betas=(0.9, 0.95), weight_decay=0.1)
    steps = Steps(optimizer, weights, max_kl, **settings)
    for number in range(before + 1):
        if number == before:
            kept = copy.deepcopy((weights, optimizer.state_dict()["state"]))
            optimizer.param_groups[0]["lr"] = last_lr or lr
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        steps.take()
    return steps, weights, kept


def everything(steps):
    return [
        value.clone()
        for weight in steps.parameters
        for value in (weight.detach(), *steps.optimizer.state[weight].values())
    ]


def test_going_half_the_way_back_is_the_step_at_half_the_rate_moments_and_all():
    for halvings in (1, 2, 3):
        steps, _, _ = trained()
        for _ in range(halvings):
            steps.retreat()
        gentler, _, _ = trained(last_lr=0.02 / 2**halvings)
        for found, expected in zip(everything(steps), everything(gentler), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
        assert (steps.halved, steps.undone) == (halvings, 0)


@pytest.mark.parametrize("before", [0, 3])
def test_after_three_halvings_the_step_is_undone_as_if_it_had_never_been(before):
    steps, weights, (kept, state) = trained(before=before)
    for _ in range(4):
        assert steps.too_far(0.2)
        steps.retreat()
    assert (steps.halved, steps.undone) == (3, 1)
    assert all(torch.equal(weight, old) for weight, old in zip(weights, kept, strict=True))
    now = steps.optimizer.state_dict()["state"]
    assert now.keys() == state.keys()
    assert all(torch.equal(now[i][name], state[i][name]) for i in state for name in state[i])
    assert not steps.too_far(0.2)  # there is no step left to take back


def test_what_cannot_be_measured_is_too_far_and_without_a_bound_nothing_is():
    steps, _, _ = trained(max_kl=0.1)
    assert [steps.too_far(moved) for moved in (0.0, 0.1, 0.11, math.inf, math.nan)] == [False, False, True, True, True]
    unbounded, _, _ = trained(max_kl=0.0)
    assert not any(unbounded.too_far(moved) for moved in (0.0, 1.0, math.inf, math.nan))


def test_a_new_round_leaves_the_steps_of_the_last_one_alone():
    steps, _, _ = trained()
    steps.retreat()
    steps.begin_round()
    assert (steps.halved, steps.undone) == (0, 0) and not steps.too_far(9.0)


def test_clipped_updates_are_stable_adamws():
    """Written out by section 3.5 of Wortsman et al. (2023), tensor by tensor."""
    lr, decay, (beta1, beta2), eps = 0.02, 0.1, (0.9, 0.95), 1e-8
    generator = torch.Generator().manual_seed(1)
    first, second = (torch.nn.Parameter(torch.randn(3, generator=generator)) for _ in range(2))
    expected = [first.detach().clone(), second.detach().clone()]
    optimizer = torch.optim.AdamW([first, second], lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=decay)
    steps = Steps(optimizer, [first, second], clip_updates=True)
    m, v, over = [0.0, 0.0], [0.0, 0.0], []
    for t in range(1, 8):
        for i, weight in enumerate((first, second)):
            scale = 50.0 if (t, i) == (6, 1) else 1.0  # a jolt, in the second tensor alone
            weight.grad = scale * torch.randn(3, generator=generator)
            m[i] = beta1 * m[i] + (1 - beta1) * weight.grad
            v[i] = beta2 * v[i] + (1 - beta2) * weight.grad**2
            u = v[i] / (1 - beta2**t)
            rms = float((weight.grad**2 / u.clamp(min=eps**2)).mean().sqrt())
            rate = lr / max(1.0, rms)
            expected[i] = expected[i] - rate * decay * expected[i]
            expected[i] = expected[i] - rate * (m[i] / (1 - beta1**t)) / (u.sqrt() + eps)
            over.append(rms)
        steps.take()
    assert max(over) == over[11] > 2  # of step 6, the second tensor
    torch.testing.assert_close(first.detach(), expected[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(second.detach(), expected[1], rtol=1e-5, atol=1e-6)


def test_the_divergence_is_the_kl_of_the_old_policy_from_the_new_and_never_negative():
    generator = torch.Generator().manual_seed(2)
    old, new = torch.randn(2, 5, generator=generator).double().log_softmax(-1)
    mask = torch.tensor([[1.0], [0.0]])  # what is off the completion counts for nothing
    each = torch.stack(
        [
            divergence(torch.stack([n, n])[:, None], torch.stack([o, o])[:, None], mask)
            for n, o in zip(new, old, strict=True)
        ]
    )
    assert bool((each >= 0).all())
    assert float((old.exp() * each).sum()) == pytest.approx(float((old.exp() * (old - new)).sum()), rel=1e-5)


ROUND = {"minibatches": 2, "epochs": 2, "surrogate": "ppo", "kl_beta": 0.0}


def test_a_round_with_a_bound_moves_much_less_and_says_what_it_took_back():
    free = tiny_trainer(FUNCTIONS[:2], **ROUND, learning_rate=0.3, max_kl=1e6, warmup_steps=0)
    far = free.round()
    assert far["kl_round"] > 0.002 and (far["steps_halved"], far["steps_undone"]) == (0, 0)
    bound = tiny_trainer(FUNCTIONS[:2], **ROUND, learning_rate=0.3, max_kl=0.002, warmup_steps=0)
    near = bound.round()
    # Steps before the last were held to it on other completions (four of them each), and only the last can be undone.
    assert near["kl_round"] <= 0.002 or near["steps_undone"] >= 1
    assert 0 < near["kl_round"] < far["kl_round"] / 2 and near["steps_halved"] >= 3


def test_where_nothing_is_too_far_the_bound_changes_nothing():
    with_bound, without = (tiny_trainer(FUNCTIONS[:2], **ROUND, max_kl=max_kl) for max_kl in (1e6, 0.0))
    for trainer in (with_bound, without):
        trainer.train()
    for a, b in zip(with_bound.policy.trainable().values(), without.policy.trainable().values(), strict=True):
        assert torch.equal(a, b)


def test_one_step_a_round_is_measured_too():
    """On-policy: there is no next minibatch whose forward pass would tell."""
    trainer = tiny_trainer(FUNCTIONS[:2], learning_rate=0.3, max_kl=0.002, warmup_steps=0)
    metrics = trainer.round()
    assert trainer.config.on_policy
    assert metrics["kl_round"] <= 0.002 and metrics["steps_halved"] >= 1


def test_a_negative_bound_is_refused():
    with pytest.raises(HeedError, match="--max-kl"):
        tiny_trainer(max_kl=-0.1)


def test_what_was_taken_back_is_counted_over_the_whole_run_and_over_a_resume(tmp_path):
    settings = {**ROUND, "learning_rate": 0.3, "max_kl": 0.002, "warmup_steps": 0, "clip_updates": True, "steps": 4}
    whole = tiny_trainer(FUNCTIONS[:2], run=tmp_path / "whole", checkpoint_every=2, **settings)
    summary = whole.train()
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    for name in ("steps_halved", "steps_undone"):
        assert summary[name] == sum(line.get(name, 0) for line in lines)
    assert summary["steps_halved"] > 0
    resumed = tiny_trainer(FUNCTIONS[:2], **settings)
    resumed.restore(tmp_path / "whole" / "checkpoints" / "step-2")
    again = resumed.train()
    assert {name: again[name] for name in ("steps_halved", "steps_undone")} == {
        name: summary[name] for name in ("steps_halved", "steps_undone")
    }
    for a, b in zip(whole.policy.trainable().values(), resumed.policy.trainable().values(), strict=True):
        assert torch.equal(a, b)
