"""An alignment run as one declares it: what is trained, on which prompts, by which objectives, balanced how."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from peft import LoraConfig

from heed.align.config import PRESETS, AlignConfig
from heed.align.models.pretrained import lora_config
from heed.align.run.apothecary import Rewards
from heed.errors import HeedError


@dataclass
class AlignJob:
    """What is aligned, to what, and by which method.

    Args:
        world: a built-in world in place of model, data and objectives: apothecary.
        rewards: a world's rewards: judges learnt from noisy comparisons, or gold itself.
        judges: in place of a world's learnt judges, reward models of your own: a folder whose heads are labelled as the
            world's objectives, as heed reward writes it.
        world_objectives: a world's objectives: out of help, harmless, brevity, price.
        world_seed: a world's own seed (its remedies, its warm start, its judges).
        model: a model folder or hub id.
        data: prompts: JSONL, Parquet, a datasets folder or a hub id, with a column prompt.
        split: which split of the data.
        eval_data: prompts of the evaluations, in the same formats; without it the first prompts of the data.
        objectives: one SPEC each: [name=]TARGET[,key=value...]; TARGET is module:function, a reward model's folder or
            hub id, or a service's http address; keys are sign, scale, unit, head, heads.
        method: how the objectives' gradients become one update.
        p: gapo's power of the gradient norm; 0 is MGDA, 1 and 2 are the paper's.
        preference: one weight per objective, on the simplex; for pgapo, linear, tchebycheff.
        weights: raw weights of linear, where they are not a preference.
        ideal: tchebycheff's best value of each objective; a world knows its own.
        nadir: tchebycheff's worst value of each objective on the front; a world knows its own.
        mu: tchebycheff's temperature; smaller holds the preference more stiffly.
        share_floor: tchebycheff's least share of any objective, below 1/K.
        settle: tchebycheff's first rounds, in which all shares are equal.
        lora_r: rank of the adapter; 0 trains all parameters.
        lora_alpha: scale of the adapter.
        lora_targets: names of the layers with an adapter, comma-separated, or all-linear.
    """

    world: Literal["apothecary"] | None = None
    rewards: Rewards = "learnt"
    judges: str | None = None
    world_objectives: list[str] = field(default_factory=lambda: ["help", "harmless"])
    world_seed: int = 0
    model: str | None = None
    data: str | None = None
    split: str | None = None
    eval_data: str | None = None
    objectives: list[str] = field(default_factory=list)
    method: str = "gapo"
    p: float = 1.0
    preference: list[float] | None = None
    weights: list[float] | None = None
    ideal: list[float] | None = None
    nadir: list[float] | None = None
    mu: float = 0.03
    share_floor: float = 0.15
    settle: int = 20
    lora_r: int = 16
    lora_alpha: int = 32
    lora_targets: str = "all-linear"

    def __post_init__(self) -> None:
        """Refuse an adapter that cannot be."""
        self.adapter()

    def adapter(self) -> LoraConfig | None:
        """The adapter that is trained; None where all parameters are."""
        return lora_config(self.lora_r, self.lora_alpha, self.lora_targets)


APOTHECARY: dict[str, Any] = {
    "lora_r": 64,
    "lora_alpha": 64,
    "lora_targets": "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj,lm_head",
    "prompts_per_step": 64,
    "completions_per_prompt": 4,
    "minibatches": 4,
    "micro_batch": 0,
    "max_completion_tokens": 16,
    "learning_rate": 1e-3,
    "cooldown_steps": 20,
    "critic_learning_rate": 3e-3,
    "critic_rank": 16,
    "steps": 80,
    "eval_prompts": 84,
    "eval_completions": 8,
}
"""Settings that fit the apothecary's small policy, under whatever a preset and flags say."""


def defaults(world: str | None, preset: str) -> dict[str, Any]:
    """Every setting of a job and its config: the dataclasses' defaults, the world's over them, the preset's over all.

    Raises:
        HeedError: no such preset.

    >>> defaults("apothecary", "paper")["learning_rate"], defaults(None, "modern")["advantage"]
    (0.001, 'group')
    """
    if preset not in PRESETS:
        raise HeedError(f"there is no preset '{preset}'", "--preset", f"take one of {', '.join(PRESETS)}")
    values = {**dataclasses.asdict(AlignJob()), **dataclasses.asdict(AlignConfig())}
    return values | (APOTHECARY if world == "apothecary" else {}) | PRESETS[preset]


def split_settings(settings: dict[str, Any]) -> tuple[AlignJob, AlignConfig]:
    """One flat dictionary of settings into the job and its config.

    Raises:
        HeedError: an unknown setting.
    """
    of_job = {f.name for f in dataclasses.fields(AlignJob)}
    of_config = {f.name for f in dataclasses.fields(AlignConfig)}
    if unknown := sorted(set(settings) - of_job - of_config):
        raise HeedError(f"no setting is called '{unknown[0]}'", "config", "see heed align --help")
    job = AlignJob(**{k: v for k, v in settings.items() if k in of_job})
    return job, AlignConfig(**{k: v for k, v in settings.items() if k in of_config})


def check_source(job: AlignJob) -> None:
    """Refuse a job without anything to train, one with two sources, and a world's settings without a world.

    Raises:
        HeedError: names the option.
    """
    if job.world is not None:
        for name in ("model", "data", "split", "eval_data", "objectives"):
            if getattr(job, name):
                raise HeedError(
                    "a world brings its own model, prompts and objectives", f"--{name}", "leave out it, or --world"
                )
        if job.judges is not None and job.rewards == "gold":
            raise HeedError("gold needs no judges", "--judges", "leave it out, or take --rewards learnt")
        return
    for name in ("model", "data", "objectives"):
        if not getattr(job, name):
            raise HeedError(
                "there is nothing to train", f"--{name}", "give --model, --data and --objectives, or --world"
            )
    for name in ("rewards", "judges", "world_objectives", "world_seed"):
        if getattr(job, name) != getattr(AlignJob(), name):
            raise HeedError("only a world has this setting", f"--{name}", "add --world, or leave it out")
