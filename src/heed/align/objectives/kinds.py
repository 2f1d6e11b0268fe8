"""How the command line names objectives: every kind says in its own file which targets are its own.

A kind registers an `ObjectiveKind` where its class is defined. The modules of this package are all asked
(`heed.align.objectives.spec`), so that a new kind is one new file here; a kind of your own registers itself when your
module is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from heed.align.objectives.base import Objective
from heed.errors import HeedError

Keys = Mapping[str, Callable[[str], Any]]
"""Names of options, each with what makes its value of a text."""

COMMON_KEYS: dict[str, Callable[[str], Any]] = {"sign": float, "scale": float, "unit": str}
"""Options of every objective that has one name."""


@dataclass(frozen=True)
class ObjectiveText:
    """The parts of ``[name=]TARGET[,key=value...]``.

    Args:
        name: the objective's name; None where the text gives none.
        target: what scores.
        given: the options as text.
        option: where the text was given, for errors.
    """

    name: str | None
    target: str
    given: Mapping[str, str]
    option: str

    def options(self, known: Keys = COMMON_KEYS) -> dict[str, Any]:
        """The options as values.

        Args:
            known: the options that this kind has; by default sign, scale and unit.

        Raises:
            HeedError: an option that the kind does not have, or a value that is not what it should be.

        >>> ObjectiveText(None, "judge", {"scale": ".5"}, "--objectives").options()
        {'scale': 0.5}
        """
        converted = {}
        for key, value in self.given.items():
            where = f"{self.option} {key}={value}"
            if key not in known:
                target, fix = self.target.rpartition("@")[2], f"its options are {', '.join(known)}"
                raise HeedError(f"{key!r} is no option of {target}", where, fix)
            try:
                converted[key] = known[key](value)
            except ValueError:
                raise HeedError(f"{value!r} is not a number", where, fix=f"give {key} a number") from None
        return converted


@dataclass(frozen=True)
class ObjectiveKind:
    """One kind of objective, as the command line names it.

    Args:
        form: of its targets, for readers: ``module:function``.
        names: whether a target is of this kind.
        build: the parts of the text to the objective.
        last: whether it is asked only where no other kind names the target, such as a path, which anything can be.
    """

    form: str
    names: Callable[[str], bool]
    build: Callable[[ObjectiveText], Objective]
    last: bool = False


KINDS: dict[str, ObjectiveKind] = {}
"""Form of the targets: the kind that names them; filled by `register_objective_kind`."""


def register_objective_kind(kind: ObjectiveKind) -> None:
    """Let the command line name objectives of a kind; one of the same form takes the other's place."""
    KINDS[kind.form] = kind


def kind_of(target: str) -> ObjectiveKind:
    """The kind that names a target; those that are ``last`` are asked after all others.

    Raises:
        HeedError: no kind names it.
    """
    for kind in sorted(KINDS.values(), key=lambda kind: kind.last):
        if kind.names(target):
            return kind
    raise HeedError(f"{target!r} is no objective", "--objectives", f"give {', '.join(KINDS)}")
