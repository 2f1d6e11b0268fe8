"""Methods by name: one declaration each (`heed.balance.methods`), that the command line, configs and comparisons read.

A declaration is a small frozen dataclass: its fields are the weighting's settings, `WeightingConfig.build` makes the
weighting, and `register` gives it a name. A weighting with a field ``preference`` follows a preference.
"""

from __future__ import annotations

import dataclasses
import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from heed.errors import HeedError, flag_of

if TYPE_CHECKING:
    from torchjd.aggregation import Weighting
    from torchjd.linalg import PSDMatrix


@dataclass(frozen=True)
class Objectives:
    """What is known of the objectives that a weighting is built for.

    Args:
        names: of the K objectives.
        ideal: best value of each on the front, where it is known.
        nadir: worst value of each on the front, where it is known.
    """

    names: tuple[str, ...]
    ideal: tuple[float, ...] | None = None
    nadir: tuple[float, ...] | None = None

    @property
    def count(self) -> int:
        """K."""
        return len(self.names)


@dataclass(frozen=True)
class WeightingConfig(ABC):
    """The settings of one weighting.

    Attributes:
        name: what `register` called it; "" for a weighting of a user's own.
        argument: the setting that may stand behind the name, as in ``single:help``; None if none may.
    """

    name: ClassVar[str] = ""
    argument: ClassVar[str | None] = None

    @abstractmethod
    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:
        """The weighting of the Gram matrix [K, K] of these objectives' gradients.

        Raises:
            HeedError: a setting is out of its range, missing, or does not fit the objectives.
        """


Config = TypeVar("Config", bound=type[WeightingConfig])

WEIGHTINGS: dict[str, type[WeightingConfig]] = {}
"""Every registered weighting's settings, by its name."""


def register(name: str) -> Callable[[Config], Config]:
    """Give a weighting the name that ``--method``, configs and comparisons know it by.

    Args:
        name: as it is typed.

    Raises:
        ValueError: the name is taken.
    """

    def named(config: Config) -> Config:
        if name in WEIGHTINGS:
            raise ValueError(f"two weightings are called {name!r}")
        config.name = name
        WEIGHTINGS[name] = config
        return config

    return named


def settings_of(config: type[WeightingConfig]) -> tuple[str, ...]:
    """The names of a weighting's settings.

    >>> settings_of(WEIGHTINGS["gapo"])
    ('p', 'floor', 'keep_scale')
    """
    return tuple(field.name for field in dataclasses.fields(config))


def methods_with(setting: str) -> tuple[str, ...]:
    """The weightings that have a setting.

    >>> methods_with("mu")
    ('tchebycheff',)
    """
    return tuple(sorted(name for name, config in WEIGHTINGS.items() if setting in settings_of(config)))


def config_class(method: str) -> type[WeightingConfig]:
    """The settings' class of a method, ``NAME`` or ``NAME:ARGUMENT``.

    Raises:
        HeedError: there is no such weighting, or it takes no argument; suggests the nearest name.

    >>> config_class("single:help").__name__
    'SingleConfig'
    """
    name, colon, _ = method.partition(":")
    if name not in WEIGHTINGS or (colon and WEIGHTINGS[name].argument is None):
        close = difflib.get_close_matches(method, WEIGHTINGS, n=1)
        choice = f"choose from {', '.join(sorted(WEIGHTINGS))}, or give module:name"
        hint = f"did you mean {close[0]}?" if close else choice
        raise HeedError(f"there is no method '{method}'", "--method", hint)
    return WEIGHTINGS[name]


def settings_for(method: str, config: type[WeightingConfig], given: dict[str, Any]) -> dict[str, Any]:
    """The settings that a method was given, with what stands behind its name.

    Args:
        method: ``NAME`` or ``NAME:ARGUMENT``.
        config: its settings' class.
        given: settings by name.

    Raises:
        HeedError: a setting that it does not have; names the weightings that have it.

    >>> settings_for("single:help", config_class("single"), {})
    {'objective': 'help'}
    """
    name, _, argument = method.partition(":")
    for setting in given:
        if setting not in settings_of(config):
            having = methods_with(setting)
            hint = f"take --method {' or '.join(having)}, or leave it out" if having else ""
            own = f"its settings are {', '.join(settings_of(config)) or 'none'}"
            raise HeedError(f"{name} has no {setting}", flag_of(setting), hint or own)
    if config.argument is None or not argument or not config.name:
        return dict(given)
    if given.get(config.argument) not in (None, argument):
        raise HeedError(
            f"{method} has another {config.argument}, {given[config.argument]}",
            flag_of(config.argument),
            "leave it out",
        )
    return {**given, config.argument: argument}


def build_weighting(config: WeightingConfig, objectives: Objectives) -> Weighting[PSDMatrix]:
    """Build a weighting; whatever keeps it from being built is one line.

    Args:
        config: its settings.
        objectives: what it is built for.

    Raises:
        HeedError: a setting is out of its range, missing or does not fit, or a package is not installed.
    """
    where = f"--method {config.name or type(config).__name__}"
    try:
        return config.build(objectives)
    except ImportError as error:
        fix = "pip install heed[weightings]"
        raise HeedError(f"{config.name} needs packages that are not here", where, fix) from error
    except ValueError as error:  # torchjd's way of refusing a setting
        raise HeedError(" ".join(str(error).split()), where, "give a value in its range") from error


def weighting_from_name(name: str, k: int, names: Sequence[str] | None = None, **options: Any) -> Weighting[PSDMatrix]:
    """Build a weighting from its name.

    Args:
        name: one of `METHODS`; ``single:NAME`` for the objective of that name, ``cr-mogm:NAME`` for another weighting
            smoothed.
        k: number of objectives, >= 1.
        names: the objectives' names; by default 0, 1, ...
        options: the weighting's own settings, the fields of its config in `WEIGHTINGS`; ``ideal`` and ``nadir`` among
            them for tchebycheff.

    Returns:
        A weighting from the Gram matrix [K, K] to the weights [K] of the raw gradients.

    Raises:
        HeedError: if the name or an option is unknown, an option is out of range or missing, or a package is not
            installed.

    >>> weighting_from_name("single:harmless", 2, names=["help", "harmless"])
    Single(index=1)
    >>> weighting_from_name("gapo", 2, p=2.0)
    GAPO(p=2, floor=0)
    """
    config = config_class(name)
    settings = settings_for(name, config, options)
    return build_weighting(config(**settings), Objectives(tuple(names or map(str, range(k)))))
