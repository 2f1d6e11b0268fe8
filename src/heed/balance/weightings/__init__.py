"""Weightings: from the Gram matrix of K gradients to the weights of their combination.

Each is a torchjd `Weighting`, so any of torchjd's plugs in where ours does, and ours plug into torchjd. Every module
of this folder is imported here, so that a new weighting is one new file in it.
"""

from importlib import import_module
from pkgutil import iter_modules

from heed.balance.registry import WEIGHTINGS, methods_with

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

METHODS: tuple[str, ...] = tuple(sorted(WEIGHTINGS))
"""Names of heed's weightings; some take an argument, as ``single:NAME``."""

PREFERENCE_METHODS: tuple[str, ...] = methods_with("preference")
"""The methods that take a ``preference``."""
