"""Settings in sections: a tree of dataclasses, and the same as names with dots, as YAML and as flags.

The fields of a job's dataclass are its settings; a field that is a dataclass itself is a section of them. Each setting
has a full name, the path to it (``models.members``), and any end of the path (``members``) is a short name of it, where
no other setting's path of the same length, or a shorter one, ends so.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, Union

from heed.errors import HeedError, flag_of

T = TypeVar("T")


def leaves(kind: type, prefix: str = "") -> dict[str, Any]:
    """The full names of all settings of a dataclass, each with its type, in the order of the fields.

    >>> Fit = dataclasses.make_dataclass("Fit", [("updates", int, 100)])
    >>> Job = dataclasses.make_dataclass("Job", [("steps", int, 10), ("fit", Fit, dataclasses.field(default=Fit))])
    >>> leaves(Job)
    {'steps': <class 'int'>, 'fit.updates': <class 'int'>}
    """
    hints = typing.get_type_hints(kind)
    found: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        name, of = f"{prefix}{field.name}", hints[field.name]
        section = isinstance(of, type) and dataclasses.is_dataclass(of)
        found |= leaves(of, f"{name}.") if section else {name: of}
    return found


def full_name(name: str, names: Iterable[str], where: str = "", fix: str = "") -> str:
    """The full name that a name stands for.

    Args:
        name: full or short.
        names: full names that there are.
        where: the file or option that the name stands in; by default it is a flag itself, and told as one.
        fix: what to do about a name that is none, where no other is like it.

    Raises:
        HeedError: no setting is called so, or several are.

    >>> full_name("eps", ["steps", "models.eps", "learner.gamma", "plan.gamma"])
    'models.eps'
    >>> full_name("gamma", ["learner.gamma", "plan.gamma"])
    Traceback (most recent call last):
    ...
    heed.errors.HeedError: several settings are called 'gamma' (--gamma): say --learner.gamma or --plan.gamma
    """
    known = tuple(names)
    ending = [each for each in known if each == name or each.endswith(f".{name}")]
    fewest = min((each.count(".") for each in ending), default=0)
    nearest = [each for each in ending if each.count(".") == fewest]
    if len(nearest) == 1:
        return nearest[0]
    spelt = str if where else flag_of
    where = where or flag_of(name)
    if nearest:
        raise HeedError(f"several settings are called '{name}'", where, f"say {' or '.join(map(spelt, nearest))}")
    near = difflib.get_close_matches(name, [*known, *(each.rpartition(".")[2] for each in known)], n=1)
    raise HeedError(f"no setting is called '{name}'", where, f"did you mean {spelt(near[0])}?" if near else fix)


def short_name(name: str, names: Iterable[str]) -> str:
    """The shortest name that a full name may be called by and that is not a section's.

    >>> names = ["gamma", "models.eps", "learner.gamma", "models.fit.eps"]
    >>> [short_name(name, names) for name in names]
    ['gamma', 'eps', 'learner.gamma', 'fit.eps']
    """
    known, parts = tuple(names), name.split(".")
    depth = name.count(".")
    for count in range(1, len(parts)):
        short = ".".join(parts[-count:])
        others = [each for each in known if each != name and (each == short or each.endswith(f".{short}"))]
        section = any(each.startswith(f"{short}.") for each in known)
        if not section and all(each.count(".") > depth for each in others):
            return short
    return name


def flat(settings: Mapping[str, Any], names: Iterable[str], prefix: str = "") -> dict[str, Any]:
    """Settings in sections as one dictionary of names with dots.

    Args:
        settings: with names that are full or not, and sections as mappings within.
        names: full names that there are: what stands below one of them is its value, not a section.
        prefix: of the names.

    >>> flat({"steps": 3, "models": {"eps": 0.1}, "env_kwargs": {"a": 1}}, ["steps", "models.eps", "env_kwargs"])
    {'steps': 3, 'models.eps': 0.1, 'env_kwargs': {'a': 1}}
    """
    known = tuple(names)
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        section = isinstance(value, Mapping) and any(each.startswith(f"{name}.") for each in known)
        found |= flat(value, known, f"{name}.") if section else {name: value}
    return found


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of `flat`.

    >>> nested({"steps": 3, "models.eps": 0.1, "models.fit.updates": 5})
    {'steps': 3, 'models': {'eps': 0.1, 'fit': {'updates': 5}}}
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        *sections, last = name.split(".")
        place = found
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return found


def named(settings: Mapping[str, Any], names: Mapping[str, Any], where: str, fix: str = "") -> dict[str, Any]:
    """Settings by their full names, of the types that they have.

    Args:
        settings: in sections or not, with names full or short.
        names: the settings that there are, by full name, each with its type.
        where: they stand, for errors.
        fix: what to do about a name that is none.

    Raises:
        HeedError: a name that is none or several settings', a setting twice, a value of another type.

    >>> named({"models": {"eps": "1e-3"}, "steps": 5}, {"steps": int, "models.eps": float}, "a.yaml")
    {'models.eps': 0.001, 'steps': 5}
    """
    found: dict[str, Any] = {}
    for key, value in flat(settings, names).items():
        name = full_name(key, names, where, fix)
        if name in found:
            raise HeedError(f"{name} is set twice", where, "leave out one")
        found[name] = typed(value, names[name], name, where)
    return found


def documented(kind: type) -> tuple[str, dict[str, str]]:
    """The first sentence of a dataclass's docstring, and what it and those that it extends say of each field.

    >>> documented(HeedError)[0]
    'A mistake that the user can mend; the command line prints it in one line and exits with 2.'
    >>> documented(HeedError)[1]["what"]
    'what is wrong.'
    """
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__[:-1]):
        name = ""
        text = inspect.cleandoc(each.__doc__ or "").partition("Args:\n")[2].split("\n\n")[0]
        for line in text.splitlines():
            if re.match(r"    \w+: ", line):
                name, _, found[name] = line.strip().partition(": ")
            elif name:
                found[name] += f" {line.strip()}"
    return inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].replace("\n", " "), found


def build(kind: type[T], settings: Mapping[str, Any]) -> T:
    """A dataclass, with its sections, from settings by their full names; what is not among them is at its default.

    Args:
        kind: the dataclass.
        settings: with names with dots, or in sections.
    """
    return replaced(kind(), settings)


def replaced(instance: T, settings: Mapping[str, Any]) -> T:
    """A copy of a dataclass, with its sections, with some settings changed.

    Args:
        instance: of the dataclass.
        settings: by their full names, with dots or in sections.
    """
    return _replaced(instance, nested(settings))


def _replaced(instance: T, settings: Mapping[str, Any]) -> T:
    changes = {
        name: _replaced(getattr(instance, name), value) if dataclasses.is_dataclass(getattr(instance, name)) else value
        for name, value in settings.items()
    }
    return dataclasses.replace(instance, **changes) if changes else instance  # type: ignore[type-var] # a dataclass


def typed(value: Any, kind: Any, name: str, where: str) -> Any:
    """A value as the type that a setting has: 3 for 3.0 and "1e-3" (which YAML takes for a text) where floats are.

    Args:
        value: as YAML, JSON or Python has it.
        kind: a type as the dataclasses of settings have them.
        name: of the setting.
        where: it stands.

    Raises:
        HeedError: the value is of another type.

    >>> typed([1, 2], tuple[int, ...] | None, "label_keys", "a.yaml"), typed("1e-3", float, "eps", "a.yaml")
    ((1, 2), 0.001)
    """
    try:
        return _as(value, kind)
    except (TypeError, ValueError):
        raise HeedError(f"{name} cannot be '{value}'", where, f"give {_wanted(kind)}") from None


def _as(value: Any, kind: Any) -> Any:
    """The value as that type; ValueError or TypeError if it is none of it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        for each in arguments:
            try:
                return _as(value, each)
            except (TypeError, ValueError):
                continue
        raise ValueError
    if origin is Literal:
        return _required(value, value in arguments)
    if origin in (list, tuple):
        _required(value, isinstance(value, list | tuple))
        return origin(_as(each, arguments[0]) for each in value)
    if origin is dict:
        return dict(_required(value, isinstance(value, Mapping)))
    if kind is types.NoneType:
        return _required(value, value is None)
    if kind is float:
        return float(_required(value, isinstance(value, int | float | str) and not isinstance(value, bool)))
    return _required(value, isinstance(value, kind) and (kind is bool or not isinstance(value, bool)))


def _required(value: Any, holds: bool) -> Any:
    if not holds:
        raise ValueError
    return value


def _wanted(kind: Any) -> str:
    """A type in words."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(_wanted(each) for each in arguments)
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin in (list, tuple):
        return f"a list, each {_wanted(arguments[0])}"
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", types.NoneType: "null"}
    return words.get(kind, "a mapping")
