"""A reward model's job: from which comparisons it learns, on which model, for which objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from heed.align.data.conversations import with_template_arguments
from heed.align.models.pretrained import load_tokenizer, lora_config
from heed.align.objectives.base import ObjectiveSpec
from heed.align.preferences.comparisons import Comparison, Format, read_comparisons
from heed.align.preferences.reward_training import RewardTrainingConfig, RewardTrainingReport, train_reward_model
from heed.align.preferences.training import require_empty
from heed.align.run.apothecary import ApothecarySetup, SetupProgress, prepare, stage_progress
from heed.errors import HeedError


@dataclass(frozen=True, kw_only=True)
class RewardJob:
    """Which reward model is learnt, from which comparisons.

    Args:
        comparisons: .jsonl, .parquet, a datasets folder or a hub id; see heed label --out.
        format: the comparisons' format: auto, heed, pku, hh, trl, shp, strength, rated or unpaired.
        split: which split of the comparisons.
        objectives: what to learn, one head each; all that were judged if empty. All formats but heed, pku and
            rated have one, of any name.
        model: the model whose body is taken: a folder or hub id, most often the policy that is to be aligned.
        world: a built-in world's model in its place: apothecary.
        template_arguments: variables of the model's chat template, such as {"enable_thinking": false}.
        lora_r: rank of an adapter that is trained in place of the whole body and merged; 0 trains all parameters.
        lora_alpha: scale of the adapter.
        lora_targets: names of the layers with an adapter, comma-separated, or all-linear.
    """

    comparisons: str
    format: Format = "auto"
    split: str | None = None
    objectives: list[str] = field(default_factory=list)
    model: str | None = None
    world: Literal["apothecary"] | None = None
    template_arguments: dict[str, Any] | None = None
    lora_r: int = 0
    lora_alpha: int = 32
    lora_targets: str = "all-linear"


APOTHECARY: dict[str, Any] = {"learning_rate": 1e-3, "batch_size": 32, "epochs": 8.0}
"""Defaults of the training for the apothecary's small model."""


def learn_rewards(
    job: RewardJob, config: RewardTrainingConfig, out: Path, on_stage: SetupProgress | None = None
) -> RewardTrainingReport:
    """Read comparisons and train one model with a head for each objective.

    Args:
        job: from what, on what.
        config: how it is trained.
        out: a new folder for model and tokenizer.
        on_stage: follows the stages.

    Raises:
        HeedError: comparisons that cannot be read, an objective that nobody judged or that cannot be one of ``heed
            align``, no such model, or an output folder that is not empty.
        RunFailed: the loss was not finite.
    """
    if (job.model is None) == (job.world is None):
        raise HeedError("a reward model is learnt on one model", "--model, --world", "give one of the two")
    if job.world is not None and job.template_arguments:
        raise HeedError("a world brings its own model", "--template_arguments", "leave out it, or --world")
    named = job.objectives[0] if len(job.objectives) == 1 else "preference"
    comparisons = read_comparisons(job.comparisons, job.format, objective=named, split=job.split)
    objectives = job.objectives or _judged(comparisons)
    for name in objectives:
        ObjectiveSpec(name)  # refuses names that no objective of heed align can have
    require_empty(out)
    model = str(job.model or prepare(ApothecarySetup(), judges=False, on_stage=on_stage).policy)
    tokenizer = load_tokenizer(model)
    if job.template_arguments:
        tokenizer = with_template_arguments(tokenizer, job.template_arguments)
    return train_reward_model(
        model,
        tokenizer,
        comparisons,
        objectives,
        out,
        config,
        lora_config(job.lora_r, job.lora_alpha, job.lora_targets),
        stage_progress("reward models", on_stage),
    )


def _judged(comparisons: Sequence[Comparison]) -> list[str]:
    """Every objective with a verdict, in the order of first appearance."""
    return list(dict.fromkeys(name for comparison in comparisons for name in comparison["verdicts"]))
