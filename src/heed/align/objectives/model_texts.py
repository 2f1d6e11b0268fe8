"""How the command line names reward models: a folder or hub id, and several heads of it with ``heads=``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from heed.align.objectives.kinds import COMMON_KEYS, ObjectiveKind, ObjectiveText, register_objective_kind
from heed.align.objectives.reward_models import HeadSpec, ManyHeadedRewardModel, RewardModel
from heed.errors import HeedError

MODEL_FORM = "a reward model's folder or hub id"
"""How readers know targets that are models."""

_KEYS: dict[str, Callable[[str], Any]] = {"batch_size": int, "max_length": int, "dtype": str, "device": str}


def _from_text(text: ObjectiveText) -> ManyHeadedRewardModel:
    options = options_of(text)
    if "heads" not in text.given:
        return RewardModel(text.target, name=text.name, **options)
    return ManyHeadedRewardModel(text.target, heads_of(text), **options)


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
