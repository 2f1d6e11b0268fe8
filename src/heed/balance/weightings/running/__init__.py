"""Weights that are learnt from step to step, instead of solved for anew.

Every module of this folder is imported here, so that a new one is one new file in it.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
