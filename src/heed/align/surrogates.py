"""Surrogate objectives, as the cotangents ``dL_k / dlogp`` in closed form.

Each surrogate L_k is maximised. Advantages per sequence [K, B] keep the cotangents of low rank, so that K gradients
cost about one (:mod:`heed.balance.jacobian`); advantages per token [K, B, T] have rank K.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from heed.align.config import AlignConfig
from heed.balance.cotangents import Cotangents, Term
from heed.balance.reward_combination import PairLoss
from heed.balance.weightings.combinations.ric import RiC


class Surrogate(Protocol):
    """Turns advantages into cotangents."""

    @property
    def rank(self) -> int:
        """The rank of its cotangents when the advantages are per sequence."""
        ...

    def cotangents(self, logp: Tensor, old_logp: Tensor, advantages: Tensor, weight: Tensor) -> Cotangents:
        """The cotangents at ``logp``.

        Args:
            logp: the policy's log-probabilities of the sampled tokens, [B, T].
            old_logp: those of the policy that sampled them, [B, T].
            advantages: [K, B] or [K, B, T].
            weight: [B, T], each token's share of the mean; zero off the completion.
        """
        ...

    def clipped(self, logp: Tensor, old_logp: Tensor) -> Tensor:
        """Which tokens are clipped for some sign of the advantage, bool [B, T]."""
        ...


def _shared(u: Tensor, advantages: Tensor) -> Cotangents:
    if advantages.dim() == 2:
        return Cotangents((Term(u, advantages),))
    return Cotangents.from_dense(u * advantages)


class Unclipped:
    """The part of a surrogate that clips nothing."""

    def clipped(self, logp: Tensor, old_logp: Tensor) -> Tensor:  # noqa: ARG002 - the protocol's
        """Nothing is clipped."""
        return torch.zeros_like(logp, dtype=torch.bool)


@dataclass(frozen=True)
class Plain(Unclipped):
    """The policy gradient itself, ``A_k logp``: on-policy REINFORCE with a baseline.

    >>> one = torch.ones(1, 1)
    >>> Plain().cotangents(-one, -one, torch.tensor([[2.0], [3.0]]), one).dense().flatten().tolist()
    [2.0, 3.0]
    """

    rank: int = 1

    def cotangents(
        self,
        logp: Tensor,
        old_logp: Tensor,  # noqa: ARG002 - the protocol's
        advantages: Tensor,
        weight: Tensor,
    ) -> Cotangents:
        """``s_k = w A_k``."""
        return _shared(weight.to(logp.dtype), advantages)


@dataclass(frozen=True)
class CISPO:
    """Importance weight clipped and held constant (MiniMax-M1, 2025, eq. 4): ``s_k = w clip(r) A_k``.

    Args:
        low: lowest weight is ``1 - low``.
        high: highest weight is ``1 + high``.
    """

    low: float = 1.0
    high: float = 0.28
    rank: int = 1

    def cotangents(self, logp: Tensor, old_logp: Tensor, advantages: Tensor, weight: Tensor) -> Cotangents:
        """``s_k = w clip(r, 1 - low, 1 + high) A_k``."""
        ratio = (logp - old_logp).exp().clamp(1 - self.low, 1 + self.high)
        return _shared(weight * ratio, advantages)

    def clipped(self, logp: Tensor, old_logp: Tensor) -> Tensor:
        """Tokens whose ratio lies outside the bounds."""
        ratio = (logp - old_logp).exp()
        return (ratio < 1 - self.low) | (ratio > 1 + self.high)


@dataclass(frozen=True)
class PPOClip:
    """PPO's clipped surrogate (Schulman et al. 2017, eq. 7), ``min(r A_k, clip(r, 1 - low, 1 + high) A_k)``.

    Its gradient is ``r A_k`` where ``r <= 1 + high`` (A_k >= 0) or ``r >= 1 - low`` (A_k < 0) and zero elsewhere: the
    mask depends on the sign of A_k alone. So a sequence without a clipped token, or whose objectives agree in sign,
    needs one shared cotangent, and only the others need two.

    Args:
        low: clip range below 1.
        high: clip range above 1.

    >>> logp, old = torch.tensor([[0.0, 0.5]]), torch.zeros(1, 2)          # ratios 1 and 1.65
    >>> s = PPOClip(0.2, 0.2).cotangents(logp, old, torch.tensor([[1.0], [-1.0]]), torch.ones(1, 2))
    >>> s.rank, [[round(x, 2) for x in row] for row in s.dense()[:, 0].tolist()]
    (2, [[1.0, 0.0], [-1.0, -1.65]])
    """

    low: float = 0.2
    high: float = 0.2
    rank: int = 2

    def cotangents(self, logp: Tensor, old_logp: Tensor, advantages: Tensor, weight: Tensor) -> Cotangents:
        """``s_k = w r A_k [r within the bound that the sign of A_k sets]``."""
        ratio = (logp - old_logp).exp()
        rise = weight * ratio * (ratio <= 1 + self.high)
        fall = weight * ratio * (ratio >= 1 - self.low)
        if advantages.dim() == 3:
            return Cotangents.from_dense(torch.where(advantages >= 0, rise, fall) * advantages)
        return Cotangents.by_sign(rise, fall, advantages)

    def clipped(self, logp: Tensor, old_logp: Tensor) -> Tensor:
        """Tokens whose ratio lies outside the bounds."""
        ratio = (logp - old_logp).exp()
        return (ratio < 1 - self.low) | (ratio > 1 + self.high)


@dataclass(frozen=True)
class Pairs(Unclipped):
    """A loss on the pairs of a prompt's completions, at the policy as it is: no importance weight, nothing clipped.

    Args:
        loss: the method's.
        beta: weight of the KL to the reference.
        group: completions per prompt, consecutive rows.
    """

    loss: PairLoss
    beta: float
    group: int
    rank: int = 1

    def cotangents(
        self,
        logp: Tensor,
        old_logp: Tensor,  # noqa: ARG002 - the protocol's
        advantages: Tensor,
        weight: Tensor,
    ) -> Cotangents:
        """``s = w c``, with the coefficients c [B] of the completions as wholes; advantages are `PairEstimator`'s."""
        *rewards, reference = advantages
        log_ratio = (logp * (weight > 0)).sum(1) - reference
        pulls = self.loss.coefficients(torch.stack(rewards), log_ratio, self.beta, self.group)
        return Cotangents((Term(weight.to(logp.dtype), pulls[None].to(logp.dtype)),))


