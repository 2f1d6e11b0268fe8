"""Margins of pairs that people are to compare: by how much a reward model prefers the first completion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from heed.align.data.conversations import Completion, as_message_completion
from heed.align.objectives.base import ObjectiveSet
from heed.errors import HeedError
from heed.oversight.comparisons.pairs import Pair

AT_ONCE = 64
"""Pairs that are scored in one call; reward models make batches of their own size of them."""


def with_margins(pairs: Sequence[Pair], objectives: ObjectiveSet) -> list[Pair]:
    """Add each objective's margin to some pairs: the first completion's reward less the second's.

    By Bradley and Terry's model the first is preferred with probability ``sigmoid(margin)``: a margin near 0 marks a
    pair that the reward models cannot decide.

    Args:
        pairs: margins of these objectives that they have already are replaced.
        objectives: the reward models, with their signs and scales.

    Returns:
        As many pairs, in their order.

    Raises:
        HeedError: a completion that an objective fails on, or leaves unscored.

    >>> from heed.align.objectives.reward_functions import RewardFunction
    >>> def brief(completions, **columns):
    ...     return [-float(len(text)) for text in completions]
    >>> with_margins([Pair("p", "Cough?", ("Tea.", "Honey."))], ObjectiveSet([RewardFunction(brief)]))[0].scores
    {'brief': 2.0}
    """
    scored: list[Pair] = []
    for start in range(0, len(pairs), AT_ONCE):
        batch = pairs[start : start + AT_ONCE]
        prompts = [pair.prompt for pair in batch for _ in pair.completions]
        completions = [_completion(pair, text) for pair in batch for text in pair.completions]
        rewards = objectives.score(prompts, completions)
        for pair, margins in zip(batch, (rewards[0::2] - rewards[1::2]).tolist(), strict=True):
            scores = dict(zip(objectives.names, margins, strict=True))
            for name, margin in scores.items():
                if not math.isfinite(margin):
                    fix = "give a reward that scores every completion, or take --next random"
                    raise HeedError(f"'{name}' does not score both completions", f"pair '{pair.id}'", fix)
            scored.append(replace(pair, scores={**pair.scores, **scores}))
    return scored


def _completion(pair: Pair, text: str) -> Completion:
    """As an objective gets it in a rollout: a message where the prompt is a conversation."""
    return text if isinstance(pair.prompt, str) else as_message_completion(text)
