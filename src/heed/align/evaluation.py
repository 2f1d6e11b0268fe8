"""Evaluation: the policy's completions of a fixed set of prompts, by the objectives and, where known, exact values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from heed.align.config import AlignConfig
from heed.align.objectives.base import ObjectiveSet
from heed.align.prompts import split
from heed.align.rollouts import Sampler

EVALUATION_SEED = 20_250_702
"""Evaluations sample with a generator of their own, so that their number does not change the training."""


class Gold(Protocol):
    """Exact values that a task knows: a policy is evaluated by them, and never trained on them."""

    @property
    def names(self) -> Sequence[str]:
        """The objectives' names, as the run's."""
        ...

    def gold(self, prompts: Sequence[Any], completions: Sequence[Any]) -> Tensor:
        """Exact values, [B, K]."""
        ...

    def well_formed(self, completions: Sequence[Any]) -> Tensor:
        """Whether each completion follows the task's grammar, bool [B]."""
        ...


@dataclass
class Evaluation:
    """One evaluation.

    Args:
        prompts: [B].
        completions: [B].
        rewards: the objectives' values, [B, K].
        gold: exact values, [B, K], or None.
        well_formed: share of completions that follow the task's grammar, or None.
        held_out: values of the held-out objectives, [B, H], or None.
    """

    prompts: list[Any]
    completions: list[Any]
    rewards: Tensor
    gold: Tensor | None
    well_formed: float | None
    held_out: Tensor | None = None


def evaluate(
    sampler: Sampler,
    objectives: ObjectiveSet,
    rows: Sequence[Mapping[str, Any]],
    config: AlignConfig,
    gold: Gold | None,
    held_out: ObjectiveSet | None = None,
    shown: Callable[[Sequence[Any]], Sequence[Any]] = list,
) -> Evaluation:
    """Sample ``config.eval_completions`` for the prompt of each row and score them.

    Args:
        sampler: of the policy.
        objectives: the run's; they are passed the rows' other columns.
        rows: with a column ``prompt``.
        config: the run's.
        gold: exact values, where the task has them.
        held_out: objectives that nothing is trained on.
        shown: prompts as the policy is asked; they are judged as they are.
    """
    generator = torch.Generator(sampler.policy.device).manual_seed(EVALUATION_SEED + config.seed)
    prompts, columns = split([row for row in rows for _ in range(config.eval_completions)])
    size = max(1, config.prompts_per_step * config.completions_per_prompt)
    completions: list[Any] = []
    ids: list[list[int]] = []
    for lo in range(0, len(prompts), size):
        tools = {name: columns[name][lo : lo + size] for name in columns if name == "tools"}
        rollout = sampler.roll(shown(prompts[lo : lo + size]), generator, tools)
        completions += rollout.completions
        ids += rollout.completion_ids
    columns |= {"completion_ids": ids}
    rewards = objectives.score(prompts, completions, columns)
    exact = gold.gold(prompts, completions) if gold is not None else None
    share = float(gold.well_formed(completions).double().mean()) if gold is not None else None
    others = held_out.score(prompts, completions, columns) if held_out is not None else None
    return Evaluation(prompts, completions, rewards, exact, share, others)
