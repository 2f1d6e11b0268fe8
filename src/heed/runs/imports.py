"""Imports by name: what a user names as ``module:name``, and names of a package that are imported on demand."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
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


def on_demand(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """A package's ``__getattr__`` that imports a module when one of its names is first asked for.

    A package whose modules stand on different extras shows all its names in this way, and needs none of them.

    Args:
        package: its ``__name__``.
        homes: module of the package -> the names that it holds.

    >>> on_demand("heed.runs", {"imports": ["import_named"]})("import_named").__name__
    'import_named'
    """
    modules = {name: module for module, names in homes.items() for name in names}

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return find
