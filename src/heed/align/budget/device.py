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
    if (limit := _told(Path("/sys/fs/cgroup/memory.max"))) is not None:
        taken = (
            _told(Path("/sys/fs/cgroup/memory.current")) or 0
        )  # files that could be dropped are in it: rather too much
        free, total = min(free, max(0, limit - taken)), min(total, limit)
    return Device("this machine's memory", free, total, cuda=False)


def _told(file: Path) -> int | None:
    """The number in a file of the container's; None where there is none, or no bound."""
    told = file.read_text().strip() if file.is_file() else ""
    return int(told) if told.isdecimal() else None


def _available(meminfo: Path) -> int | None:
    """Linux's estimate of what can be had without swapping, bytes; None on other systems."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text()) if meminfo.is_file() else None
    return None if found is None else int(found[1]) * 1024
