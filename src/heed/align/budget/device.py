"""The memory that there is."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Device:
    """A device's memory.

    Args:
        name: of it.
        free: bytes that nobody holds.
        total: bytes.
        cuda: whether it is a GPU.
    """

    name: str
    free: int
    total: int
    cuda: bool


def device_here() -> Device:
    """The GPU that a run would take, else this machine's memory, or as much of it as the container may take."""
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        return Device(torch.cuda.get_device_name(), free, total, cuda=True)
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free = _available(Path("/proc/meminfo")) or total
    if (bound := contained(Path("/sys/fs/cgroup"))) is not None:
        free, total = min(free, bound[0]), min(total, bound[1])
    return Device("this machine's memory", free, total, cuda=False)


def contained(group: Path) -> tuple[int, int] | None:
    """What a container may still take, and its bound, bytes; None without a bound.

    Args:
        group: the folder of its control group, version 2. Copies of files that it could drop at once count as free.
    """
    names = ("memory.max", "memory.current", "memory.stat")
    told = {name: (group / name).read_text() for name in names if (group / name).is_file()}
    if not (limit := told.get("memory.max", "").strip()).isdecimal():
        return None
    droppable = re.search(r"^inactive_file (\d+)$", told.get("memory.stat", ""), flags=re.MULTILINE)
    taken = int(told.get("memory.current", "0")) - (0 if droppable is None else int(droppable[1]))
    return max(0, int(limit) - max(0, taken)), int(limit)


def _available(meminfo: Path) -> int | None:
    """Linux's estimate of what can be had without swapping, bytes; None on other systems."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text()) if meminfo.is_file() else None
    return None if found is None else int(found[1]) * 1024
