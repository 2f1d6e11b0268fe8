"""A judge of words alone: a linear model of a completion's character n-grams, learnt from comparisons in seconds.

It reads no prompt and understands nothing, and so tells how far a verdict can be guessed from the wording. As a
held-out judge it is of another kind than a language model: what pleases one by accident need not please the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from heed.align.data.conversations import Completion, Prompt, completion_text
from heed.align.objectives.base import Objective, ObjectiveSpec
from heed.align.objectives.kinds import ObjectiveKind, ObjectiveText, register_objective_kind
from heed.errors import HeedError
from heed.runs.folders import replacing_folder

SETTINGS, WEIGHTS = "ngrams.json", "ngrams.safetensors"
"""The two files of a saved judge."""
SIZE, LENGTHS, REGULARISER = 2**16, (2, 5), 1.0
"""Buckets that n-grams are hashed to, characters of an n-gram, and C of the logistic regression."""

Pair = tuple[Completion, Completion]
"""A better completion and a worse one of the same prompt."""


class NgramJudge(Objective):
    """Scores a completion by the n-grams in it: w . x, x their hashed counts, of length 1.

    Args:
        weights: one for each bucket, [D].
        lengths: the shortest and the longest n-gram, in characters; they do not go over a word's edges.
        name: of the objective.
        sign: +1, or -1 where less is better.
        scale: positive factor.
        unit: of the raw value.

    >>> pairs = [("stay in bed and rest", "go and run a mile"), ("rest, and drink tea", "run, and drink ale")] * 4
    >>> judge = NgramJudge.fit(pairs, name="calm")
    >>> judge.agreement([("rest in a chair", "run a race")])
    1.0
    """

    def __init__(
        self,
        weights: Tensor,
        lengths: tuple[int, int] = LENGTHS,
        name: str = "words",
        sign: float = 1.0,
        scale: float = 1.0,
        unit: str = "log-odds",
    ) -> None:
        self.weights, self.lengths = weights.float(), (int(lengths[0]), int(lengths[1]))
        self.specs = (ObjectiveSpec(name, sign, scale, unit),)

    @classmethod
    def fit(cls, pairs: Sequence[Pair], lengths: tuple[int, int] = LENGTHS, name: str = "words") -> NgramJudge:
        """Learn from comparisons (Bradley & Terry 1952, as a logistic regression on differences of features).

        Args:
            pairs: better and worse completions; at least one.
            lengths: of the n-grams.
            name: of the objective.

        Raises:
            HeedError: no pairs.
        """
        if not pairs:
            raise HeedError("there is no comparison to learn from", f"judge {name!r}", "give at least one")
        from scipy.sparse import vstack
        from sklearn.linear_model import LogisticRegression

        differences = _features([better for better, _ in pairs], SIZE, lengths)
        differences -= _features([worse for _, worse in pairs], SIZE, lengths)
        both = vstack([differences, -differences])  # the regression wants both outcomes
        model = LogisticRegression(C=REGULARISER, fit_intercept=False, max_iter=1000)
        model.fit(both, np.arange(2 * len(pairs)) < len(pairs))
        return cls(torch.from_numpy(model.coef_[0]).float(), lengths, name)

    @classmethod
    def load(
        cls, folder: str | Path, name: str = "words", sign: float = 1.0, scale: float = 1.0, unit: str = "log-odds"
    ) -> NgramJudge:
        """Read what `save` wrote.

        Raises:
            HeedError: the folder holds no such judge, or half of one.
        """
        try:
            lengths = json.loads((Path(folder) / SETTINGS).read_text())["lengths"]
            weights = load_file(Path(folder) / WEIGHTS)["weights"]
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise HeedError("no judge of n-grams can be read", str(folder), "learn it anew") from error
        return cls(weights, tuple(lengths), name, sign, scale, unit)

    def save(self, folder: Path) -> None:
        """Write two files into a folder, which is made."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with replacing_folder(folder) as made:
            save_file({"weights": self.weights}, made / WEIGHTS)
            (made / SETTINGS).write_text(json.dumps({"lengths": self.lengths}))

    def agreement(self, pairs: Sequence[Pair]) -> float:
        """Share of comparisons in which the better completion has the higher score; a draw counts half."""
        better, worse = (self._values([pair[side] for pair in pairs]) for side in (0, 1))
        return float(((better > worse).double() + 0.5 * (better == worse)).mean())

    def score(
        self,
        prompts: Sequence[Prompt],  # noqa: ARG002 - it reads none
        completions: Sequence[Completion],
        columns: Mapping[str, Sequence[Any]],  # noqa: ARG002
    ) -> Tensor:
        """Score a batch of B completions: [B, 1]."""
        return self._values(completions)[:, None]

    def _values(self, completions: Sequence[Completion]) -> Tensor:
        found = _features(completions, len(self.weights), self.lengths) @ self.weights.numpy()
        return torch.from_numpy(np.asarray(found, np.float32))


def _features(completions: Sequence[Completion], size: int, lengths: tuple[int, int]) -> Any:
    """Hashed counts of n-grams, each row of length 1, sparse [B, size]."""
    from sklearn.feature_extraction.text import HashingVectorizer

    read = HashingVectorizer(n_features=size, analyzer="char_wb", ngram_range=lengths, norm="l2")
    return read.transform([completion_text(completion) for completion in completions])


def _is_saved(target: str) -> bool:
    return (Path(target) / SETTINGS).is_file()


def _from_text(text: ObjectiveText) -> NgramJudge:
    return NgramJudge.load(text.target, text.name or Path(text.target).name, **text.options())


register_objective_kind(ObjectiveKind("a folder of an n-gram judge", _is_saved, _from_text))
