"""Data parallelism under torchrun: rank, world size, and averages over the processes.

Each process draws and scores prompts of its own on its own replica; only gradients, a few means and what a checkpoint
needs are exchanged. With one process nothing is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, distributed, nn


def join() -> None:
    """Join the process group, where torchrun started several processes and none has been joined yet."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not _several():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def rank() -> int:
    """The number of this process, from 0; process 0 writes the run folder."""
    return distributed.get_rank() if _several() else 0


def world_size() -> int:
    """How many processes there are.

    >>> world_size()
    1
    """
    return distributed.get_world_size() if _several() else 1


def mean(values: Tensor) -> Tensor:
    """The mean of a tensor over the processes, a new tensor where there are several."""
    if not _several():
        return values
    moved = values.detach().to(_reduction_device(), copy=True)
    distributed.all_reduce(moved)
    return (moved / world_size()).to(values)


def mean_of_known(values: Tensor) -> Tensor:
    """The mean over the processes in which a value is known (not NaN); NaN where it is known in none.

    >>> mean_of_known(torch.tensor([1.0, float("nan")]))
    tensor([1., nan])
    """
    known = mean((~values.isnan()).to(values.dtype))
    return mean(values.nan_to_num(0.0)) / known


def any_process(flag: bool) -> bool:
    """Whether a flag is set in any process, so that all act alike.

    >>> any_process(True)
    True
    """
    return float(mean(torch.tensor(float(flag)))) > 0


def leave() -> None:
    """Leave the process group at the end, where there is one."""
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


def _reduction_device() -> torch.device:
    """The device on which the backend reduces tensors."""
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
