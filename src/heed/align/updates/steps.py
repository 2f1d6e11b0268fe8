"""Optimiser steps with a way back: what moves the policy too far is halved, and at last undone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

HALVINGS = 3
"""A step is halved so often before it is undone."""


class Steps:
    """Takes AdamW's steps, each of which can be taken back.

    A step's length is proportional to its learning rate, so that the step at half the rate is half the way back: no
    gradient is taken for it. A step that is undone leaves the optimiser's moments as they were before it, too.

    Args:
        optimizer: AdamW over ``parameters``.
        parameters: what it trains.
        max_kl: bound on the divergence that `too_far` is asked about, nats a token; 0 never finds a step too far.
        clip_updates: StableAdamW's update clipping (Wortsman et al. 2023, "Stable and low-precision training for
            large-scale vision-language models", section 3.5): a tensor's step is divided by its
            ``RMS(g / sqrt(v))`` where that is over 1, so that a gradient for which Adam's memory is not prepared moves
            no further than one that it knows.

    Attributes:
        halved: halvings since `begin_round`.
        undone: steps undone since `begin_round`.

    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> steps = Steps(torch.optim.AdamW([weight], lr=1.0, weight_decay=0.0), [weight], max_kl=0.1)
    >>> weight.grad = torch.tensor([-5.0])
    >>> steps.take()
    >>> steps.too_far(0.3)
    True
    >>> steps.retreat()
    >>> round(weight.item(), 3), steps.halved
    (0.5, 1)
    """

    def __init__(
        self,
        optimizer: torch.optim.AdamW,
        parameters: Sequence[torch.nn.Parameter],
        max_kl: float = 0.0,
        clip_updates: bool = False,
    ) -> None:
        self.optimizer, self.parameters = optimizer, list(parameters)
        self.max_kl, self.clip_updates = max_kl, clip_updates
        self.begin_round()

    def begin_round(self) -> None:
        """Count anew; the steps of the round before stay taken."""
        self.halved, self.undone = 0, 0
        self._before: list[tuple[Tensor, dict[str, Tensor]]] | None = None
        self._share = 1.0

    def end_round(self) -> None:
        """Let go of the way back: the last step stays taken."""
        self._before = None

    def take(self) -> None:
        """One step along the parameters' gradients, at the optimiser's learning rate."""
        if not (self.max_kl > 0 or self.clip_updates):
            self.optimizer.step()
            return
        self._before = [(p.detach().clone(), self._moments(p)) for p in self.parameters]
        self._share = 1.0
        self.optimizer.step()
        if self.clip_updates:
            self._clip()
        if self.max_kl <= 0:
            self.end_round()  # nobody asks for the way back

    def too_far(self, moved: float) -> bool:
        """Whether the policy has moved further than ``max_kl``, or nobody knows how far, and there is a way back."""
        return self.max_kl > 0 and self._before is not None and not moved <= self.max_kl

    @torch.no_grad()
    def retreat(self) -> None:
        """Go half the way back to where the last step began; after `HALVINGS` of these, all the way."""
        assert self._before is not None
        if self._share > 0.5**HALVINGS:
            self._share /= 2
            self.halved += 1
            for parameter, (before, _) in zip(self.parameters, self._before, strict=True):
                parameter.lerp_(before, 0.5)
            return
        self.undone += 1
        for parameter, (before, moments) in zip(self.parameters, self._before, strict=True):
            parameter.copy_(before)
            if moments:
                self.optimizer.state[parameter].update(moments)
            else:
                self.optimizer.state.pop(parameter, None)
        self._before = None

    def _moments(self, parameter: torch.nn.Parameter) -> dict[str, Tensor]:
        """A copy of what AdamW remembers of a parameter; empty before its first step."""
        state = self.optimizer.state.get(parameter, {})
        return {name: value.clone() for name, value in state.items()} if self.max_kl > 0 else {}

    @torch.no_grad()
    def _clip(self) -> None:
        """Shorten the step of every tensor whose gradient is larger than Adam's second moment is prepared for."""
        assert self._before is not None
        group = self.optimizer.param_groups[0]
        for parameter, (before, _) in zip(self.parameters, self._before, strict=True):
            if parameter.grad is None:
                continue
            state = self.optimizer.state[parameter]
            second = state["exp_avg_sq"] / (1 - group["betas"][1] ** float(state["step"]))
            rms = (parameter.grad.square() / second.clamp(min=group["eps"] ** 2)).mean().sqrt()
            parameter.copy_(before + (parameter - before) / rms.clamp(min=1.0))
