"""A front's adapters as a server takes them: all of them over one base, each by its name."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from heed.compare.picking.adapters import base_of, config_of
from heed.compare.picking.reading import Policies
from heed.errors import HeedError

_NOT_SERVED = ("use_dora", "modules_to_save")
_LARGEST = 512


def adapter_list(policies: Policies) -> list[dict[str, Any]]:
    """The adapters by name, as vLLM's ``--lora-modules`` takes them in JSON, with what a client wants beside.

    Args:
        policies: of the front.

    Returns:
        For each: "name", "path" (absolute) and "base_model_name"; "preference" and "values" by objective; "tag" where
        one adapter serves all, to stand before a prompt.

    Raises:
        HeedError: an adapter is not there, is broken, or names no base.
    """
    names, listed = policies.names, []
    for point in policies.points:
        told: dict[str, Any] = {"name": point.name(names), "path": str(point.folder.resolve())}
        told["base_model_name"] = base_of(point.folder, config_of(point.folder))
        told["preference"] = dict(zip(names, point.preference, strict=True))
        told["values"] = dict(zip(names, point.values, strict=True))
        listed.append(told | ({"tag": point.tag} if point.tag else {}))
    return listed


def vllm_command(policies: Policies) -> str:
    """The line that serves a front by vLLM: one base, and each policy by its name as ``model`` of a request.

    Args:
        policies: of the front.

    Raises:
        HeedError: one adapter serves all preferences, or vLLM would refuse an adapter or serve another policy; as
            `adapter_list`.
    """
    if any(point.tag for point in policies.points):
        what = "one adapter serves all preferences, each told by a tag before the prompt, and a server adds none"
        raise HeedError(what, "--list vllm", "take --list json, which has the tags, and send them with the prompts")
    listed = adapter_list(policies)
    rank = max(_rank(point.folder, config_of(point.folder)) for point in policies.points)
    room = 2 ** max(3, (rank - 1).bit_length())  # vLLM takes 8, 16, 32, ...
    modules = " ".join(shlex.quote(f"{each['name']}={each['path']}") for each in listed)
    base = shlex.quote(listed[0]["base_model_name"])
    return f"vllm serve {base} --enable-lora --max-lora-rank {room} --lora-modules {modules}"


def _rank(adapter: Path, config: dict[str, Any]) -> int:
    """An adapter's largest rank; refuses what vLLM's ``PEFTHelper`` refuses, or reads as another policy."""
    r, alpha = config["r"], config["lora_alpha"]
    ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
    power = 0.5 if config.get("use_rslora") else 1.0
    scalings = {alphas.get(name, alpha) / ranks.get(name, r) ** power for name in (*ranks, *alphas)}
    largest = max(r, *ranks.values()) if ranks else r
    trouble = [name for name in _NOT_SERVED if config.get(name)]
    trouble += ["trained biases"] if config.get("bias", "none") != "none" else []
    trouble += ["scalings by module"] if scalings - {alpha / r**power} else []
    trouble += [f"rank {largest}"] if largest > _LARGEST else []
    if trouble:
        fix = "write whole models, one by one: --preference with --out and --merge"
        raise HeedError(f"vLLM takes no adapter with {trouble[0]}", str(adapter), fix)
    return int(largest)
