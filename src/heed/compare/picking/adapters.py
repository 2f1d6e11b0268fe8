"""What lies in an adapter's folder, in peft's format: its settings, its base, its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from heed.errors import HeedError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_OF_LORA = ("r", "lora_alpha", "target_modules", "base_model_name_or_path")


def config_of(adapter: Path) -> dict[str, Any]:
    """An adapter's ``adapter_config.json``.

    Args:
        adapter: its folder.

    Raises:
        HeedError: it is missing, or not what peft writes.
    """
    try:
        found = json.loads((adapter / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise HeedError(f"{CONFIG} is missing", str(adapter), "give an adapter's folder") from error
    except ValueError as error:
        raise _broken(adapter, f"{CONFIG} is not JSON") from error
    if not isinstance(found, dict):
        raise _broken(adapter, f"{CONFIG} holds no settings")
    lacking = [name for name in _OF_LORA if name not in found and found.get("peft_type") == "LORA"]
    if lacking:
        raise _broken(adapter, f"{CONFIG} has no {lacking[0]}")
    return found


def base_of(adapter: Path, config: Mapping[str, Any]) -> str:
    """The model that an adapter stands on: a hub id, or a folder's absolute path where there is one.

    Args:
        adapter: its folder, for the error.
        config: its settings.

    Raises:
        HeedError: they name none.
    """
    named = config.get("base_model_name_or_path")
    if not named:
        raise HeedError("this adapter names no base model", str(adapter), "write it anew with --out and --base")
    return absolute(str(named))


def absolute(base: str) -> str:
    """A model's folder by its absolute path, as an adapter's file is read from anywhere; a hub id as it is.

    >>> absolute("owner/name")
    'owner/name'
    """
    return str(Path(base).resolve()) if Path(base).is_dir() else base


def require_weights(adapter: Path) -> None:
    """Refuse an adapter whose weights are not there in full.

    Args:
        adapter: its folder.

    Raises:
        HeedError: its weights are missing, or were cut short.
    """
    try:
        with safe_open(adapter / WEIGHTS, "pt"):
            pass
    except FileNotFoundError as error:
        raise HeedError(f"{WEIGHTS} is missing", str(adapter), "give an adapter's folder") from error
    except SafetensorError as error:
        raise _broken(adapter, str(error)) from error


def _broken(adapter: Path, why: str) -> HeedError:
    return HeedError(f"this adapter is broken: {' '.join(why.split())}", str(adapter), "train it anew")
