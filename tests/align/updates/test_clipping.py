"""The combined gradient is kept in its own measure: a rare outlier cannot undo the policy."""

import math

import pytest
import torch
from tiny_trainers import FUNCTIONS, tiny_trainer

from heed.balance import Linear


def lengths_taken(trainer, wanted):
    """The lengths of the steps' gradients where the combined gradient has these lengths before clipping."""
    taken = []

    def write(weights):
        length = wanted[len(taken)]
        for parameter in trainer.jacobian.parameters.values():
            parameter.grad = torch.zeros_like(parameter)
        first = next(iter(trainer.jacobian.parameters.values()))
        first.grad.view(-1)[0] = length
        return torch.tensor([length])

    def note(*_):
        total = torch.cat([p.grad.flatten() for p in trainer.jacobian.parameters.values()])
        taken.append(float(total.norm()))

    trainer.jacobian.write_gradient = write
    trainer.optimizer.register_step_pre_hook(note)
    trainer.accumulate(*prepared(trainer))
    balance = trainer.balancer.solve(trainer.optimizer)
    said = [trainer.update(balance) for _ in wanted]
    assert said == pytest.approx(wanted)  # what is told is the length before clipping
    return taken


def prepared(trainer):
    prompts, columns = trainer.prompts.draw(0)
    rollout = trainer.sampler.roll(prompts, trainer.generator, columns)
    scored = trainer.scoring.measure(rollout, trainer.scoring.rewards(rollout), trainer.step)
    advantages = trainer.estimator.advantages(scored, [slice(0, len(prompts))])
    return scored, advantages, torch.arange(len(prompts))


def test_an_outlier_is_clipped_to_so_many_times_the_typical_length_whatever_the_objectives_units():
    for unit in (1e-3, 1.0, 1e3):
        trainer = tiny_trainer(FUNCTIONS[:2], weighting=Linear([1.0, 1.0]), max_grad_norm=0.0, max_grad_ratio=3.0)
        wanted = [unit * x for x in (1.0, 1.2, 0.8, 70.0, 1.0)]
        taken = lengths_taken(trainer, wanted)
        typical = 1.0
        for x in (1.2, 0.8):
            typical = 0.95 * typical + 0.05 * x
        assert taken == pytest.approx([unit, 1.2 * unit, 0.8 * unit, 3 * typical * unit, unit], rel=1e-4)


def test_a_lasting_change_of_scale_is_followed():
    trainer = tiny_trainer(FUNCTIONS[:2], weighting=Linear([1.0, 1.0]), max_grad_norm=0.0, max_grad_ratio=3.0)
    taken = lengths_taken(trainer, [1.0] + [100.0] * 60)
    assert taken[1] == pytest.approx(3.0) and taken[-1] == pytest.approx(100.0)


def test_both_bounds_hold_and_either_may_be_off():
    def taken(**settings):
        return lengths_taken(tiny_trainer(FUNCTIONS[:2], weighting=Linear([1.0, 1.0]), **settings), [1.0, 50.0])[1]

    assert taken(max_grad_norm=2.0, max_grad_ratio=3.0) == pytest.approx(2.0)
    assert taken(max_grad_norm=20.0, max_grad_ratio=3.0) == pytest.approx(3.0)
    assert taken(max_grad_norm=20.0, max_grad_ratio=0.0) == pytest.approx(20.0)
    assert math.isclose(taken(max_grad_norm=0.0, max_grad_ratio=0.0), 50.0, rel_tol=1e-6)


def test_what_is_typical_is_part_of_the_state_that_a_resume_finds():
    trainer = tiny_trainer(FUNCTIONS[:2], weighting=Linear([1.0, 1.0]), max_grad_norm=0.0)
    lengths_taken(trainer, [1.0, 2.0])
    assert trainer.state()["typical_norm"] == pytest.approx(1.05)
