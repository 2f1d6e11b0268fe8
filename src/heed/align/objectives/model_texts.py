"""How the command line names reward models: a folder or hub id, and several heads of it with ``heads=``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from transformers import PreTrainedConfig

from heed.align.models.pretrained import require_model_path
from heed.align.objectives.base import Objective
from heed.align.objectives.kinds import COMMON_KEYS, ObjectiveKind, ObjectiveText, register_objective_kind
from heed.align.objectives.reward_models import HeadSpec, ManyHeadedRewardModel, RewardModel
from heed.align.objectives.score_models import ScoreModel, is_score_model
from heed.errors import HeedError

MODEL_FORM = "a reward model's folder or hub id"
"""How readers know targets that are models."""

_KEYS: dict[str, Callable[[str], Any]] = {"batch_size": int, "max_length": int, "dtype": str, "device": str}


def _from_text(text: ObjectiveText) -> Objective:
    options, heads = options_of(text), heads_of(text) if "heads" in text.given else None
    require_model_path(text.target, "reward model")
    if _is_score_model(text.target):
        return ScoreModel(text.target, name=text.name, **score_options_of(text))
    if heads is None:
        return RewardModel(text.target, name=text.name, **options)
    return ManyHeadedRewardModel(text.target, heads, **options)


def _is_score_model(path: str) -> bool:
    try:
        return is_score_model(PreTrainedConfig.get_config_dict(path)[0])
    except (OSError, ValueError):
        return False  # the reward model's own refusal says what is wrong


def score_options_of(text: ObjectiveText) -> dict[str, Any]:
    """The options of a score model's text as values.

    Raises:
        HeedError: one that score models do not have, such as a head, or that cannot be read.
    """
    return text.options(COMMON_KEYS | _KEYS)


def options_of(text: ObjectiveText) -> dict[str, Any]:
    """The options of a model's text as values, ``heads=`` left out.

    Raises:
        HeedError: one that models do not have or that cannot be read; a name beside ``heads=``.
    """
    if "heads" not in text.given:
        return text.options(COMMON_KEYS | _KEYS | {"head": str})
    if text.name is not None:
        where, fix = f"{text.option} {text.name}=", f"leave out {text.name}="
        raise HeedError("a many-headed model's objectives are named in heads=", where, fix)
    rest = dataclasses.replace(text, given={key: value for key, value in text.given.items() if key != "heads"})
    return rest.options(_KEYS)


def heads_of(text: ObjectiveText) -> list[HeadSpec]:
    """The heads that ``heads=`` names.

    Raises:
        HeedError: one cannot be read.
    """
    return [_head(part, text.option) for part in text.given["heads"].split("+")]


def _head(part: str, option: str) -> HeadSpec:
    """One head from ``NAME[:HEAD[:SIGN]]``."""
    name, _, rest = part.partition(":")
    head, _, sign = rest.partition(":")
    if not name or sign not in ("", "1", "-1"):
        fix = "give NAME, NAME:HEAD or NAME:HEAD:-1"
        raise HeedError(f"cannot read the head {part!r}", where=f"{option} heads=", fix=fix)
    return HeadSpec(name, head or name, sign=float(sign or 1))


register_objective_kind(ObjectiveKind(MODEL_FORM, lambda _: True, _from_text, last=True))
