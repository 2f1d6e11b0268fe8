"""What a completion is scored by: objectives, and the set of them that a policy is trained for."""

from __future__ import annotations

import copy
import logging
import math
import numbers
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from heed.align.data.conversations import Completion, Prompt, Tools, completion_text, located
from heed.errors import HeedError

logger = logging.getLogger(__name__)

SILENT_BATCHES = 50
"""An objective that has scored nothing in so many batches in a row is taken for broken."""


@dataclass(frozen=True)
class ObjectiveSpec:
    """One objective's name and how its raw value counts.

    Args:
        name: letters, digits, ``_``, ``-`` and ``.``; metrics and files are named by it.
        sign: +1 if more is better, -1 if less is (a cost model).
        scale: positive factor on the raw value.
        unit: what the raw value is measured in, for reports.

    Raises:
        HeedError: a name that metrics cannot carry, a sign other than +1 and -1, a scale that is not positive.

    >>> ObjectiveSpec("harmless", sign=-1.0, unit="cost")
    ObjectiveSpec(name='harmless', sign=-1.0, scale=1.0, unit='cost')
    """

    name: str
    sign: float = 1.0
    scale: float = 1.0
    unit: str = ""

    def __post_init__(self) -> None:
        """Refuse what would only fail once the run is under way."""
        if not re.fullmatch(r"[\w.\-]+", self.name):
            raise HeedError(
                f"{self.name!r} cannot name an objective",
                where="objective",
                fix="give name= made of letters, digits, '_', '-' and '.'",
            )
        if self.sign not in (1.0, -1.0):
            raise HeedError(f"sign is {self.sign}", where=f"objective {self.name!r}", fix="give sign=1 or sign=-1")
        if not (self.scale > 0 and math.isfinite(self.scale)):
            raise HeedError(
                f"scale is {self.scale}",
                where=f"objective {self.name!r}",
                fix="give a positive scale; what is to be lowered takes sign=-1",
            )

    @property
    def reward_unit(self) -> str:
        """The unit of the reward, which is the raw value times sign and scale; empty where the value has none.

        >>> ObjectiveSpec("brevity", sign=-1.0, scale=0.1, unit="words").reward_unit
        'words x -0.1'
        """
        factor = self.sign * self.scale
        return self.unit if factor == 1 or not self.unit else f"{self.unit} x {factor:g}"


class Objective(ABC):
    """Something that scores completions by one or several objectives at once.

    Attributes:
        specs: one entry for each column that ``score`` returns.
    """

    specs: tuple[ObjectiveSpec, ...]

    @abstractmethod
    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], columns: Mapping[str, Sequence[Any]]
    ) -> Tensor:
        """Score a batch.

        Args:
            prompts: B prompts, text or messages.
            completions: B completions, text or one message.
            columns: the data's other columns, each of length B, ``tools`` among them if the prompts have any; in a run
                also ``completion_ids``, each completion's tokens with its end.

        Returns:
            Raw values, float32 [B, len(specs)], before sign and scale; NaN only where a completion is not scored.

        Raises:
            HeedError: a value that no optimiser step may see; names the objective and the completion.
        """

    def check(self, prompt: Prompt, tools: Tools = None) -> None:  # noqa: B027 - most objectives take every prompt
        """Refuse a prompt with which no completion can be scored, before a run begins.

        Args:
            prompt: text or messages.
            tools: what its column ``tools`` holds.

        Raises:
            HeedError: such a prompt.
        """


