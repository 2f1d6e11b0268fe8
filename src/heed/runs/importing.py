"""From ``module:name`` to what it names: the user's own code, whose errors are reported as theirs."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from heed.errors import HeedError

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_OURS = (str(Path(__file__).parents[1]), str(Path(importlib.__file__).parent), "<frozen")


def is_named(spec: str) -> bool:
    """Whether a text has the form ``module:name``, dots allowed in both.

    >>> is_named("mine.rail:Rail"), is_named("heed.worlds:heed/PointHazard-v0"), is_named("mine:")
    (True, False, False)
    """
    module, colon, name = spec.partition(":")
    return bool(colon and _NAME.fullmatch(module) and _NAME.fullmatch(name))


def named(spec: str, where: str) -> Any:
    """What ``module:name`` names; the current folder is searched after what is installed.

    Args:
        spec: ``module:name``; the name may have dots, as in ``module:Class.method``.
        where: the option and its value, for errors.

    Raises:
        HeedError: a text of another form, no such module, a module whose own code raises, or no such name in it.

    >>> named("math:hypot", "--objectives math:hypot")(3, 4)
    5.0
    >>> try:
    ...     named("math:hypo", "--objectives math:hypo")
    ... except HeedError as error:
    ...     print(error)
    module 'math' has no 'hypo' (--objectives math:hypo): did you mean math:hypot?
    """
    if not is_named(spec):
        raise HeedError(f"{spec!r} is not of the form module:name", where, "give module:name, such as mine:Robot")
    module, _, path = spec.partition(":")
    value: Any = imported(module, where)
    for part in path.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            near = difflib.get_close_matches(part, dir(value), n=1)
            lies = getattr(sys.modules[module], "__file__", None) or module
            fix = f"did you mean {spec.removesuffix(part)}{near[0]}?" if near else f"give a name that {lies} has"
            raise HeedError(f"module {module!r} has no {path!r}", where, fix) from None
    return value


def imported(module: str, where: str) -> ModuleType:
    """A module by its name; the current folder is searched after what is installed.

    Args:
        module: its name, with dots or not.
        where: the option and its value, for errors.

    Raises:
        HeedError: no such module, or its own code raises.
    """
    here = str(Path.cwd())
    if here not in sys.path:  # a console script does not look in the current folder; its user does
        sys.path.append(here)
    with users_errors(f"importing {module!r}", where):
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise  # the module is there, and imports what is not
            fix = "run where the module lies, or install it"
            raise HeedError(f"cannot import {module!r}: there is no such module", where, fix) from None


@contextmanager
def users_errors(what: str, where: str) -> Iterator[None]:
    """Whatever the user's code raises inside is one line that says so, with the place of it in their code.

    Args:
        what: what is tried, such as "importing 'mine'".
        where: the option and its value.

    Raises:
        HeedError: the code raised something. A `HeedError` of its own goes through as it is.

    >>> with users_errors("making mine:Robot", "--env mine:Robot"):
    ...     raise ValueError("no such wind")
    Traceback (most recent call last):
    heed.errors.HeedError: making mine:Robot raised ValueError: no such wind (--env mine:Robot): mend that code, ...
    """
    try:
        yield
    except HeedError:
        raise
    except (Exception, SystemExit) as error:  # a user's own code may raise anything, or end the program
        message = str(error).strip().splitlines()
        reason = type(error).__name__ + (f": {message[0]}" if message else "")
        fix = "mend that code, or what it is given"
        raise HeedError(f"{what} raised {reason}{_place(error)}", where, fix) from error


def _place(error: BaseException) -> str:
    """Where in the user's code an error came up: the first line that is neither ours nor Python's importing."""
    if isinstance(error, SyntaxError):
        return ""  # it says so itself
    frames = traceback.extract_tb(error.__traceback__)[2:]  # after `users_errors` and the block that it is around
    theirs = [frame for frame in frames if not frame.filename.startswith(_OURS)]
    return f" in {Path(theirs[0].filename).name}, line {theirs[0].lineno}" if theirs else ""
