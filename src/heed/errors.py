"""The ways in which heed stops: a mistake of the user's making, a run that failed, a wish."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def flag_of(name: str) -> str:
    """How a setting is spelt as a flag, in help and in messages; underscores are understood as well.

    >>> flag_of("learner.learning_rate")
    '--learner.learning-rate'
    """
    return f"--{name.replace('_', '-')}"


class HeedError(Exception):
    """A mistake that the user can mend; the command line prints it in one line and exits with 2.

    Args:
        what: what is wrong.
        where: the file and line, option or completion where it is wrong.
        fix: what to do about it.

    >>> print(HeedError("two objectives are called 'help'", where="--objectives", fix="rename one"))
    two objectives are called 'help' (--objectives): rename one
    """

    def __init__(self, what: str, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(what + (f" ({where})" if where else "") + (f": {fix}" if fix else ""))

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross from a worker's process whole."""
        return HeedError, (self.what, self.where, self.fix)


class MissingPackageError(HeedError, ModuleNotFoundError):
    """A part of heed was imported whose packages are not installed.

    Args:
        who: the command or the module that stands on it.
        package: what is missing, as pip names it.
        extras: what brings it, and whatever else ``who`` lacks; an empty name is heed itself.

    >>> print(MissingPackageError("heed align", "transformers", ["align"]))
    heed align needs transformers, which is not installed; pip install 'heed[align]'
    """

    def __init__(self, who: str, package: str, extras: Sequence[str]) -> None:
        self.who, self.package, self.extras = who, package, tuple(extras)
        what = f"'heed[{','.join(extras)}]'" if any(extras) else "heed"
        super().__init__(f"{who} needs {package}, which is not installed; pip install {what}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross from a worker's process whole."""
        return MissingPackageError, (self.who, self.package, self.extras)


class RunFailed(Exception):  # noqa: N818 - it is the run's state, not a kind of error
    """A run stopped before its end through a fault; the command line exits with 1.

    Args:
        reason: what happened.
        checkpoint: the checkpoint that survives, or None if there is none yet.
    """

    def __init__(self, reason: str, checkpoint: Path | None = None) -> None:
        self.reason, self.checkpoint = reason, checkpoint
        kept = f"the last checkpoint is {checkpoint}" if checkpoint else "no checkpoint was written yet"
        super().__init__(f"{reason}; {kept}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross from a worker's process whole."""
        return RunFailed, (self.reason, self.checkpoint)


class Stopped(Exception):  # noqa: N818 - a wish, not an error
    """The person asked to stop, and the round that was under way has ended."""
