"""A folder that is there whole or not at all: written beside its place, flushed to the disk, renamed into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heed.runs.files import sync_folder


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Within: an empty folder that takes another one's place at the end, so that a reader finds the old or the new.

    Args:
        path: the folder; the one around it exists.

    Raises:
        OSError: the disk refuses. Then, as after any other error within, what was there is untouched and nothing is
            left beside it.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for inside in temporary.rglob("*"):
            if inside.is_dir():
                sync_folder(inside)
            else:
                _sync(inside)
        sync_folder(temporary)
        _put(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def _put(temporary: Path, final: Path) -> None:
    old = final.with_name(f".{final.name}.old")
    if final.exists():  # a folder cannot be renamed onto one with files in it
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
    try:
        temporary.replace(final)
        sync_folder(final.parent)
    except OSError:
        if old.exists() and not final.exists():
            old.rename(final)
        raise
    shutil.rmtree(old, ignore_errors=True)
