"""Methods by name: what each is called on a command line, and what its settings are.

A file here declares what the file of the same name in `heed.balance.weightings` computes, or what torchjd does, and
imports it when a weighting is built: so a command line knows every method without importing torch. Every module of this
folder is imported here, so that a new method is found by itself.
"""

from importlib import import_module
from pkgutil import walk_packages

from heed.balance.registry import WEIGHTINGS, methods_with

for _module in walk_packages(__path__, f"{__name__}."):
    import_module(_module.name)

METHODS: tuple[str, ...] = tuple(sorted(WEIGHTINGS))
"""Names of heed's weightings; some take an argument, as ``single:NAME``."""

PREFERENCE_METHODS: tuple[str, ...] = methods_with("preference")
"""The methods that take a ``preference``."""
