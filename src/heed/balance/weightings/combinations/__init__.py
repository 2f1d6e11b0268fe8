"""Combinations: K rewards become one advantage before any gradient is taken.

What the field calls multi-reward GRPO. Every module of this folder is imported here, so that a new combination is one
new file in it.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
