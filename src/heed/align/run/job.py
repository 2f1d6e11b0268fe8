"""An alignment run as one declares it: what is trained, on which prompts, by which objectives, balanced how."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from heed.align.config import PRESETS, AlignConfig, Rewards, check_adapter
from heed.align.run.weighting import weighting_config, weighting_for, weighting_of
from heed.balance import WEIGHTINGS, WeightingConfig, methods_with
from heed.errors import HeedError, flag_of
from heed.runs.sections import full_name, leaves, named

if TYPE_CHECKING:
    from peft import LoraConfig
    from torchjd.aggregation import Weighting
    from torchjd.linalg import PSDMatrix

    from heed.worlds.apothecary import Apothecary


@dataclass
class AlignJob:
    """What is aligned, to what, and by which method.

    Args:
        world: a built-in world in place of model, data and objectives: apothecary.
        rewards: a world's rewards: judges learnt from noisy comparisons, or gold itself.
        judges: in place of a world's learnt judges, reward models of your own: a folder whose heads are labelled as the
            world's objectives, as heed reward writes it.
        ensemble: how many of a world's learnt judges score together, each trained with a seed of its own.
        pessimism: of an ensemble: how many deviations between its judges are taken off their mean.
        world_objectives: a world's objectives: out of help, harmless, brevity, price.
        world_seed: a world's own seed (its remedies, its warm start, its judges).
        model: a model folder or hub id.
        data: prompts: JSONL, Parquet, a datasets folder or a hub id, with a column prompt.
        split: which split of the data.
        eval_data: prompts of the evaluations, in the same formats; without it the first prompts of the data.
        objectives: one SPEC each: [name=]TARGET[,key=value...]; TARGET is module:function, a reward model's folder or
            hub id, or a service's http address; keys are sign, scale, unit, head, heads.
        held_out_judges: judges that evaluate and are never trained on, named as objectives are: they tell whether a
            policy has become better, or only better liked by the judges that it was trained by.
        template_arguments: variables of the model's chat template, such as {"enable_thinking": false}.
        method: how the objectives' gradients become one update: a weighting of heed.balance, or module:name.
        weighting: the method's own settings; None takes their defaults.
        lora_r: rank of the adapter; 0 trains all parameters.
        lora_alpha: scale of the adapter.
        lora_targets: names of the layers with an adapter, comma-separated, or all-linear.
    """

    world: Literal["apothecary"] | None = None
    rewards: Rewards = "learnt"
    judges: str | None = None
    ensemble: int = 1
    pessimism: float = 1.0
    world_objectives: list[str] = field(default_factory=lambda: ["help", "harmless"])
    world_seed: int = 0
    model: str | None = None
    data: str | None = None
    split: str | None = None
    eval_data: str | None = None
    objectives: list[str] = field(default_factory=list, metadata={"nargs": "+", "metavar": "SPEC"})
    held_out_judges: list[str] = field(default_factory=list, metadata={"nargs": "+", "metavar": "SPEC"})
    template_arguments: dict[str, Any] | None = None
    method: str = "gapo"
    weighting: WeightingConfig | None = None
    lora_r: int = 16
    lora_alpha: int = 32
    lora_targets: str = "all-linear"

    def __post_init__(self) -> None:
        """Refuse an adapter that cannot be, and settings of another method than the job's."""
        check_adapter(self.lora_r, self.lora_alpha)
        self.weighting = weighting_config(self.method, self.weighting)

    def build_weighting(self, names: Sequence[str], world: Apothecary | None = None) -> Weighting[PSDMatrix]:
        """The job's weighting of objectives of these names, on a world or without.

        Raises:
            HeedError: a setting out of its range or missing, a preference off the simplex, or an adapter with too few
                ranks for a policy of all preferences.
        """
        from heed.align.conditioning.gates import check_rank  # a job is read without what computes
        from heed.balance.weightings.conditioned import Conditioned

        known = world if self.rewards == "gold" else None  # the exact front is that of the gold values
        weighting = weighting_for(weighting_config(self.method, self.weighting), names, known)
        if isinstance(weighting, Conditioned) and weighting.through == "adapter":
            check_rank(self.lora_r, len(names), weighting.shared)
        return weighting

    def adapter(self) -> LoraConfig | None:
        """The adapter that is trained; None where all parameters are."""
        from heed.align.models.pretrained import lora_config

        return lora_config(self.lora_r, self.lora_alpha, self.lora_targets)


JOB = tuple(field.name for field in dataclasses.fields(AlignJob))
"""The settings that say what is aligned, and to what; the others are of `AlignConfig`."""

