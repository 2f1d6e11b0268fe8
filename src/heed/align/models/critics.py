"""One value model with K heads: each objective's critic, on its own adapter of the policy's frozen base."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from heed.align import distributed
from heed.align.models.policy import Policy
from heed.align.models.sequences import Sequences


@dataclass(frozen=True)
class CriticConfig:
    """How the critics learn.

    Args:
        learning_rate: of AdamW, for the adapter and the heads.
        epochs: passes over a step's returns.
        value_clip: how far a value may move from the old one before its loss stops pulling (PPO's value clipping, in
            units of the returns' standard deviation); 0 switches it off.
        scale: learn each objective's value in units of its own returns (running mean and standard deviation).
        memory: of that running mean and deviation, in [0, 1).
        rank: the adapter's rank at most; 0 takes the policy's.
    """

    learning_rate: float = 1e-3
    epochs: int = 1
    value_clip: float = 0.0
    scale: bool = True
    memory: float = 0.9
    rank: int = 0


class Critics(nn.Module):
    """V_k(state) of the K objectives.

    With a LoRA policy the critics are a second adapter on the same base; with full fine-tuning a copy of the backbone.

    Args:
        policy: whose base the critics share.
        objectives: K, the number of heads.
        config: how they learn.
        seed: of the adapter's initial weights.
    """

    mean: Tensor
    std: Tensor
    seen: Tensor

    def __init__(self, policy: Policy, objectives: int, config: CriticConfig, seed: int) -> None:
        super().__init__()
        self.policy, self.config = policy, config
        hidden = int(policy.causal_lm.config.get_text_config().hidden_size)
        self.heads = nn.Linear(hidden, objectives, device=policy.device)
        nn.init.zeros_(self.heads.weight)
        nn.init.zeros_(self.heads.bias)
        self.backbone: nn.Module | None = None
        if policy.peft_config is None:
            self.backbone = copy.deepcopy(policy.causal_lm.base_model)
            body = list(self.backbone.parameters())
        else:
            body = policy.add_critic_adapter(seed, config.rank)
        self.register_buffer("mean", torch.zeros(objectives, device=policy.device))
        self.register_buffer("std", torch.ones(objectives, device=policy.device))
        self.register_buffer("seen", torch.zeros((), device=policy.device))
        self.body = body
        self.optimizer = torch.optim.AdamW([*body, *self.heads.parameters()], lr=config.learning_rate, weight_decay=0.0)

    def active(self) -> AbstractContextManager[None]:
        """Within: the base computes with the critics' adapter, where they have one."""
        return nullcontext() if self.policy.peft_config is None else self.policy.critic_adapter()

    def scaled_values(self, batch: Sequences) -> Tensor:
        """Values in units of the returns' running deviation, [K, B, T] with graph; call it while `active`."""
        hidden = self.policy.hidden(batch, self.backbone)
        return self.heads(hidden.to(self.heads.weight.dtype)).permute(2, 0, 1) * batch.mask

    @torch.no_grad()
    def values(self, batch: Sequences) -> Tensor:
        """Values of the states from which the completions' tokens are chosen, in the rewards' units, [K, B, T]."""
        with self.active():
            scaled = self.scaled_values(batch)
        return (scaled * self.std[:, None, None] + self.mean[:, None, None]) * batch.mask

    def fit(self, parts: list[Sequences], returns: list[Tensor]) -> float:
        """Move the values towards the returns: one optimiser step per epoch.

        Args:
            parts: the step's sequences, in micro-batches.
            returns: their returns, [K, b, T] each; NaN where there is nothing to learn from.

        Returns:
            The mean squared error before the step, in units of the returns' standard deviation.
        """
        if self.config.scale:
            self.follow_scale(parts, returns)
        known = [part.mask * ~target.isnan() for part, target in zip(parts, returns, strict=True)]
        count = float(distributed.mean(torch.stack([each.sum() for each in known]).sum().double()).clamp(min=1))
        old: list[Tensor] = []
        first = 0.0
        for epoch in range(self.config.epochs):
            self.optimizer.zero_grad(set_to_none=True)
            with self.active():
                for i, (part, target) in enumerate(zip(parts, returns, strict=True)):
                    goal = ((target - self.mean[:, None, None]) / self.std[:, None, None]).nan_to_num(0.0)
                    value = self.scaled_values(part)
                    if epoch == 0:
                        old.append(value.detach())
                    error = (value - goal).square()
                    if self.config.value_clip > 0:
                        near = old[i] + (value - old[i]).clamp(-self.config.value_clip, self.config.value_clip)
                        error = torch.maximum(error, (near - goal).square())
                    loss = (error * known[i]).sum() / count
                    loss.backward()
                    if epoch == 0:
                        first += float(loss.detach())
            distributed.average_gradients(p for group in self.optimizer.param_groups for p in group["params"])
            self.optimizer.step()
        return first

    def follow_scale(self, parts: list[Sequences], returns: list[Tensor]) -> None:
        """Move the running mean and deviation towards the returns'; the heads are rescaled so that no value changes.

        This is PopArt (van Hasselt et al. 2016). The arguments are those of `fit`.
        """
        flat = torch.cat([target[:, part.mask.bool()] for part, target in zip(parts, returns, strict=True)], dim=1)
        count = distributed.mean((~flat.isnan()).sum(1).to(flat.dtype))
        known = count > 0  # an objective that scored nothing keeps its scale
        count = torch.where(known, count, 1.0)
        mean = distributed.mean(flat.nansum(1)) / count
        std = (distributed.mean((flat - mean[:, None]).square().nansum(1)) / count).sqrt().clamp(min=1e-3)
        keep = self.config.memory if bool(self.seen) else 0.0
        new_mean = torch.where(known, keep * self.mean + (1 - keep) * mean, self.mean)
        new_std = torch.where(known, keep * self.std + (1 - keep) * std, self.std)
        with torch.no_grad():
            if bool(self.seen):
                self.heads.weight.mul_((self.std / new_std)[:, None])
                self.heads.bias.mul_(self.std / new_std).add_((self.mean - new_mean) / new_std)
            self.mean.copy_(new_mean)
            self.std.copy_(new_std)
            self.seen.fill_(1)

    def state(self) -> dict[str, Any]:
        """Everything that resuming needs."""
        return {
            "heads": self.heads.state_dict(),
            "scale": {"mean": self.mean, "std": self.std, "seen": self.seen},
            "body": [p.detach().cpu() for p in self.body],
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what :meth:`state` returned."""
        self.heads.load_state_dict(state["heads"])
        with torch.no_grad():
            for name, buffer in self.named_buffers(recurse=False):
                buffer.copy_(state["scale"][name])
            for parameter, stored in zip(self.body, state["body"], strict=True):
                parameter.copy_(stored)
        self.optimizer.load_state_dict(state["optimizer"])
