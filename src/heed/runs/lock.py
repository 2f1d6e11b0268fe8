"""One writer to a run: a lock file that dies with its process."""

from __future__ import annotations

import os
from pathlib import Path

from heed.errors import HeedError

LOCK_NAME = ".lock"

# Locks of this process, by folder: [descriptor, number of holders]. The system's lock belongs to an open
# descriptor, so a process that opens its own run twice must share one.
_HELD: dict[Path, list[int]] = {}


class RunLock:
    """The right of this process to write a run; released by `release` or when the process ends.

    Args:
        folder: the run folder; exists.

    Raises:
        HeedError: if another process holds it, with its pid; or where the system has no such locks, as Windows.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._released = False
        if self._folder in _HELD:
            _HELD[self._folder][1] += 1
            return
        try:
            import fcntl  # here, so that on Windows all that writes no runs can still be imported
        except ImportError as error:
            raise HeedError(
                "this system has no POSIX file locks", str(folder), "run heed on Linux, on macOS, or in WSL on Windows"
            ) from error
        descriptor = os.open(self._folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise HeedError(
                f"another process (pid {holder}) is writing this run",
                where=str(folder),
                fix="wait until it ends, or choose another --out",
            ) from error
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError:  # a full disk; an open descriptor would hold the lock for ever
            os.close(descriptor)
            raise
        _HELD[self._folder] = [descriptor, 1]

    def release(self) -> None:
        """Let another process write; a second call does nothing."""
        if self._released:
            return
        self._released = True
        held = _HELD[self._folder]
        held[1] -= 1
        if held[1] == 0:
            os.close(held[0])
            del _HELD[self._folder]
