"""The command line's way to name an objective: ``[name=]TARGET[,key=value...]``."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re

from heed.align import objectives
from heed.align.objectives.base import Objective
from heed.align.objectives.kinds import ObjectiveText, kind_of
from heed.errors import HeedError


@functools.cache
def _import_kinds() -> None:
    """Import every module of the package, once: each registers the kind that it defines."""
    for module in pkgutil.iter_modules(objectives.__path__, f"{objectives.__name__}."):
        importlib.import_module(module.name)


def parse_objective(text: str, option: str = "--objectives") -> Objective:
    """Make the objective that a text names.

    Args:
        text: ``[name=]TARGET[,key=value...]``. TARGET is a folder or hub id of a sequence-classification model, the
            URL of a reward service, ``module:function`` (modules of the current folder included), or what another
            `ObjectiveKind` names. Keys: ``sign``, ``scale``, ``unit``; for models also ``head``, ``batch_size``,
            ``max_length``, ``dtype``, ``device``, or ``heads=NAME[:HEAD[:SIGN]]+...`` (no HEAD: the one labelled
            NAME); for services ``timeout``, ``retries``.
        option: where the text was given, for errors.

    Raises:
        HeedError: a text of another form, an unknown key, a value of the wrong kind, or a target that fails to load.

    >>> parse_objective("size=builtins:len,sign=-1").specs
    (ObjectiveSpec(name='size', sign=-1.0, scale=1.0, unit=''),)
    """
    written = split_objective(text, option)
    return kind_of(written.target).build(written)


def split_objective(text: str, option: str = "--objectives") -> ObjectiveText:
    """The parts of a text that names an objective, of which nothing is made.

    Raises:
        HeedError: a text without a target.

    >>> split_objective("cost=models/cost-rm,sign=-1").given
    {'sign': '-1'}
    """
    # A comma belongs to the target unless a key follows it.
    head, *pairs = re.split(r",(?=[a-z_]+=)", text.strip())
    given = {key: value for key, _, value in (pair.partition("=") for pair in pairs)}
    named = re.fullmatch(r"([\w.\-]+)=(.+)", head)
    name, target = (named[1], named[2]) if named else (None, head)
    if not target:
        raise HeedError(
            "an objective without a target", where=f"{option} {text!r}", fix="give [name=]TARGET[,key=value]"
        )
    _import_kinds()
    return ObjectiveText(name, target, given, option)
