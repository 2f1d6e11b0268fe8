"""How sure a run's change is: the same prompts before and after, one difference each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np

from heed.report.common.formats import number, signed
from heed.report.common.gather import Objective, RunRecord
from heed.runs.statistics import mean_interval

Judge = Literal["rewards", "gold"]
Interval = tuple[float, float, float]


def change_of(run: RunRecord, objective: Objective, judge: Judge) -> Interval | None:
    """The change of an objective over a run with its 95% t-interval over the prompts.

    An evaluation answers each prompt several times before and after; a prompt's difference is that of its two means.
    The interval says what other prompts might have given; what another seed of the training might have, it does not.

    Args:
        run: with the completions of its first and its last evaluation.
        objective: one of the run's.
        judge: of the rewards or of the world's gold values.

    Returns:
        The change and the ends of its interval, in the objective's unit; None where the completions kept are not of
        the same two or more prompts, or not those that the run's start and end were measured on.
    """
    ends = (objective.gold_start, objective.gold_end)
    start, end = ends if judge == "gold" else (objective.proxy_start, objective.proxy_end)
    before = _by_prompt((each.prompt, getattr(each, judge)) for each in run.before)
    after = _by_prompt((each.prompt, getattr(each, judge)) for each in run.after)
    if start is None or end is None or before.keys() != after.keys() or len(before) < 2:
        return None
    name = objective.name
    if any(name not in scores for kept in (before, after) for rows in kept.values() for scores in rows):
        return None
    firsts, lasts = (
        np.array([np.mean([scores[name] for scores in kept[prompt]]) for prompt in before]) for kept in (before, after)
    )
    found = mean_interval(lasts - firsts)
    return found if np.isclose(found[0], end - start, rtol=1e-3, atol=1e-3 * np.abs(firsts).max()) else None


def change_in_words(change: float | None, interval: Interval | None) -> str:
    """Write a change, and between brackets the ends of its interval where it is known.

    >>> change_in_words(0.55, (0.55, 0.31, 0.79)), change_in_words(3, None)
    ('+0.55 [+0.31, +0.79]', '+3.00')
    """
    return signed(change) if interval is None else f"{signed(change)} [{signed(interval[1])}, {signed(interval[2])}]"


def ends_in_words(run: RunRecord, objective: Objective) -> str:
    """Write where an objective began and ended, by which judge, and the interval of its change.

    Args:
        run: the run.
        objective: one of its.
    """
    judge: Judge = "gold" if objective.gold_end is not None else "rewards"
    told = f"{number(objective.start)} → {number(objective.end)} {'gold' if judge == 'gold' else 'reward'}"
    interval = change_of(run, objective, judge)
    return told if interval is None else f"{told}; {signed(interval[1])} to {signed(interval[2])} in 95%"


def beyond_chance(run: RunRecord, objective: Objective) -> bool:
    """Whether the prompts tell an objective's change from none; so taken where they cannot say."""
    interval = change_of(run, objective, "gold" if objective.gold_end is not None else "rewards")
    return interval is None or not interval[1] <= 0 <= interval[2]


def _by_prompt(rows: Iterable[tuple[str, Mapping[str, float]]]) -> dict[str, list[Mapping[str, float]]]:
    found: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    for prompt, scores in rows:
        found[prompt].append(scores)
    return found
