"""The settings of learning from comparisons and demonstrations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from heed.errors import HeedError

Format: TypeAlias = Literal["auto", "heed", "pku", "hh", "trl", "shp", "strength", "rated", "unpaired"]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a supervised training runs.

    Args:
        epochs: passes over the data.
        batch_size: examples (or comparisons) on each device in one forward pass.
        accumulation: batches in one optimiser step.
        learning_rate: AdamW's, after the warm-up; then it falls linearly to 0.
        warmup_steps: optimiser steps over which the learning rate rises.
        weight_decay: AdamW's.
        max_grad_norm: the gradient is clipped to this norm.
        max_length: tokens of prompt and completion together; the model's context if None.
        precision: "bfloat16" computes under autocast; the weights stay as they are.
        gradient_checkpointing: recompute activations, for large models.
        seed: of the order of the data, the dropout and new weights. The global generators are left as they were.

    Raises:
        HeedError: a number out of its range.
    """

    epochs: float = 3.0
    batch_size: int = 16
    accumulation: int = 1
    learning_rate: float = 2e-5
    warmup_steps: int = 10
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    max_length: int | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    gradient_checkpointing: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers with which there is nothing to train."""
        for name in ("epochs", "batch_size", "accumulation", "learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise HeedError(
                    f"{name} is {getattr(self, name)}", where="training config", fix="give a positive number"
                )


@dataclass(frozen=True, kw_only=True)
class RewardTrainingConfig(TrainingConfig):
    """How a reward model is trained; the fields of ``TrainingConfig``, and these.

    Args:
        held_out: share of the comparisons that is kept for the accuracy, 0 to below 1.
        centre: record each head's mean score on the training completions, which ``RewardModel`` then subtracts.
    """

    epochs: float = 1.0
    held_out: float = 0.1
    centre: bool = True

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        super().__post_init__()
        if not 0 <= self.held_out < 1:
            raise HeedError(
                f"held_out is {self.held_out}", where="training config", fix="give a share from 0 to below 1"
            )
