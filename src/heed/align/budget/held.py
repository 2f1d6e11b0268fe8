"""What a run holds from its first round to its last: bytes by the shapes of what is trained."""

from __future__ import annotations

from heed.align.advantages import kl_row
from heed.align.config import AlignConfig

FLOAT32 = 4
"""Bytes: what is trained, its gradients and moments, and the rows of the Jacobian are float32."""

MOMENTS = 2
"""Numbers that AdamW keeps of each scalar (Kingma and Ba 2015)."""


def rows_of(config: AlignConfig, objectives: int, one_gradient: bool) -> int:
    """Rows of the Jacobian: one for each objective, or one for a method that combines rewards; and one for the KL.

    >>> rows_of(AlignConfig(kl_in="once"), 2, one_gradient=False)
    3
    """
    return (1 if one_gradient else objectives) + int(kl_row(config))


def jacobian_bytes(scalars: int, rows: int, config: AlignConfig) -> int:
    """K gradients, float32 [K, n]; twice where micro-batches have Gram matrices of their own.

    `heed.balance.jacobian.JacobianAccumulator` keeps both for ``micro_batches`` above 1.

    >>> jacobian_bytes(1000, 2, AlignConfig(micro_batch=0)), jacobian_bytes(1000, 2, AlignConfig(micro_batch=8))
    (8000, 16000)
    """
    return rows * scalars * FLOAT32 * (2 if config.micro_batches > 1 else 1)


def optimiser_bytes(scalars: int) -> int:
    """AdamW's two moments of each scalar; gradients are let go after each step.

    >>> optimiser_bytes(1000)
    8000
    """
    return MOMENTS * scalars * FLOAT32


def way_back_bytes(scalars: int, config: AlignConfig) -> int:
    """With ``max_fall`` the weights and moments of the round before.

    >>> way_back_bytes(1000, AlignConfig()), way_back_bytes(1000, AlignConfig(max_fall=3.0))
    (0, 12000)
    """
    return (1 + MOMENTS) * scalars * FLOAT32 if config.max_fall > 0 else 0


def heads_of(config: AlignConfig, objectives: int) -> int:
    """Heads of the critics: one for each objective, and one for a KL that is in the reward and counted once.

    >>> heads_of(AlignConfig(), 2), heads_of(AlignConfig(kl_in="once"), 2)
    (2, 3)
    """
    return objectives + int(kl_row(config) and config.kl_place == "reward")


def critic_bytes(scalars: int, hidden: int, heads: int) -> int:
    """The critics' own adapter (or backbone) and heads: weights, gradients and AdamW's moments.

    Args:
        scalars: of the adapter or the backbone.
        hidden: width of what the heads read.
        heads: of the critics.

    >>> critic_bytes(1000, 10, 2)
    16352
    """
    return (2 + MOMENTS) * (scalars + heads * (hidden + 1)) * FLOAT32


def update_bytes(scalars: int, rows: int, config: AlignConfig) -> int:
    """Of the update: the direction, the gradients, the Jacobian's two buffers added up, and the way back.

    With ``max_kl`` that is the weights and moments before the step, with ``clip_updates`` alone the weights.

    >>> update_bytes(1000, 2, AlignConfig(micro_batch=0)), update_bytes(1000, 2, AlignConfig(max_kl=0.1))
    (8000, 28000)
    """
    copies = 2 + (rows if config.micro_batches > 1 else 0)
    copies += 1 + MOMENTS if config.max_kl > 0 else int(config.clip_updates)
    return copies * scalars * FLOAT32
