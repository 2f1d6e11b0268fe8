"""A reward model's job: from which comparisons it learns, on which model, for which objectives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from heed.align.preferences.config import Format


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
