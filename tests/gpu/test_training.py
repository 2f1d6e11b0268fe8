"""Training on the device: what lives there, what is resumed, the critics and evaluation."""

import time

import pytest
import torch
from tiny_policies import a_batch, tiny_model
from tiny_trainers import tiny_trainer

from heed.align.advantages import CriticEstimator
from heed.align.models.policy import Sequences

pytestmark = pytest.mark.gpu


def trainer_on(device, dtype=torch.float32, **settings):
    return tiny_trainer(model=tiny_model().to(device=device, dtype=dtype), **settings)


def tensors(state):
    """All tensors in dictionaries and lists of them."""
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return [state] if isinstance(state, torch.Tensor) else [each for part in parts for each in tensors(part)]


@pytest.mark.parametrize("advantage", ["group", "gae"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_round_moves_the_policy_and_nothing_leaves_the_device(device, advantage, dtype):
    trainer = trainer_on(device, dtype, advantage=advantage, eval_prompts=0, epochs=2, surrogate="ppo")
    before = [parameter.detach().clone() for parameter in trainer.policy.trainable().values()]
    metrics = trainer.round()
    after = trainer.policy.trainable().values()
    assert any(float((new.detach() - old).abs().max()) > 1e-3 for new, old in zip(after, before, strict=True))
    assert all(parameter.dtype == torch.float32 for parameter in after)
    assert all(value == value for value in metrics.values())
    held = [*trainer.policy.model.parameters(), *tensors(trainer.optimizer.state_dict()["state"])]
    if isinstance(trainer.estimator, CriticEstimator):
        critics = trainer.estimator.critics
        held += [*critics.heads.parameters(), *critics.buffers(), *critics.body]
    # An optimiser counts its steps on the CPU.
    assert {part.device.type for part in held if part.dim()} == {device.type}


@pytest.mark.parametrize("advantage", ["group", "gae"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_resumed_run_equals_the_uninterrupted_one(device, advantage, dtype, tmp_path):
    settings = {"advantage": advantage, "steps": 4, "checkpoint_every": 2, "eval_prompts": 0}
    straight = trainer_on(device, dtype, run=tmp_path / "straight", **settings)
    rewards = {}
    straight.train(lambda step, metrics: rewards.update({step: metrics["rewards/vowels/mean"]}))
    torch.rand(3, device=device)  # a new process is anywhere
    resumed = trainer_on(device, dtype, **settings)
    resumed.restore(next(path for path in (tmp_path / "straight" / "checkpoints").iterdir() if path.name.endswith("2")))
    assert resumed.step == 2
    again = {}
    resumed.train(lambda step, metrics: again.update({step: metrics["rewards/vowels/mean"]}))
    assert again == {step: rewards[step] for step in (3, 4)}
    for name, parameter in straight.policy.trainable().items():
        assert torch.allclose(resumed.policy.trainable()[name], parameter, atol=1e-6), name


def test_critics_value_and_learn_as_on_the_cpu(device):
    found = []
    for where in (torch.device("cpu"), device):
        trainer = trainer_on(where, advantage="gae", eval_prompts=0, critic_learning_rate=1e-2)
        batch = a_batch(8)
        batch = Sequences(batch.ids.to(where), batch.attention.to(where), batch.mask.to(where))
        returns = torch.randn(2, *batch.mask.shape, generator=torch.Generator().manual_seed(3)).to(where)
        critics = trainer.estimator.critics
        before = critics.values(batch).cpu()
        errors = [critics.fit([batch], [returns]) for _ in range(5)]
        found.append((before, torch.tensor(errors), critics.values(batch).cpu()))
    (before, errors, values), (like, others, those) = found
    assert errors[-1] < errors[0] and float(values.std()) > 0.01
    assert torch.allclose(before, like, atol=1e-4) and torch.allclose(errors[0], others[0], atol=1e-4)
    # Adam's first steps make a whole step of a gradient's rounding, where that is all there is of it.
    assert torch.allclose(errors, others, atol=2e-3) and float((values - those).norm() / values.norm()) < 0.1


def test_the_time_of_scoring_is_told_as_that_of_scoring(device, monkeypatch):
    """A GPU scores later than it is asked to: without waiting, the gradients' time would hold the scoring's."""
    trainer = trainer_on(device, advantage="group", eval_prompts=0)
    reference_logp = trainer.policy.reference_logp

    def slow(*arguments):
        if device.type == "cuda":
            torch.cuda._sleep(1_000_000_000)  # cycles of its clock: about half a second
        else:
            time.sleep(0.5)
        return reference_logp(*arguments)

    trainer.round()  # the first is slow in all its parts
    monkeypatch.setattr(trainer.policy, "reference_logp", slow)
    metrics = trainer.round()
    assert metrics["seconds/scoring"] > 0.3 > metrics["seconds/gradients"]


def test_an_evaluation_repeats_itself_and_leaves_the_training_as_it_was(device):
    trainer = trainer_on(device, eval_prompts=3)
    state = trainer.generator.get_state()
    first, second = trainer.evaluate(), trainer.evaluate()
    assert first.completions == second.completions and torch.equal(first.rewards, second.rewards)
    assert torch.equal(trainer.generator.get_state(), state)
