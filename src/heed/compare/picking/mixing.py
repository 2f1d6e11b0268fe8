"""LoRA adapters mixed exactly, from their files alone: the mixture's change of weights is that of theirs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from heed.compare.picking.adapters import WEIGHTS, config_of, require_weights
from heed.errors import HeedError

_DOWN, _UP = "lora_A.weight", "lora_B.weight"
_OTHERWISE = ("modules_to_save", "trainable_token_indices", "use_dora", "use_qalora", "use_bdlora", "target_parameters")
"""Settings under which an adapter is more than pairs of matrices."""


def mix_adapters(folders: Sequence[Path], shares: Sequence[float]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Mix LoRA adapters of one base: ``Delta W = sum_k share_k Delta W_k``, exactly.

    With ``Delta W_k = s_k B_k A_k`` of rank r_k the mixture has the factors ``[share_1 s_1 A_1; share_2 s_2 A_2; ...]``
    and ``[B_1, B_2, ...]``, rank ``sum_k r_k`` and a scaling of 1. Averaging the factors would be another policy. A
    module that an adapter lacks counts as unchanged there.

    Args:
        folders: of the adapters, in peft's format.
        shares: of each, >= 0; those of 0 are left out.

    Returns:
        What ``adapter_config.json`` and ``adapter_model.safetensors`` of the mixture hold.

    Raises:
        HeedError: an adapter is more than pairs of matrices, is broken, or stands on another base.
    """
    taken = [(folder, share) for folder, share in zip(folders, shares, strict=True) if share > 0]
    read = [(folder, share, *_read(folder)) for folder, share in taken]
    first = read[0][2]
    for folder, _, config, _ in read[1:]:
        if config["base_model_name_or_path"] != first["base_model_name_or_path"]:
            raise HeedError("these adapters stand on different models", str(folder), "take the folder of one front")
    modules = dict.fromkeys(
        name.removesuffix(_DOWN) for *_, weights in read for name in weights if name.endswith(_DOWN)
    )
    mixed: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    for module in modules:
        there = [(share, config, weights) for _, share, config, weights in read if f"{module}{_DOWN}" in weights]
        down = [
            share * _scaling(module, config, weights) * weights[f"{module}{_DOWN}"].float()
            for share, config, weights in there
        ]
        mixed[f"{module}{_DOWN}"] = torch.cat(down).contiguous()
        mixed[f"{module}{_UP}"] = torch.cat(
            [weights[f"{module}{_UP}"].float() for *_, weights in there], 1
        ).contiguous()
        ranks[module] = len(mixed[f"{module}{_DOWN}"])
    usual = max(set(ranks.values()), key=list(ranks.values()).count)
    own = {_pattern(module): rank for module, rank in ranks.items() if rank != usual}
    targets = sorted({target for _, _, config, _ in read for target in _listed(config["target_modules"])})
    return first | {
        "r": usual, "lora_alpha": usual, "use_rslora": False, "rank_pattern": own, "alpha_pattern": own,
        "target_modules": targets if len(targets) > 1 or not isinstance(first["target_modules"], str) else targets[0],
    }, mixed  # fmt: skip


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    config = config_of(folder)
    require_weights(folder)
    weights = load_file(folder / WEIGHTS)
    extra = [name for name in _OTHERWISE if config.get(name)]
    stray = [name for name in weights if not name.endswith((_DOWN, _UP))]
    if config.get("peft_type") != "LORA" or extra or stray or config.get("bias", "none") != "none":
        kind = config.get("peft_type") if config.get("peft_type") != "LORA" else f"bias={config.get('bias')}"
        what = extra[0] if extra else stray[0] if stray else str(kind)
        fix = "only pairs of LoRA's matrices add up: take a preference that was trained"
        raise HeedError(f"an adapter with {what} cannot be mixed", str(folder), fix)
    modules = {name.removesuffix(_DOWN).removesuffix(_UP) for name in weights}
    lone = sorted(module for module in modules if f"{module}{_DOWN}" not in weights or f"{module}{_UP}" not in weights)
    if lone:
        raise HeedError(f"this adapter is broken: {lone[0]} has one matrix of two", str(folder), "train it anew")
    return config, weights


def _scaling(module: str, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> float:
    """What peft multiplies ``B A`` by: alpha over the rank, or over its root."""
    rank = len(weights[f"{module}{_DOWN}"])
    patterns: Mapping[str, float] = config.get("alpha_pattern") or {}
    alpha = next((value for pattern, value in patterns.items() if _matches(pattern, module)), config["lora_alpha"])
    return float(alpha) / (rank**0.5 if config.get("use_rslora") else rank)


def _matches(pattern: str, module: str) -> bool:
    """As peft matches: the pattern is the end of a module's name."""
    return re.match(rf"(.*\.)?({pattern})$", _pattern(module)) is not None


def _pattern(module: str) -> str:
    """A module's name as the base has it."""
    return module.removeprefix("base_model.model.").removesuffix(".")


def _listed(targets: Any) -> list[str]:
    return [targets] if isinstance(targets, str) else list(targets)
