"""A reward model as a job asks for it: comparisons are read, one model learns a head for each objective."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from heed.align.data.conversations import with_template_arguments
from heed.align.models.pretrained import load_tokenizer, lora_config
from heed.align.objectives.base import ObjectiveSpec
from heed.align.preferences.comparisons import Comparison, read_comparisons
from heed.align.preferences.config import RewardTrainingConfig
from heed.align.preferences.reward_training import RewardTrainingReport, train_reward_model
from heed.align.preferences.training import require_empty
from heed.align.run.apothecary import ApothecarySetup, SetupProgress, prepare, stage_progress
from heed.align.run.reward_job import RewardJob
from heed.errors import HeedError


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
        raise HeedError("a world brings its own model", "--template-arguments", "leave out it, or --world")
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
