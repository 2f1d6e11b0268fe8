"""The gradient benchmark's model: random weights of a known shape, and K losses of one batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from heed.align.surrogates import Plain, PPOClip
from heed.balance.cotangents import Cotangents
from heed.bench.shapes import LORA_RANK, ModelShape, base_model

CLIPPED_BY = 0.5
"""A clipped token's log-ratio: its ratio, 1.65, is outside PPO's range of 0.8 to 1.2."""


def build_model(shape: ModelShape, device: torch.device, dtype: torch.dtype, seed: int) -> PeftModel:
    """A random-weight model made on the device, with LoRA adapters of rank 16 on all linear layers.

    Args:
        shape: the model's.
        device: where its weights are made; nothing is copied there.
        dtype: of the frozen base. The adapters are peft's own choice: float32 over a half-precision base.
        seed: of all weights.

    Returns:
        The model in training mode, the adapters' B away from zero, where it would hide every gradient of A.
    """
    base = base_model(shape, device, dtype, seed, context=max(shape.tokens, 32))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.device(device):
        torch.manual_seed(seed + 1)
        model = get_peft_model(base, LoraConfig(r=LORA_RANK, target_modules="all-linear"))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(parameter, std=0.02)
    return model.train()


def enable_checkpointing(model: PeftModel) -> None:
    """Switch on non-reentrant gradient checkpointing, as `heed align` does with ``gradient_checkpointing``."""
    base = model.get_base_model()
    base.gradient_checkpointing_enable({"use_reentrant": False})
    base.enable_input_require_grads()


@dataclass(frozen=True)
class Losses:
    """K surrogate losses of one batch, in both forms: for plain autograd, and as cotangents.

    Args:
        surrogate: of which the losses are.
        old_logp: log-probabilities of the policy that sampled, [B, T].
        advantages: one per objective and sequence, [K, B].
        weight: each token's share of the mean, [B, T].
    """

    surrogate: Plain | PPOClip
    old_logp: Tensor
    advantages: Tensor
    weight: Tensor

    def cotangents(self, logp: Tensor) -> Cotangents:
        """``dL_k / dlogp`` at ``logp``, as :class:`heed.align.AlignTrainer` takes them."""
        return self.surrogate.cotangents(logp, self.old_logp, self.advantages, self.weight)

    def values(self, logp: Tensor) -> Tensor:
        """The K losses (maximised) at ``logp`` with their graph, [K]: what a trainer without heed writes."""
        A = self.advantages[:, :, None]
        if isinstance(self.surrogate, Plain):
            return (self.weight * logp * A).sum((1, 2))
        ratio = (logp - self.old_logp).exp()
        clipped = ratio.clamp(1 - self.surrogate.low, 1 + self.surrogate.high)
        return (self.weight * torch.minimum(ratio * A, clipped * A)).sum((1, 2))


class Batch:
    """Random token sequences and the model's log-probabilities of them.

    Args:
        model: whose they are.
        shape: number and length of the sequences.
        seed: of the tokens and advantages.
    """

    def __init__(self, model: PeftModel, shape: ModelShape, seed: int) -> None:
        self.model, self.seed = model, seed
        self.device = next(model.parameters()).device
        generator = torch.Generator().manual_seed(seed)
        self.ids = torch.randint(shape.vocabulary, (shape.sequences, shape.tokens), generator=generator).to(self.device)

    def logp(self, rows: Tensor | None = None) -> Tensor:
        """Log-probabilities of all tokens but the first of each sequence (of some ``rows``), [B, T] with graph."""
        ids = self.ids if rows is None else self.ids[rows]
        logits = self.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[:, :-1]
        return logits.float().log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)

    def losses(self, K: int, clipped: Tensor | None = None) -> Losses:
        """K losses with one advantage per sequence.

        Args:
            K: how many.
            clipped: bool [B], the sequences that have a clipped token and objectives that disagree in sign; None is
                the plain policy gradient, where nothing is clipped.
        """
        generator = torch.Generator().manual_seed(self.seed + K)
        advantages = torch.randn(K, len(self.ids), generator=generator)
        with torch.no_grad():
            old_logp = self.logp()
        if clipped is not None:
            advantages[0, clipped] = advantages[0, clipped].abs()
            advantages[1, clipped] = -advantages[1, clipped].abs()
            middle = old_logp.shape[1] // 2
            old_logp[clipped.to(self.device), middle] -= CLIPPED_BY
        weight = torch.full_like(old_logp, 1 / old_logp.numel())
        surrogate = Plain() if clipped is None else PPOClip()
        return Losses(surrogate, old_logp, advantages.to(self.device), weight)
