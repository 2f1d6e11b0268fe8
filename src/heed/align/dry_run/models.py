"""What lies on this machine of a model: its config, its weights, its tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import huggingface_hub
from huggingface_hub.errors import HFValidationError
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig

from heed.align.models.pretrained import offline, quiet_transformers
from heed.errors import HeedError

T = TypeVar("T")

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""Files by which transformers finds a model's weights."""


def config_at(path: str, what: str) -> PreTrainedConfig:
    """The config of a model's folder, or of a hub id that was fetched before.

    Args:
        path: of the model.
        what: "model", "reward model", for the error.

    Raises:
        HeedError: there is none on this machine, or none that transformers knows.
    """
    if not _has(path, "config.json"):
        fix = "fetch it, or give its folder" if not Path(path).is_dir() else "give a folder written by save_pretrained"
        raise HeedError(f"there is no {what} on this machine", path, fix)
    return _read(path, f"the {what}'s config cannot be read", AutoConfig.from_pretrained)


def require_weights(path: str, what: str) -> None:
    """Refuse a model whose config is here and whose weights are not.

    Raises:
        HeedError: there are no weights, or not all of their parts.
    """
    there = [name for name in WEIGHTS if _has(path, name)]
    if not there:
        raise HeedError(f"the {what} has a config, and no weights on this machine", path, "fetch them")
    if there[0].endswith(".index.json"):
        told = json.loads(Path(_place(path, there[0]) or "").read_text(encoding="utf-8"))
        lost = [part for part in sorted(set(told["weight_map"].values())) if not _has(path, part)]
        if lost:
            raise HeedError(f"the {what} lacks {len(lost)} parts of its weights ({lost[0]}, ...)", path, "fetch them")


def tokenizer_at(path: str, what: str) -> Any:
    """The tokenizer beside a model.

    Raises:
        HeedError: there is none on this machine.
    """
    return _read(path, f"there is no tokenizer of the {what}", AutoTokenizer.from_pretrained)


def _has(path: str, name: str) -> bool:
    return _place(path, name) is not None


def _place(path: str, name: str) -> str | None:
    """Where a model's file lies on this machine; None where it does not."""
    if Path(path).is_dir():
        file = Path(path) / name
        return str(file) if file.is_file() else None
    try:
        found = huggingface_hub.try_to_load_from_cache(path, name)
    except HFValidationError:
        return None  # no hub id
    return found if isinstance(found, str) else None


def _read(path: str, what: str, read: Callable[[str], T]) -> T:
    try:
        with offline(), quiet_transformers():
            return read(path)
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        raise HeedError(f"{what}: {' '.join(str(error).split())[:120]}", path, "write or fetch it again") from error
