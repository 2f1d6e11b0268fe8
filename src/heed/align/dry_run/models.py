"""What lies on this machine of a model: its config, its weights, its tokenizer."""

from __future__ import annotations

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
        HeedError: there are no weights.
    """
    if not any(_has(path, name) for name in WEIGHTS):
        raise HeedError(f"the {what} has a config, and no weights on this machine", path, "fetch them")


def tokenizer_at(path: str, what: str) -> Any:
    """The tokenizer beside a model.

    Raises:
        HeedError: there is none on this machine.
    """
    return _read(path, f"there is no tokenizer of the {what}", AutoTokenizer.from_pretrained)


def _has(path: str, name: str) -> bool:
    if Path(path).is_dir():
        return (Path(path) / name).is_file()
    try:
        return isinstance(huggingface_hub.try_to_load_from_cache(path, name), str)
    except HFValidationError:
        return False  # no hub id


def _read(path: str, what: str, read: Callable[[str], T]) -> T:
    try:
        with offline(), quiet_transformers():
            return read(path)
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        raise HeedError(f"{what}: {' '.join(str(error).split())[:120]}", path, "write or fetch it again") from error
