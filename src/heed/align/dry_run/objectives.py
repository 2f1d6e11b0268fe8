"""The objectives of a run as far as they can be told without their weights."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heed.align.budget.sums import JudgeShape
from heed.align.data.conversations import Prompt, completion_text, located, require_completion_shown
from heed.align.dry_run.models import config_at, require_weights, tokenizer_at
from heed.align.objectives import ensembles
from heed.align.objectives.base import Objective
from heed.align.objectives.kinds import COMMON_KEYS, ObjectiveText, kind_of
from heed.align.objectives.model_texts import MODEL_FORM, heads_of, options_of, score_options_of
from heed.align.objectives.reward_functions import RewardFunction
from heed.align.objectives.reward_models import require_dtype
from heed.align.objectives.score_models import conversation_text, is_score_model, require_score_config
from heed.align.objectives.spec import parse_objective, split_objective
from heed.errors import HeedError


@dataclass
class Judged:
    """One objective's text, read.

    Args:
        objectives: that score in the dry run: functions themselves, and stand-ins for models and services.
        judges: reward models whose config is here.
        unknown: reward models of which nothing is here.
        faults: what keeps it from scoring.
    """

    objectives: list[Objective] = field(default_factory=list)
    judges: list[JudgeShape] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    faults: list[HeedError] = field(default_factory=list)


def read_objective(text: str, option: str, prompt: Prompt | None) -> Judged:
    """Look at an objective: a function is imported, a model's config and tokenizer are read, a service is not asked.

    Args:
        text: as the command line has it.
        option: where it was given.
        prompt: a prompt that it must be able to judge; None where there is none to be had.
    """
    found = Judged()
    try:
        written = split_objective(text, option)
        kind = kind_of(written.target)
        service, several = written.target.startswith(("http://", "https://")), ensembles.SCHEME
        if written.target.startswith(several):
            rest = {name: value for name, value in written.given.items() if name not in {*COMMON_KEYS, "pessimism"}}
            for target in written.target.removeprefix(several).split("+"):
                _look(ObjectiveText(None, target, rest, option), found, prompt)
        elif kind.form == MODEL_FORM:
            _look(written, found, prompt)
        elif service:
            parse_objective(text, option)  # which asks nobody yet
        else:
            found.objectives.append(parse_objective(text, option))
        if not found.objectives:
            found.objectives += list(_stand_ins(written))
    except HeedError as error:
        found.faults.append(error)
    return found


def _look(text: ObjectiveText, found: Judged, prompt: Prompt | None) -> None:
    """See what is here of a reward model."""
    path = text.target
    if kind_of(path).form != MODEL_FORM:
        return
    options = options_of(text)
    require_dtype(dtype := options.get("dtype", "auto"), path)
    try:
        config = config_at(path, "reward model")
    except HeedError as error:
        found.unknown.append(path)
        found.faults.append(error)
        return
    found.judges.append(JudgeShape(path, config, dtype, options.get("batch_size", 32)))
    for check in _checks(text, config, prompt):
        try:
            check()
        except HeedError as error:
            found.faults.append(error)


def _checks(text: ObjectiveText, config: Any, prompt: Prompt | None) -> Iterator[Callable[[], object]]:
    path, settings = text.target, config.to_dict()
    yield lambda: require_weights(path, "reward model")
    if is_score_model(settings):
        yield lambda: require_score_config(settings, path)
        yield lambda: tokenizer_at(path, "reward model")
        yield lambda: score_options_of(text)
        if prompt is not None:
            yield lambda: conversation_text(prompt, "", "")
        return
    yield lambda: _require_heads(text, {int(index): label for index, label in config.id2label.items()})
    if prompt is not None:
        yield lambda: _require_shown(path, prompt)


def _require_heads(text: ObjectiveText, labels: dict[int, str]) -> None:
    known = ", ".join(f"{index} ({label})" for index, label in sorted(labels.items()))
    named = [head.head for head in heads_of(text)] if "heads" in text.given else [text.given.get("head")]
    for head in named:
        if head is None and len(labels) > 1:
            raise HeedError(f"the reward model has {len(labels)} heads, and none is named", text.target, known)
        if head is not None and str(head) not in {*map(str, labels), *labels.values()}:
            raise HeedError(f"the reward model has no head {head!r}", text.target, f"its heads are {known}")


def _require_shown(path: str, prompt: Prompt) -> None:
    tokenizer = tokenizer_at(path, "reward model")
    with located(f"reward model {path}"):
        require_completion_shown(prompt, tokenizer)


def _stand_ins(text: ObjectiveText) -> Iterator[RewardFunction]:
    """A function for each objective that a text names, with the sign and scale that it has."""
    if "heads" in text.given:
        for head in heads_of(text):
            yield RewardFunction(_scores(head.name), head.name, head.sign)
        return
    own = {name: kind(text.given[name]) for name, kind in COMMON_KEYS.items() if name in text.given}
    name = text.name or Path(text.target.removeprefix(ensembles.SCHEME).partition("+")[0]).name or text.target
    yield RewardFunction(_scores(name), name, **own)


def _scores(name: str) -> Callable[..., list[float]]:
    """Scores that differ by the text and by the objective, and mean nothing."""

    def score(completions: Sequence[Any], **_: Any) -> list[float]:
        return [zlib.crc32(f"{name} {completion_text(said)}".encode()) / 2**32 for said in completions]

    return score
