"""An alignment run as one declares it: what is trained, on which prompts, by which objectives, balanced how."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from peft import LoraConfig

from heed.align.config import PRESETS, AlignConfig
from heed.align.models.pretrained import lora_config
from heed.align.run.apothecary import Rewards
from heed.align.run.weighting import config_class_of, weighting_config, weighting_of
from heed.balance import WEIGHTINGS, WeightingConfig, methods_with, settings_of
from heed.errors import HeedError
from heed.runs.sections import full_name, leaves, named


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
        method: how the objectives' gradients become one update: a weighting of heed.balance, or module:name.
        weighting: the method's own settings; None takes their defaults.
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
    weighting: WeightingConfig | None = None
    lora_r: int = 16
    lora_alpha: int = 32
    lora_targets: str = "all-linear"

    def __post_init__(self) -> None:
        """Refuse an adapter that cannot be, and settings of another method than the job's."""
        self.adapter()
        self.weighting = weighting_config(self.method, self.weighting)

    def adapter(self) -> LoraConfig | None:
        """The adapter that is trained; None where all parameters are."""
        return lora_config(self.lora_r, self.lora_alpha, self.lora_targets)


JOB = tuple(field.name for field in dataclasses.fields(AlignJob))
"""The settings that say what is aligned, and to what; the others are of `AlignConfig`."""

TYPES: dict[str, Any] = leaves(AlignJob) | leaves(AlignConfig)
"""Every setting but those of the methods, with its type."""

SEE = "see heed align --help"

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

    The section ``weighting`` is empty: what is not in it is at the default of the method.

    Raises:
        HeedError: no such preset.

    >>> defaults("apothecary", "paper")["learning_rate"], defaults(None, "modern")["advantage"]
    (0.001, 'group')
    """
    if preset not in PRESETS:
        raise HeedError(f"there is no preset '{preset}'", "--preset", f"take one of {', '.join(PRESETS)}")
    values = {**vars(AlignJob()), **dataclasses.asdict(AlignConfig()), "weighting": {}}
    return values | (APOTHECARY if world == "apothecary" else {}) | PRESETS[preset]


def split_settings(settings: Mapping[str, Any], where: str = "config") -> tuple[AlignJob, AlignConfig]:
    """Settings into the job and its config.

    Args:
        settings: by name, those of the method in the section ``weighting``; or beside the others, as runs before 0.1
            have them.
        where: they stand, for errors.

    Raises:
        HeedError: an unknown setting, one that the method does not have, or a value of another type.

    >>> job, _ = split_settings({"method": "gapo", "p": 2})
    >>> job.weighting
    GAPOConfig(p=2.0, floor=0.0)
    """
    settings = in_sections(settings, where)
    own = settings.pop("weighting")
    found = named(settings, {name: kind for name, kind in TYPES.items() if name != "weighting"}, where, SEE)
    job = {name: value for name, value in found.items() if name in JOB}
    config = {name: value for name, value in found.items() if name not in JOB}
    weighting = weighting_of(job.get("method", AlignJob().method), own, where)
    return AlignJob(**job, weighting=weighting), AlignConfig(**config)


def in_sections(settings: Mapping[str, Any], where: str = "config", methods: Sequence[str] = ()) -> dict[str, Any]:
    """Settings with those of the methods in the section ``weighting``.

    Args:
        settings: in sections, with dots in names, or without any, as the files of runs before 0.1 have them: these list
            all methods' settings, so that what the methods do not have and is at its default is left out.
        where: they stand, for errors.
        methods: that the settings are for; the settings' own by default.

    Raises:
        HeedError: an unknown setting, or one that stands there twice.

    >>> in_sections({"steps": 3, "method": "gapo", "p": 2.0, "mu": 0.03})
    {'steps': 3, 'method': 'gapo', 'weighting': {'p': 2.0}}
    """
    methods = methods or (settings.get("method", AlignJob().method),)
    having = {name for method in methods for name in settings_of(config_class_of(method))}
    found = {name: value for name, value in settings.items() if name in TYPES and name != "weighting"}
    given = settings.get("weighting") or {}
    if not isinstance(given, Mapping):
        raise HeedError(f"weighting cannot be '{given}'", where, "write a section of settings, as weighting: {p: 2}")
    own = dict(given)
    for name, value in settings.items():
        if name in TYPES:
            continue
        last = name.removeprefix("weighting.")
        if last not in having and not methods_with(last):
            full_name(name, [*TYPES, *(f"weighting.{each}" for each in having)], where, SEE)
        if last not in having and _at_default(last, value):
            continue
        if last in own:
            raise HeedError(f"weighting.{last} is set twice", where, "leave out one")
        if value is not None:
            own[last] = value
    return {**found, "weighting": own}


def record_of(job: AlignJob, config: AlignConfig) -> dict[str, Any]:
    """What a run folder's ``config.yaml`` says: every setting, the method's own in the section ``weighting``."""
    return {**dataclasses.asdict(job), **dataclasses.asdict(config)}


def complete(settings: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a run from those that were given, as its ``config.yaml`` says them.

    >>> complete({"method": "mgda-frank-wolfe"})["weighting"]
    {'epsilon': 0.001, 'max_iterations': 100}
    """
    return record_of(*split_settings(settings))


def _at_default(setting: str, value: Any) -> bool:
    """Whether the value is the setting's default in a method that has it."""
    return any(value == getattr(WEIGHTINGS[name](), setting) for name in methods_with(setting))


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