TYPES = {name: kind for name, kind in (leaves(AlignJob) | leaves(AlignConfig)).items() if name != "weighting"}
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
    GAPOConfig(p=2.0, floor=0.0, keep_scale=False)
    """
    settings = in_sections(settings, where)
    own = settings.pop("weighting")
    found = named(settings, TYPES, where, SEE)
    job = {name: value for name, value in found.items() if name in JOB}
    config = {name: value for name, value in found.items() if name not in JOB}
    weighting = weighting_of(job.get("method", AlignJob().method), own, where)
    return AlignJob(**job, weighting=weighting), AlignConfig(**config)


def in_sections(settings: Mapping[str, Any], where: str = "config") -> dict[str, Any]:
    """Settings with those of the method in the section ``weighting``.

    Args:
        settings: in sections, with dots in names, or without any, as the files of runs before 0.1 have them: these list
            all methods' settings, so that what is at the default of every method that has it is left out.
        where: they stand, for errors.

    Raises:
        HeedError: an unknown setting, or one that stands there twice.

    >>> in_sections({"steps": 3, "method": "gapo", "p": 2.0, "mu": 0.03})
    {'steps': 3, 'method': 'gapo', 'weighting': {'p': 2.0}}
    """
    given = settings.get("weighting") or {}
    if not isinstance(given, Mapping):
        raise HeedError(f"weighting cannot be '{given}'", where, "write a section of settings, as weighting: {p: 2}")
    found, own = {name: value for name, value in settings.items() if name in TYPES}, dict(given)
    for name, value in without_defaults_of_methods(settings).items():
        last = name.removeprefix("weighting.")
        if name in TYPES or name == "weighting":
            continue
        if name == last and not methods_with(last):
            full_name(name, TYPES, where, SEE)
        if last in own:
            raise HeedError(f"weighting.{last} is set twice", where, "leave out one")
        own[last] = value
    return {**found, "weighting": own}


def without_defaults_of_methods(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without those of the methods that stand beside the others and are at every method's default.

    >>> without_defaults_of_methods({"steps": 3, "p": 2.0, "mu": 0.03, "weights": None})
    {'steps': 3, 'p': 2.0}
    """
    return {
        name: value
        for name, value in settings.items()
        if name in TYPES
        or not methods_with(name)
        or any(value != getattr(WEIGHTINGS[method](), name) for method in methods_with(name))
    }


def record_in_sections(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a folder of several methods' runs records, with the methods' settings in their section.

    Args:
        record: settings, and ``methods``, ``seeds`` and ``preferences`` of the folder.

    >>> record_in_sections({"methods": ["gapo:p=2", "mgda"], "seeds": 2, "mu": 0.03, "floor": 0.1})
    {'weighting': {'floor': 0.1}, 'methods': ['gapo:p=2', 'mgda'], 'seeds': 2}
    """
    own = {name: record[name] for name in ("methods", "preferences", "seeds") if name in record}
    settings = {name: value for name, value in record.items() if name not in own}
    return in_sections(settings) | own


def record_of(job: AlignJob, config: AlignConfig) -> dict[str, Any]:
    """What a run folder's ``config.yaml`` says: every setting, the method's own in the section ``weighting``."""
    return {**dataclasses.asdict(job), **dataclasses.asdict(config)}


def complete(settings: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a run from those that were given, as its ``config.yaml`` says them.

    >>> complete({"method": "mgda-frank-wolfe"})["weighting"]
    {'epsilon': 0.001, 'max_iterations': 100}
    """
    return record_of(*split_settings(settings))


def check_source(job: AlignJob) -> None:
    """Refuse a job without anything to train, one with two sources, and a world's settings without a world.

    Raises:
        HeedError: names the option.
    """
    if job.world is not None:
        for name in ("model", "data", "split", "eval_data", "objectives", "held_out_judges", "template_arguments"):
            if getattr(job, name):
                raise HeedError(
                    "a world brings its own model, prompts and objectives", flag_of(name), "leave out it, or --world"
                )
        if job.ensemble < 1:
            raise HeedError(f"{job.ensemble} judges are none", "--ensemble", "give at least 1")
        for name in ("judges", "ensemble"):
            if job.rewards == "gold" and getattr(job, name) != getattr(AlignJob(), name):
                raise HeedError("gold needs no judges", flag_of(name), "leave it out, or take --rewards learnt")
        if job.judges is not None and job.ensemble > 1:
            raise HeedError("the judges are given, and so are not made", "--ensemble", "leave out it, or --judges")
        if job.ensemble == 1 and job.pessimism != AlignJob().pessimism:
            raise HeedError(
                "one judge disagrees with nobody", "--pessimism", "leave it out, or give --ensemble 2 or more"
            )
        if not (job.pessimism >= 0 and math.isfinite(job.pessimism)):
            raise HeedError(f"a pessimism of {job.pessimism}", "--pessimism", "give deviations, >= 0")
        return
    for name in ("model", "data", "objectives"):
        if not getattr(job, name):
            raise HeedError(
                "there is nothing to train", flag_of(name), "give --model, --data and --objectives, or --world"
            )
    for name in ("rewards", "judges", "ensemble", "pessimism", "world_objectives", "world_seed"):
        if getattr(job, name) != getattr(AlignJob(), name):
            raise HeedError("only a world has this setting", flag_of(name), "add --world, or leave it out")