def surrogate_for(weighting: object, config: AlignConfig) -> Surrogate:
    """The surrogate of a run: of the name that its settings have, or what its method learns by."""
    if isinstance(weighting, PairLoss):
        return Pairs(weighting, config.kl_beta, config.completions_per_prompt)
    if isinstance(weighting, RiC):
        return Plain()
    return surrogate_of(config.surrogate, config.clip_low, config.clip_high)


def surrogate_of(name: Literal["ppo", "cispo", "plain"], low: float, high: float) -> Surrogate:
    """The surrogate of a name, with its clip range.

    >>> surrogate_of("cispo", 1.0, 0.3)
    CISPO(low=1.0, high=0.3, rank=1)
    """
    if name == "ppo":
        return PPOClip(low, high)
    return CISPO(low, high) if name == "cispo" else Plain()


def kl_cotangent(logp: Tensor, reference_logp: Tensor, weight: Tensor) -> Tensor:
    """Cotangent of ``-KL`` to the reference by the k3 estimator (Schulman 2020), [B, T].

    ``kl = exp(q) - q - 1`` with ``q = logp_ref - logp``, so ``d(-kl)/dlogp = exp(q) - 1``.

    >>> kl_cotangent(torch.zeros(1, 1), torch.zeros(1, 1), torch.ones(1, 1)).item()
    0.0
    """
    return weight * ((reference_logp - logp).exp() - 1)
