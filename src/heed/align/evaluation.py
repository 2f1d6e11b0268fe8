"""What the policy says on a fixed set of prompts, judged by the objectives and, where there are any, exact values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from heed.align.config import AlignConfig
from heed.align.objectives.base import ObjectiveSet
from heed.align.prompts import split
from heed.align.rollouts import Sampler

EVALUATION_SEED = 20_250_702
"""Evaluations draw with a generator of their own, so that how often one evaluates does not change the training."""


class Gold(Protocol):
    """Exact values that a task knows; a policy is judged by them and never trained on them through this door."""

    @property
    def names(self) -> Sequence[str]:
        """The objectives' names, as the run's."""
        ...

    def gold(self, prompts: Sequence[Any], completions: Sequence[Any]) -> Tensor:
        """Exact values, [B, K]."""
        ...

    def well_formed(self, completions: Sequence[Any]) -> Tensor:
        """Whether each completion means anything, bool [B]."""
        ...


@dataclass
class Evaluation:
    """One evaluation.

    Args:
        prompts: [B].
        completions: [B].
        rewards: the objectives' values, [B, K].
        gold: exact values, [B, K], or None.
        well_formed: share of completions that mean anything, or None.
    """

    prompts: list[Any]
    completions: list[Any]
    rewards: Tensor
    gold: Tensor | None
    well_formed: float | None


def evaluate(
    sampler: Sampler,
    objectives: ObjectiveSet,
    rows: Sequence[Mapping[str, Any]],
    config: AlignConfig,
    gold: Gold | None,
) -> Evaluation:
    """Sample ``config.eval_completions`` for the prompt of each row and judge them.

    Args:
        sampler: of the policy.
        objectives: the run's; they get the rows' other columns.
        rows: with a column ``prompt``.
        config: the run's.
        gold: exact values, where the task has them.
    """
    generator = torch.Generator(sampler.policy.device).manual_seed(EVALUATION_SEED + config.seed)
    asked, columns = split([row for row in rows for _ in range(config.eval_completions)])
    size = max(1, config.prompts_per_step * config.completions_per_prompt)
    said: list[Any] = []
    for lo in range(0, len(asked), size):
        said += sampler.roll(asked[lo : lo + size], generator).completions
    rewards = objectives.score(asked, said, columns)
    exact = gold.gold(asked, said) if gold is not None else None
    share = float(gold.well_formed(said).double().mean()) if gold is not None else None
    return Evaluation(asked, said, rewards, exact, share)
