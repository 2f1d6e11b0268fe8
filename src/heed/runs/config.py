"""What a run was told: config as plain data, its hash, and the difference between two."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from heed.errors import HeedError

ABSENT = "absent"


def to_plain(config: Any, where: str = "config") -> Any:
    """Turn a config into what YAML carries: dataclasses into dicts, tuples into lists, paths into strings.

    Args:
        config: a dataclass, a mapping or a value, nested at will.
        where: dotted name of ``config``, for the error.

    Returns:
        Dicts with string keys, lists, strings, numbers, booleans and None.

    Raises:
        HeedError: if a value has no plain form, with its dotted name.

    >>> to_plain({"preference": (0.7, 0.3), "out": Path("runs/a")})
    {'preference': [0.7, 0.3], 'out': 'runs/a'}
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        fields = dataclasses.fields(config)
        return {field.name: to_plain(getattr(config, field.name), f"{where}.{field.name}") for field in fields}
    if isinstance(config, Mapping):
        return {str(key): to_plain(value, f"{where}.{key}") for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [to_plain(value, f"{where}[{index}]") for index, value in enumerate(config)]
    if isinstance(config, enum.Enum):
        return to_plain(config.value, where)
    if config is None or isinstance(config, bool | int | float | str):
        return config
    if isinstance(config, Path):
        return str(config)
    raise HeedError(
        f"a {type(config).__name__} cannot be written to config.yaml",
        where=where,
        fix="give a number, text, list or mapping",
    )


def to_yaml(config: Any) -> str:
    """Write a config as YAML, in the order of its fields.

    Args:
        config: a dataclass or mapping; see `to_plain`.

    >>> print(to_yaml({"method": "gapo", "weighting": {"p": 1}}), end="")
    method: gapo
    weighting:
      p: 1
    """
    plain = to_plain(config)
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    # Some characters, such as a next line, do not come back from PyYAML unless they are escaped.
    return text if yaml.safe_load(text) == plain else yaml.safe_dump(plain, sort_keys=False)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a config file.

    Args:
        path: a YAML file that holds one mapping.

    Raises:
        HeedError: if it is absent, cannot be read, is not YAML, or is not a mapping.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise HeedError("there is no such config file", where=str(path), fix="check the path") from error
    except OSError as error:  # a folder, or one that may not be read
        reason = f"the config file cannot be read: {error.strerror or error}"
        raise HeedError(reason, where=str(path), fix="give a YAML file") from error
    except UnicodeDecodeError as error:
        raise HeedError("the config file is not UTF-8", where=str(path), fix="save it as UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)  # only errors with a position carry it
        line = f":{mark.line + 1}" if mark else ""
        raise HeedError("this is not YAML", where=f"{path}{line}", fix="mend the file") from error
    if not isinstance(config, dict):
        raise HeedError("the config is not a mapping", where=str(path), fix="write it as 'name: value' lines")
    return config


def config_hash(config: Any) -> str:
    """Hash a config: equal configs hash alike, whatever the order of their keys.

    Args:
        config: a dataclass or mapping; see `to_plain`.

    Returns:
        Twelve hexadecimal digits of a SHA-256.

    >>> config_hash({"a": 1, "b": 2.0}) == config_hash({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(_canonical(to_plain(config)).encode()).hexdigest()[:12]


def describe_differences(old: Any, new: Any) -> list[str]:
    """Say in lines how two configs differ.

    Args:
        old: the config before.
        new: the config after.

    Returns:
        Lines like ``weighting.p: 1 -> 2``, sorted by name; empty exactly if the hashes are equal.

    >>> describe_differences({"weighting": {"p": 1}}, {"weighting": {"p": 2}, "kl": 0.02})
    ['kl: absent -> 0.02', 'weighting.p: 1 -> 2']
    """
    before, after = _flatten(to_plain(old)), _flatten(to_plain(new))
    return [
        f"{name}: {_shown(before, name)} -> {_shown(after, name)}"
        for name in sorted(before.keys() | after.keys())
        if name not in before or name not in after or _canonical(before[name]) != _canonical(after[name])
    ]


def refuse_other_settings(config: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    """Refuse to go on with a run that was told otherwise.

    Args:
        config: the run's.
        wanted: what was asked for now; what the run knows nothing of does not count.
        where: the option that names the run.

    Raises:
        HeedError: says every difference.
    """
    before = _flatten(to_plain(config))
    asked = {name: value for name, value in _flatten(to_plain(wanted)).items() if value != {} and _top(name) in config}
    if lines := describe_differences({name: before[name] for name in asked if name in before}, asked):
        fix = "leave these out, or start a new run"
        raise HeedError(f"the run has other settings: {'; '.join(lines)}", where, fix)


def setting(config: Mapping[str, Any], name: str) -> Any:
    """A setting of a run's ``config.yaml``, in its section or, as older versions wrote it, beside the others.

    Args:
        config: as it was written.
        name: full, as in ``models.eps``.

    Returns:
        Its value, None where there is none.

    >>> setting({"models": {"eps": 0.1}}, "models.eps"), setting({"eps": 0.2}, "models.eps")
    (0.1, 0.2)
    """
    *sections, last = name.split(".")
    found: Any = config
    for section in sections:
        found = found.get(section) if isinstance(found, Mapping) else None
    return found[last] if isinstance(found, Mapping) and last in found else config.get(last)


def _top(name: str) -> str:
    return name.split(".")[0]


def _canonical(value: Any) -> str:
    """Give one text for all spellings of a value: sorted keys, 2.0 as 2 (YAML does not tell them apart)."""
    return json.dumps(_integral(value), sort_keys=True, separators=(",", ":"))


def _integral(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _integral(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_integral(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Name every leaf by its dotted path; a list is one leaf, an empty mapping too."""
    if not isinstance(config, dict) or (not config and prefix):
        return {prefix: config}
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        leaves |= _flatten(value, f"{prefix}.{key}" if prefix else key)
    return leaves


def _shown(leaves: dict[str, Any], name: str) -> str:
    return json.dumps(leaves[name], ensure_ascii=False) if name in leaves else ABSENT