class ObjectiveSet:
    """The K objectives of a run, scored together.

    Args:
        objectives: each with one or several specs; the K names must differ.

    Raises:
        HeedError: no objective, or two of one name.

    >>> from heed.align.objectives.reward_functions import RewardFunction
    >>> def words(prompts, completions, **columns):
    ...     return [float(len(completion.split())) for completion in completions]
    >>> brevity = RewardFunction(words, name="brevity", sign=-1, scale=0.1)
    >>> ObjectiveSet([brevity]).score(["fever"], ["rest and tea"], {})
    tensor([[-0.3000]])
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = tuple(objectives)
        self.specs = tuple(spec for objective in self.objectives for spec in objective.specs)
        if not self.specs:
            raise HeedError("there is no objective", where="--objectives", fix="give at least one")
        for name in self.names:
            if self.names.count(name) > 1:
                raise HeedError(
                    f"{self.names.count(name)} objectives are called {name!r}",
                    where="--objectives",
                    fix="name them apart: name=TARGET",
                )
        self._silent = [0] * len(self.specs)
        self._said_silent: set[str] = set()

    @property
    def names(self) -> tuple[str, ...]:
        """The K names, in the order of the columns of ``score``."""
        return tuple(spec.name for spec in self.specs)

    def score(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Completion],
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> Tensor:
        """Score a batch by every objective, each on a copy of its own, so that what one changes no other sees.

        Returns:
            float32 [B, K], sign * scale * raw value; NaN where an objective did not score a completion. One that
            scored none of the batch is said once.

        Raises:
            HeedError: an objective failed, or has scored nothing in `SILENT_BATCHES` in a row; nothing was changed by
                then.
        """
        if len(prompts) != len(completions):
            raise ValueError(f"{len(prompts)} prompts, but {len(completions)} completions")
        scores = [
            objective.score(
                _copies(prompts),
                _copies(completions),
                {name: _copies(values) for name, values in (columns or {}).items()},
            )
            for objective in self.objectives
        ]
        raw = torch.cat([score.to("cpu", torch.float32) for score in scores], dim=1)
        for index, (column, name) in enumerate(zip(raw.T, self.names, strict=True)):
            _require_finite(column, name, completions)
            self._count_silence(index, bool(column.isnan().all()), completions)
        factors = torch.tensor([spec.sign * spec.scale for spec in self.specs])
        return raw * factors

    def _count_silence(self, index: int, silent: bool, completions: Sequence[Completion]) -> None:
        """Count the batches in a row of which an objective scored nothing, as of data of several tasks."""
        name = self.names[index]
        self._silent[index] = self._silent[index] + 1 if silent else 0
        if self._silent[index] >= SILENT_BATCHES:
            raise HeedError(
                f"objective {name!r} scored none of {len(completions)} completions, {SILENT_BATCHES} batches in a row",
                where=f"completions 0 to {len(completions) - 1}, the first {excerpt(completions, 0)}",
                fix="return numbers, give more data that it scores, or leave the objective out",
            )
        if silent and name not in self._said_silent:
            self._said_silent.add(name)
            logger.warning(
                "objective %s scored none of a batch of %d completions; it has no gradient then (said once)",
                name,
                len(completions),
            )

    def check(self, prompts: Sequence[Prompt], tools: Sequence[Tools] | None = None) -> None:
        """Refuse prompts that an objective cannot score, before a run begins.

        Args:
            prompts: texts or messages.
            tools: of each prompt; None if no prompt has any.

        Raises:
            HeedError: such a prompt, by its number.
        """
        for index, (prompt, own) in enumerate(zip(prompts, tools or [None] * len(prompts), strict=True)):
            with located(f"prompt {index}"):
                for objective in self.objectives:
                    objective.check(prompt, own)


def _copies(values: Sequence[Any]) -> list[Any]:
    """A copy of each value by itself: the completions of a prompt share one list of messages."""
    return [copy.deepcopy(value) for value in values]


def values_to_column(values: object, name: str, completions: Sequence[Completion], source: str) -> Tensor:
    """Check the values that a function or service returned and make a column of them.

    Args:
        values: what came back; a list (or 1-D array) of B numbers and Nones is right.
        name: the objective's name, for errors.
        completions: the B completions, for errors.
        source: "function" or "service", for errors.

    Returns:
        float32 [B, 1], NaN where the value was None.

    Raises:
        HeedError: not a list, of another length, not a number, NaN or infinite.

    >>> values_to_column([1, None], "help", ["tea", "rest"], source="function")
    tensor([[1.],
            [nan]])
    """
    tolist = getattr(values, "tolist", None)  # tensors and numpy arrays
    listed = tolist() if callable(tolist) else values
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise HeedError(
            f"objective {name!r} returned {type(values).__name__}, not a list",
            where=source,
            fix="return one number, or None, for each completion",
        )
    if len(listed) != len(completions):
        raise HeedError(
            f"objective {name!r} returned {len(listed)} values for {len(completions)} completions",
            where=source,
            fix="return one number, or None, for each completion",
        )
    numeric = [value.item() if isinstance(value, Tensor) and value.numel() == 1 else value for value in listed]
    for index, value in enumerate(numeric):
        if value is not None and not isinstance(value, numbers.Real):
            raise HeedError(
                f"objective {name!r} returned {value!r}, which is not a number",
                where=f"completion {index} {excerpt(completions, index)}",
                fix="return a float, or None if it is not to be scored",
            )
        if value is not None and not math.isfinite(value):
            raise _not_finite(float(value), name, index, completions)
    column = torch.tensor([math.nan if value is None else float(value) for value in numeric], dtype=torch.float32)
    _require_finite(column, name, completions)
    return column[:, None]


def _require_finite(column: Tensor, name: str, completions: Sequence[Completion]) -> None:
    """Refuse infinities; NaN means not scored."""
    if bool(column.isinf().any()):
        index = int(column.isinf().nonzero()[0])
        raise _not_finite(float(column[index]), name, index, completions)


def require_numbers(scores: Tensor, specs: Sequence[ObjectiveSpec], completions: Sequence[Completion]) -> Tensor:
    """Return a model's scores [B, K] if they are finite, else raise: a model cannot leave a completion unscored.

    Raises:
        HeedError: a score is NaN or infinite.
    """
    wrong = (~scores.isfinite()).nonzero()
    if len(wrong):
        row, head = (int(index) for index in wrong[0])
        raise _not_finite(float(scores[row, head]), specs[head].name, row, completions)
    return scores


def _not_finite(value: float, name: str, index: int, completions: Sequence[Completion]) -> HeedError:
    return HeedError(
        f"objective {name!r} returned {value}",
        where=f"completion {index} {excerpt(completions, index)}",
        fix="return a finite number, or None if it is not to be scored",
    )


def excerpt(completions: Sequence[Completion], index: int) -> str:
    """The beginning of one of some completions, for an error."""
    return repr(completion_text(completions[index])[:60]) if completions else "(none)"
