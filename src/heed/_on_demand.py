"""A package whose names are imported on demand, as its modules stand on different extras."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def on_demand(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """A package's ``__getattr__`` that imports a module when one of its names is asked for; `dir` lists the names.

    A package whose modules stand on different extras shows all its names in this way, and needs none of them.

    Args:
        package: its ``__name__``.
        homes: module of the package -> the names that it holds.

    >>> import heed.runs
    >>> on_demand("heed.runs", {"importing": ["named"]})("named").__name__
    'named'
    """
    modules = {name: module for module, names in homes.items() for name in names}

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    there = vars(sys.modules[package])
    there.setdefault("__dir__", lambda: sorted({*there, *modules}))
    return find
