"""Several processes under torchrun, one policy: which one we are, and averages over all of them.

Each process draws and scores prompts of its own on its own replica; only gradients, a few means and what a checkpoint
needs cross. With one process everything here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, distributed, nn


def join() -> None:
    """Join the other processes, where torchrun started several and nobody has joined them yet."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not _several():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def rank() -> int:
    """Our number among the processes, from 0; process 0 writes the run folder."""
    return distributed.get_rank() if _several() else 0


def world_size() -> int:
    """How many processes there are.

    >>> world_size()
    1
    """
    return distributed.get_world_size() if _several() else 1


def mean(values: Tensor) -> Tensor:
    """The mean of a tensor over the processes; it is left as it was."""
    if not _several():
        return values
    moved = values.detach().to(_meeting_place(), copy=True)
    distributed.all_reduce(moved)
    return (moved / world_size()).to(values)


def any_of_us(wish: bool) -> bool:
    """Whether any process wishes something, so that all do the same.

    >>> any_of_us(True)
    True
    """
    return float(mean(torch.tensor(float(wish)))) > 0


def leave() -> None:
    """Part from the other processes at the end, where there are any."""
    if _several():
        distributed.destroy_process_group()


def gather(value: Any) -> list[Any]:
    """Every process's plain value, in the order of their ranks."""
    if not _several():
        return [value]
    values: list[Any] = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average ``.grad`` over the processes."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = mean(parameter.grad)


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _meeting_place() -> torch.device:
    """Where tensors must lie to be reduced."""
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
