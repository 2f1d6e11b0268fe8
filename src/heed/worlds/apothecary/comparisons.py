"""What people show and say in the apothecary: demonstrations of middling quality, and noisy comparisons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from heed.errors import HeedError
from heed.worlds.apothecary.language import SIDE_EFFECTS, Reply, customers, render_prompt, render_reply, words
from heed.worlds.apothecary.pharmacy import MOST_DOSES, MOST_PRESCRIPTIONS, REMEDIES, Array, Pharmacy

RELEVANT = 0.4
"""Share of demonstrated prescriptions that treat some complaint of the customer."""
WARNED = 0.2
"""Share of demonstrated replies that warn."""
CARELESS = 0.1
"""Share of compared replies in which a word went missing, so that judges learn what cannot be read."""


def numpy_generator(generator: torch.Generator) -> np.random.Generator:
    """A numpy generator seeded by one draw from torch's: many small draws cost a fifth of torch's."""
    return np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))


def demonstrate(pharmacy: Pharmacy, complaints: Sequence[int], rng: np.random.Generator) -> str:
    """One apothecary's reply to these complaints: often to the point, seldom mild, far from optimal."""
    treats = np.flatnonzero(pharmacy.strengths[:, list(complaints)].max(1) > 1.0)
    prescriptions = tuple(
        (
            int(rng.choice(treats)) if rng.random() < RELEVANT else int(rng.integers(len(REMEDIES))),
            int(rng.integers(1, MOST_DOSES + 1)),
        )
        for _ in range(rng.integers(1, MOST_PRESCRIPTIONS + 1))
    )
    side_effect = str(rng.choice(SIDE_EFFECTS)) if rng.random() < WARNED else None
    return render_reply(Reply(prescriptions, side_effect))


def demonstrations(pharmacy: Pharmacy, count: int, generator: torch.Generator) -> list[dict[str, str]]:
    """Well-formed replies to random customers, for the supervised warm start: ``{"prompt", "completion"}``."""
    rng, everyone = numpy_generator(generator), customers()
    chosen = [everyone[index] for index in rng.integers(len(everyone), size=count)]
    return [{"prompt": render_prompt(who), "completion": demonstrate(pharmacy, who, rng)} for who in chosen]


def comparisons(
    pairs: Sequence[tuple[str, str, str]],
    gold: Callable[[list[str], list[str]], Array],
    names: Sequence[str],
    ranges: Array,
    noise: float,
    tie: float,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Judge pairs (prompt, left, right) on every objective as an imperfect person would.

    The person perceives the difference of gold values in units of ``ranges`` [K], plus logistic noise of scale
    ``noise``: the Bradley-Terry model, P(left) = sigmoid(difference / noise). What is perceived as smaller than
    ``tie`` is a tie (Rao and Kupper 1967), and its size is the margin.
    """
    prompts = [prompt for prompt, _, _ in pairs]
    lefts, rights = [left for _, left, _ in pairs], [right for _, _, right in pairs]
    difference = (gold(prompts, lefts) - gold(prompts, rights)) / ranges
    perceived = difference + noise * rng.logistic(size=difference.shape)
    records = []
    for prompt, left, right, row in zip(prompts, lefts, rights, perceived.tolist(), strict=True):
        verdicts = {
            name: "tie" if abs(gap) <= tie else "left" if gap > 0 else "right"
            for name, gap in zip(names, row, strict=True)
        }
        margins = {name: abs(gap) for name, gap in zip(names, row, strict=True)}
        records.append({"prompt": prompt, "left": left, "right": right, "verdicts": verdicts, "margins": margins})
    return records


def demonstrated_pairs(pharmacy: Pharmacy, count: int, rng: np.random.Generator) -> list[tuple[str, str, str]]:
    """Pairs of replies to random customers as `demonstrate` writes them, some with a word missing."""
    everyone, pairs = customers(), []
    for index in rng.integers(len(everyone), size=count):
        left, right = (_carelessly(demonstrate(pharmacy, everyone[index], rng), rng) for _ in range(2))
        pairs.append((render_prompt(everyone[index]), left, right))
    return pairs


def collected_pairs(
    rows: Sequence[Mapping[str, str]], count: int, rng: np.random.Generator
) -> list[tuple[str, str, str]]:
    """Random pairs of different replies to one prompt, out of rows ``{"prompt", "completion"}``.

    Raises:
        HeedError: if no prompt has two different completions.
    """
    replies: dict[str, list[str]] = {}
    for row in rows:
        known = replies.setdefault(row["prompt"], [])
        if row["completion"] not in known:
            known.append(row["completion"])
    comparable = [(prompt, known) for prompt, known in replies.items() if len(known) >= 2]
    if not comparable:
        raise HeedError(
            "nothing to compare: no prompt has two different completions",
            where="completions",
            fix="sample at least two completions for some prompt",
        )
    pairs = []
    for index in rng.integers(len(comparable), size=count):
        prompt, known = comparable[index]
        left, right = rng.choice(len(known), size=2, replace=False)
        pairs.append((prompt, known[left], known[right]))
    return pairs


def _carelessly(reply: str, rng: np.random.Generator) -> str:
    """The reply, or with probability `CARELESS` the reply without one of its words or broken off there."""
    if rng.random() >= CARELESS:
        return reply
    spoken = words(reply)
    at = int(rng.integers(len(spoken)))
    return " ".join(spoken[:at] if rng.random() < 0.5 else spoken[:at] + spoken[at + 1 :])
