"""Float32 for whatever is trained: an update of 16-bit weights rounds away, or overflows."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from heed.errors import HeedError

REMEDY = "lower --learning-rate, or take --dtype float32 if the model computes in 16 bits"
"""What mends numbers that are not finite."""


def require_whole_dtype(dtype: str) -> None:
    """Refuse to train all parameters in 16 bits.

    Raises:
        HeedError: the dtype has 16 bits.
    """
    if dtype in ("bfloat16", "float16"):
        raise HeedError(
            f"all parameters are trained, and most updates of {dtype} weights round away",
            f"--dtype {dtype}",
            "leave it out, or train an adapter, whose base may have 16 bits",
        )


def overflowed(what: str, where: str, dtype: torch.dtype, setting: str) -> HeedError:
    """The error of a model that computes numbers that are not finite.

    Args:
        what: which numbers.
        where: of which model.
        dtype: that it computes in.
        setting: that chooses another dtype.

    >>> print(overflowed("the logits", "models/base", torch.float16, "--dtype"))
    the logits are not finite in float16 (models/base): its range ends at 65504; set --dtype to bfloat16 or float32
    """
    fix = "its weights are broken, or have diverged; fetch them again, or lower --learning-rate"
    if dtype == torch.float16:
        fix = f"its range ends at 65504; set {setting} to bfloat16 or float32"
    return HeedError(f"{what} are not finite in {str(dtype).removeprefix('torch.')}", where, fix)


def train_in_float32(model: nn.Module) -> None:
    """Bring the modules that hold trainable 16-bit weights to float32; they still take and give what they did.

    peft does so for the adapters' own matrices, but not for whole modules that are trained (``modules_to_save``).
    """
    for module in model.modules():
        own = [parameter for parameter in module.parameters(recurse=False) if parameter.requires_grad]
        narrow = [parameter.dtype for parameter in own if parameter.dtype in (torch.bfloat16, torch.float16)]
        if narrow:
            module.to(torch.float32)
            module.register_forward_pre_hook(_widen)
            module.register_forward_hook(partial(_narrow, narrow[0]))


def _widen(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(x.float() if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs)


def _narrow(dtype: torch.dtype, _module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    return output.to(dtype)


def not_finite(named: dict[str, Any]) -> str | None:
    """The name of the first tensor, in dictionaries and lists of them, that is not finite; None if all are.

    >>> not_finite({"a": torch.ones(1), "b": [torch.tensor([float("nan")])]})
    'b'
    """
    return next((name for name, value in named.items() if not _finite(value)), None)


def _finite(value: Any) -> bool:
    if isinstance(value, Tensor):
        return bool(value.isfinite().all())
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return all(_finite(part) for part in parts)
