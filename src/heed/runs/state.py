"""What an object is made of, on disk: numbers as safetensors, all else as JSON, and nothing that is run when read.

A *state* is plain data (dictionaries, lists, tuples, numbers, texts, None) with tensors, arrays and records (heed's own
dataclasses) anywhere in it. Whatever can be kept says its state itself (``state()``) and takes it back (``restore``).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from heed.errors import HeedError
from heed.runs.files import write_whole

State = dict[str, Any]
"""See the module."""

_MARK = "$"
"""The key of a dictionary that stands for something else; no state has it."""


@runtime_checkable
class Kept(Protocol):
    """An object whose state can be kept."""

    def state(self) -> State:
        """All that changes in it."""
        ...

    def restore(self, state: State) -> None:
        """Become as the object was that gave this state; this one was made in the same way."""
        ...


def state_of(part: object) -> State:
    """What changes in a part, which says so itself (`Kept`); nothing, where it does not."""
    return part.state() if isinstance(part, Kept) else {}


def restore_part(part: object, state: State) -> None:
    """Give a part back what `state_of` gave."""
    if isinstance(part, Kept):
        part.restore(state)


def write_state(folder: Path, name: str, state: Mapping[str, Any]) -> None:
    """Write a state as ``NAME.json`` and ``NAME.safetensors``.

    Args:
        folder: exists; whoever wants both files or none writes into a folder that takes its place whole.
        name: of the files.
        state: see the module.

    Raises:
        HeedError: something in it has no plain form; says where.
        OSError: the disk refuses, as does `SafetensorError`.
    """
    tensors: dict[str, Tensor] = {}
    plain = _plain(state, name, tensors)
    save_file(tensors, folder / f"{name}.safetensors")
    write_whole(folder / f"{name}.json", json.dumps(plain, ensure_ascii=False) + "\n")


def read_state(folder: Path, name: str) -> State:
    """Read what `write_state` wrote.

    Raises:
        HeedError: it is not there, or damaged.

    >>> import tempfile
    >>> kept = {"step": 3, "weights": torch.tensor([0.5]), "seen": (np.arange(2), {7: float("inf")})}
    >>> with tempfile.TemporaryDirectory() as there:
    ...     write_state(Path(there), "model", kept)
    ...     read_state(Path(there), "model")
    {'step': 3, 'weights': tensor([0.5000]), 'seen': (array([0, 1]), {7: inf})}
    """
    place = folder / f"{name}.json"
    try:
        tensors = load_file(folder / f"{name}.safetensors")
        state = _live(json.loads(place.read_text(encoding="utf-8")), tensors)
    except FileNotFoundError as error:
        raise HeedError(f"{Path(error.filename or place).name} is missing", str(folder), "save it again") from error
    except (OSError, ValueError, KeyError, TypeError, ImportError, AttributeError, SafetensorError) as error:
        raise HeedError(f"{name} is damaged: {error}", str(folder), "save it again, or restore a copy") from error
    if not isinstance(state, dict):
        raise HeedError(f"{name} is damaged: it holds no names", str(folder), "save it again, or restore a copy")
    return state


def _plain(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    """A value as JSON carries it; tensors and arrays are put aside under the names of where they lie."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Tensor | np.ndarray):
        kept = value.detach().cpu() if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
        tensors[where] = kept.clone().contiguous()  # two that share memory would be refused
        return {_MARK: "tensor" if isinstance(value, Tensor) else "array", "name": where}
    if isinstance(value, list):
        return [_plain(item, f"{where}.{place}", tensors) for place, item in enumerate(value)]
    if isinstance(value, tuple):
        return {_MARK: "tuple", "items": _plain(list(value), where, tensors)}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and key != _MARK for key in value):
            return {key: _plain(item, f"{where}.{key}", tensors) for key, item in value.items()}
        items = [[key, _plain(item, f"{where}.{key}", tensors)] for key, item in value.items()]
        return {_MARK: "pairs", "items": items}
    if _is_record(type(value)):
        fields = {each.name: getattr(value, each.name) for each in dataclasses.fields(value) if each.init}
        kind = f"{type(value).__module__}:{type(value).__qualname__}"
        return {_MARK: "record", "of": kind, "fields": _plain(fields, where, tensors)}
    raise HeedError(f"a {type(value).__name__} cannot be kept", where, "keep tensors, arrays and plain data")


def _live(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_live(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_MARK)
    if kind is None:
        return {key: _live(item, tensors) for key, item in value.items()}
    if kind in ("tensor", "array"):
        found = tensors[value["name"]]
        return found if kind == "tensor" else found.numpy()
    if kind == "record":
        return _record(value["of"])(**_live(value["fields"], tensors))
    items = _live(value["items"], tensors)
    return tuple(items) if kind == "tuple" else dict(items)


def _record(name: str) -> type:
    """A dataclass of heed by its name; nothing else is made, whatever a file says."""
    found = resolve_name(name) if name.startswith("heed.") else None
    if not (isinstance(found, type) and _is_record(found)):
        raise ValueError(f"{name} is no record of heed")
    return found


def _is_record(kind: type) -> bool:
    return dataclasses.is_dataclass(kind) and kind.__module__.startswith("heed.")
