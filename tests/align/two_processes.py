"""What each of two processes does under torchrun; test_distributed.py looks at their results."""

import sys
from pathlib import Path

import torch
from known_gradients import accumulate_rows
from tiny_policies import PROMPTS
from tiny_trainers import length, tiny_trainer, vowels
from torch import distributed

from heed.balance import weighting_from_name
from heed.balance.gramian import project_psd, unbiased_gram


def flat(tensors) -> torch.Tensor:
    return torch.cat([tensor.detach().flatten().float() for tensor in tensors])


def weights_of(trainer) -> torch.Tensor:
    return flat(trainer.policy.trainable().values())


def a_trainer(calls, run, **settings):
    def watch(prompts, completions, **_):
        values = vowels(completions)
        calls.append((list(prompts), sum(values) / len(values)))
        return values

    watch.__name__ = "vowels"
    folder = run if distributed.is_initialized() and distributed.get_rank() == 0 else None
    dataset = [{"prompt": prompt} for prompt in PROMPTS[:80]]
    settings = {"steps": 4, "checkpoint_every": 2, "dataset": dataset, "epochs": 2, "minibatches": 2, **settings}
    return tiny_trainer((watch, length), run=folder, **settings)


def train(run=None, **settings):
    calls = []
    trainer = a_trainer(calls, run, **settings)
    at_first = weights_of(trainer)
    trainer.train()
    training = [call for call in calls if len(call[0]) == 8]
    found = {
        "prompts": [prompt for prompts, _ in training for prompt in prompts],
        "rewards": training[0][1],
        "generator": trainer.generator.get_state().tolist(),
        "at_first": at_first,
        "weights": weights_of(trainer),
        "optimizer": flat(
            v for entry in trainer.optimizer.state.values() for v in (entry["exp_avg"], entry["exp_avg_sq"])
        ),
    }
    return trainer, found


def gradients_of_the_joint_batch(trainer):
    """The accumulated Jacobian after its reduction, and the one process's way over both processes' sequences."""
    prompts, columns = trainer.prompts.draw(0)
    rollout = trainer.sampler.roll(prompts, trainer.generator, columns)
    scored = trainer.scoring.measure(rollout, trainer.scoring.rewards(rollout), 0)
    advantages = trainer.estimator.advantages(scored, [slice(0, 8)])
    trainer.accumulate(scored, advantages, torch.arange(8))
    reduced = trainer.jacobian.total().clone()
    sequences = rollout.sequences
    mine = (sequences.ids.tolist(), sequences.attention.tolist(), sequences.mask.tolist(), advantages.tolist())
    both = [None, None]
    distributed.all_gather_object(both, mine)
    tokens = sum(sum(map(sum, mask)) for _, _, mask, _ in both)
    joint = torch.zeros_like(reduced)
    for ids, attention, mask, theirs in both:
        kind = type(sequences)
        logp = trainer.policy.logp(kind(torch.tensor(ids), torch.tensor(attention), torch.tensor(mask)))
        for k, row in enumerate(torch.tensor(theirs)):
            objective = (row[:, None] * logp).sum() / tokens
            grads = torch.autograd.grad(objective, list(trainer.jacobian.parameters.values()), retain_graph=True)
            joint[k] += flat(grads)
    return reduced, joint


def gram_of_all_micro_batches():
    trainer = a_trainer([], None, micro_batch=4, gram="unbiased", minibatches=1, epochs=1, jacobian_path="sequential")
    generator = torch.Generator().manual_seed(7 + distributed.get_rank())
    own = torch.randn(2, *trainer.jacobian.total().shape, generator=generator)
    trainer.jacobian.zero()
    for rows in own:
        accumulate_rows(trainer.jacobian, rows)
        trainer.jacobian.end_micro_batch()
    trainer.jacobian.all_reduce()
    gram = trainer.balancer.solve(trainer.optimizer).gram
    both = [torch.zeros_like(own), torch.zeros_like(own)]
    distributed.all_gather(both, own)
    everything = torch.cat(both).double() / 2  # each counts by half in the mean over two processes
    total = everything.sum(0)
    return gram, project_psd(16 * unbiased_gram(everything @ everything.mT, total @ total.T))


def whitened_advantages():
    """GDPO's advantages of this process, and the same of both processes' completions as one batch."""
    method = weighting_from_name("gdpo", 2)
    trainer = a_trainer([], None, weighting=method, kl_beta=0.0)
    prompts, columns = trainer.prompts.draw(0)
    rollout = trainer.sampler.roll(prompts, trainer.generator, columns)
    scored = trainer.scoring.measure(rollout, trainer.scoring.rewards(rollout), 0)
    found = trainer.estimator.advantages(scored, [slice(0, 8)])[0]
    both = [None, None]
    distributed.all_gather_object(both, scored.rewards.tolist())
    joint = torch.cat([method.combine(torch.tensor(rewards), 2) for rewards in both])
    joint = (joint - joint.mean()) / (joint.std() + 1e-4)
    return found, joint.chunk(2)[distributed.get_rank()]


def main(folder: Path) -> None:
    first = tiny_trainer()  # joins the processes
    reduced, joint = gradients_of_the_joint_batch(first)
    gram, by_hand = gram_of_all_micro_batches()
    found = {"reduced": reduced, "joint": joint, "gram": gram, "gram_by_hand": by_hand}
    settings = {"advantage": "gae", "surrogate": "ppo"}
    trainer, found["critics"] = train(folder / "run", **settings)
    found["critics"]["critics"] = flat([*trainer.estimator.critics.parameters(), *trainer.estimator.critics.buffers()])
    _, found["groups"] = train(surrogate="ppo", normalise_rewards=True)
    found["whitened"] = whitened_advantages()
    bound = {"surrogate": "ppo", "max_fall": 0.1, "max_kl": 2e-3, "learning_rate": 0.1, "warmup_steps": 0}
    bounded, found["bounded"] = train(weighting=weighting_from_name("gdpo", 2), **bound)
    found["taken_back"] = bounded.journal.totals
    resumed = a_trainer([], None, **settings)
    resumed.restore(folder / "run" / "checkpoints" / "step-2")
    resumed.train()
    found["resumed"] = weights_of(resumed)
    torch.save(found, folder / f"rank-{distributed.get_rank()}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
