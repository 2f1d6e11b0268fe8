"""One round of a tiny trainer up to its K gradients, and the same written out with autograd."""

import torch

from heed.align.trainer import AlignTrainer


class Round:
    """A trainer's round up to its K gradients, with all that is needed to write it out again."""

    def __init__(self, trainer: AlignTrainer, drift: float = 0.0):
        self.trainer, config = trainer, trainer.config
        generator = torch.Generator().manual_seed(8)
        with torch.no_grad():  # away from the reference, so that there is a KL
            for parameter in trainer.policy.trainable().values():
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
        self.asked, columns = trainer.prompts.draw(0)
        self.rollout = trainer.sampler.roll(self.asked, trainer.generator, columns)
        self.rewards = trainer.scoring.rewards(self.rollout)
        trainer.scoring.observe(self.rewards)
        self.scored = trainer.scoring.measure(self.rollout, self.rewards, trainer.step)
        size = config.micro_batch or len(self.asked)
        self.parts = [slice(lo, lo + size) for lo in range(0, len(self.asked), size)]
        self.advantages = trainer.estimator.advantages(self.scored, self.parts)
        with torch.no_grad():  # ... and from the policy that spoke, so that ratios are not 1
            for parameter in trainer.policy.trainable().values():
                parameter += drift * torch.randn(parameter.shape, generator=generator)
        trainer.accumulate(self.scored, self.advantages, torch.arange(len(self.asked)))
        self.total = trainer.jacobian.total().clone()

    def logp(self, reference=False):
        """Every completion by itself, unpadded, as a list of [length] tensors."""
        policy, found = self.trainer.policy, []
        sequences = self.rollout.sequences
        for b in range(len(sequences)):
            ids = sequences.ids[b][sequences.attention[b].bool()]
            said = int(sequences.mask[b].sum())
            logits = policy.model(input_ids=ids[None], use_cache=False).logits[0, -said - 1 : -1]
            found.append((logits / self.trainer.config.temperature).log_softmax(-1).gather(-1, ids[-said:, None])[:, 0])
        return found

    def reference(self):
        with torch.no_grad(), self.trainer.policy.model.disable_adapter():
            return self.logp()

    def gradient(self, objective):
        """The gradient of a scalar in the Jacobian's columns."""
        parameters = list(self.trainer.jacobian.parameters.values())
        grads = torch.autograd.grad(objective, parameters, allow_unused=True, retain_graph=True)
        return torch.cat(
            [torch.zeros(p.numel()) if g is None else g.flatten() for p, g in zip(parameters, grads, strict=True)]
        )

    def against_the_other(self, values):
        """Leave-one-out with two completions a prompt: less the other one's."""
        return [values[b] - values[b ^ 1] for b in range(len(values))]


def close(found, expected):
    return float((found - expected).norm()) <= 2e-5 * float(expected.norm())
