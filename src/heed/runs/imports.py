"""What a user names as ``module:name``: the only place that imports it (an objective, an overseer, an environment)."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from heed.errors import HeedError


def import_named(target: str, where: str) -> Any:
    """Import what a text names, from an installed module or from one in the current folder.

    Args:
        target: ``module:name``; the name may have dots, ``module:Class.method``.
        where: the option that named it, for errors.

    Raises:
        HeedError: another form, no such module, a module whose own code fails, or no such name in it.

    >>> import_named("math:pi", "--target")
    3.141592653589793
    """
    module, _, path = target.partition(":")
    if not module or not path:
        raise HeedError(f"{target!r} names nothing", where, fix="give module:name")
    here = str(Path.cwd())
    if here not in sys.path:  # a console script does not look in the current folder; its user does
        sys.path.append(here)
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:  # it may not be there, or its own code may raise anything
        raise HeedError(
            f"cannot import {module!r}: {error}", where, fix="run where the module lies, or install it"
        ) from error
    for part in path.split("."):
        if part not in dir(found):
            raise HeedError(f"module {module!r} has no {path!r}", where, fix="give module:name")
        found = getattr(found, part)
    return found
