"""The weighting that a run declares: a method's name and its own settings, or a user's own ``module:name``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from heed.balance import (
    WEIGHTINGS,
    Objectives,
    WeightingConfig,
    build_weighting,
    config_class,
    methods_with,
    settings_for,
    settings_of,
)
from heed.balance.methods.running.lagrangian import LagrangianConfig, levels_of
from heed.errors import HeedError, flag_of
from heed.runs.importing import named
from heed.runs.sections import leaves, typed

if TYPE_CHECKING:
    from torchjd.aggregation import Weighting
    from torchjd.linalg import PSDMatrix

    from heed.worlds.apothecary import Apothecary


def config_class_of(method: str) -> type[WeightingConfig]:
    """The settings' class of a method: a weighting of heed.balance by its name, or a user's own ``module:name``.

    Raises:
        HeedError: there is no such method, or the name is of something else than a `WeightingConfig`.

    >>> config_class_of("gapo").__name__
    'GAPOConfig'
    """
    name, colon, _ = method.partition(":")
    if name in WEIGHTINGS or not colon:
        return config_class(method)
    where = f"--method {method}"
    found = named(method, where)
    if not (isinstance(found, type) and issubclass(found, WeightingConfig)):
        raise HeedError(f"{method} is no weighting", where, "name a subclass of heed.balance.WeightingConfig")
    return found


def method_of(spec: str) -> tuple[str, dict[str, str]]:
    """A method's name and its settings from how a comparison names it.

    Args:
        spec: NAME, NAME:ARGUMENT or module:name, then settings, each as :key=value; commas between settings do as well.

    Raises:
        HeedError: a setting that cannot be read.

    >>> method_of("gapo:p=2,floor=0.1"), method_of("single:help"), method_of("mine:Own:c=0.3")
    (('gapo', {'p': '2', 'floor': '0.1'}), ('single:help', {}), ('mine:Own', {'c': '0.3'}))
    """
    name, *rest = spec.split(":")
    if rest and "=" not in rest[0] and (name not in WEIGHTINGS or WEIGHTINGS[name].argument is not None):
        name = f"{name}:{rest.pop(0)}"
    settings: dict[str, str] = {}
    for pair in (pair for part in rest for pair in part.split(",")):
        key, equals, text = pair.partition("=")
        if not (key and equals and text):
            raise HeedError(f"'{pair}' is no setting of {name}", f"--methods {spec}", "write NAME:key=value")
        settings[key] = text
    return name, settings


def weighting_of(method: str, given: Mapping[str, Any], where: str) -> WeightingConfig:
    """A method's settings from those that were given.

    Args:
        method: its name.
        given: settings by name.
        where: they stand, for errors.

    Raises:
        HeedError: no such method, a setting that it does not have, or a value of another type.

    >>> weighting_of("cagrad", {"c": "0.3"}, "a.yaml")
    CAGradConfig(c=0.3, norm_eps=0.0001)
    """
    kind = config_class_of(method)
    settings, kinds = settings_for(method, kind, dict(given)), leaves(kind)
    return kind(**{name: typed(value, kinds[name], name, where) for name, value in settings.items()})


def weighting_config(method: str, weighting: WeightingConfig | None) -> WeightingConfig:
    """A job's settings of its method: as they are declared, or the method's defaults.

    Raises:
        HeedError: they are another method's.
    """
    kind = config_class_of(method)
    if weighting is None:
        return weighting_of(method, {}, "weighting")
    if not isinstance(weighting, kind):
        fix = f"take the method {weighting.name}" if weighting.name else f"give a {kind.__name__}"
        raise HeedError(f"the method is {method}, and its settings a {type(weighting).__name__}", "weighting", fix)
    return weighting


def settings_of_method(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Of settings that were given for several methods those that one of them has.

    >>> settings_of_method("gapo", {"p": 2.0, "mu": 0.1})
    {'p': 2.0}
    """
    having = settings_of(config_class_of(method))
    return {name: value for name, value in given.items() if name in having}


def refuse_unused(given: Mapping[str, Any], methods: Sequence[str]) -> None:
    """Refuse a setting that was given and that none of the methods has.

    Raises:
        HeedError: names the first such setting, and the methods that have it.
    """
    having = {setting for method in methods for setting in settings_of(config_class_of(method))}
    for name in given:
        if name not in having:
            others = methods_with(name)
            fix = f"take --method {' or '.join(others)}, or leave it out" if others else "leave it out"
            verb = "has" if len(methods) == 1 else "have"
            raise HeedError(f"{', '.join(methods)} {verb} no {name}", flag_of(name), fix)


def weighting_for(
    weighting: WeightingConfig, names: Sequence[str], world: Apothecary | None = None
) -> Weighting[PSDMatrix]:
    """A weighting for objectives of these names.

    Args:
        weighting: its settings.
        names: of the objectives.
        world: whose front is known, if it is judged by its gold values.

    Raises:
        HeedError: a setting out of its range or missing, a preference off the simplex, or one that is not followed.
    """
    known = Objectives(tuple(names))
    if world is not None:
        front = world.front()
        known = dataclasses.replace(known, ideal=tuple(front.ideal.tolist()), nadir=tuple(front.nadir.tolist()))
        if isinstance(weighting, LagrangianConfig):
            built = build_weighting(weighting, known)  # unknown names, and levels beyond the best, are told first
            try:
                front.constrained(levels_of(weighting.constraints or ""))
            except HeedError as error:
                raise HeedError(error.what, "--constraints", error.fix) from error
            return built
    return build_weighting(weighting, known)
