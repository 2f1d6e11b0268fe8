"""A front's adapters as a server takes them: all of them over one base, each by its name."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heed.compare.picking.front_points import FrontPoint


def adapter_list(names: Sequence[str], points: Sequence[FrontPoint]) -> list[dict[str, Any]]:
    """The adapters by name, as vLLM's ``--lora-modules`` takes them in JSON, with what a client wants beside.

    Args:
        names: of the objectives.
        points: of the front.

    Returns:
        For each: "name", "path" (absolute) and "base_model_name"; "preference" and "values" by objective; "tag" where
        one adapter serves all, to stand before a prompt.
    """
    listed = []
    for point in points:
        told = {
            "name": point.name(names),
            "path": str(point.adapter.resolve()),
            "base_model_name": base_of(point.adapter),
        }
        told_of = {
            "preference": dict(zip(names, point.preference, strict=True)),
            "values": dict(zip(names, point.values, strict=True)),
        }
        listed.append(told | told_of | ({"tag": point.tag} if point.tag else {}))
    return listed


def vllm_command(names: Sequence[str], points: Sequence[FrontPoint]) -> str:
    """The line that serves a front by vLLM: one base, and each policy by its name as ``model`` of a request.

    Args:
        names: of the objectives.
        points: of the front.
    """
    rank = max(int(config_of(point.adapter)["r"]) for point in points)
    modules = [shlex.quote(f"{each['name']}={each['path']}") for each in adapter_list(names, points)]
    room = 2 ** max(3, (rank - 1).bit_length())  # vLLM takes 8, 16, 32, ...
    base = shlex.quote(base_of(points[0].adapter))
    return f"vllm serve {base} --enable-lora --max-lora-rank {room} --lora-modules {' '.join(modules)}"


def base_of(adapter: Path) -> str:
    """The model that an adapter stands on, as its config names it."""
    return str(config_of(adapter)["base_model_name_or_path"])


def config_of(adapter: Path) -> dict[str, Any]:
    """An adapter's ``adapter_config.json``."""
    found: dict[str, Any] = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    return found
