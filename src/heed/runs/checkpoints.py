"""Checkpoints that are there whole or not at all."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from heed.errors import RunFailed
from heed.runs.files import write_whole
from heed.runs.folders import replacing_folder

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"

_NAME = re.compile(r"step-(\d+)")
_LEFTOVER = re.compile(r"\.step-\d+\.(tmp|old|gone)")

# What a full disk looks like: torch.save raises RuntimeError and safetensors its own error, not OSError.
_WRITE_FAULTS = (OSError, RuntimeError, SafetensorError)


class Checkpoints:
    """The checkpoints of one run, ``step-N`` folders, of which the last few are kept.

    A checkpoint is written beside its place, flushed to the disk with a manifest of its files' sizes, and
    renamed into place; so a name is there only if the whole is.

    Args:
        folder: where they live; made on the first save.
        keep: how many to keep.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep

    def save(self, step: int, write: Callable[[Path], None]) -> Path:
        """Write one checkpoint and drop those beyond the last ``keep``.

        Args:
            step: optimiser steps taken so far.
            write: fills the empty folder that it is given.

        Returns:
            The folder of the checkpoint.

        Raises:
            RunFailed: if it could not be written, for example on a full disk; names the checkpoint that
                survives. What ``write`` raises otherwise comes through. Nothing is left behind either way.
        """
        final = self.folder / f"step-{step}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing_folder(final) as temporary:
                write(temporary)
                write_manifest(temporary, step)
        except _WRITE_FAULTS as error:
            reason = f"the checkpoint of step {step} could not be written to {self.folder}: {error}"
            raise RunFailed(reason, self.latest()) from error
        logger.debug("checkpoint %s", final)
        self._prune()
        return final

    def latest(self) -> Path | None:
        """Find the checkpoint with the most steps that is whole, or None."""
        checkpoints = self.whole()
        return checkpoints[-1] if checkpoints else None

    def whole(self) -> list[Path]:
        """List the whole checkpoints, fewest steps first; incomplete ones are not among them."""
        if not self.folder.is_dir():
            return []
        named = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name) and is_whole(path)]
        return sorted(named, key=step_of)

    def tidy(self) -> None:
        """Remove what a crash left behind; a checkpoint that was being replaced comes back."""
        if not self.folder.is_dir():
            return
        for path in list(self.folder.iterdir()):
            if not _LEFTOVER.fullmatch(path.name):
                continue
            place = self.folder / path.name.removeprefix(".").rpartition(".")[0]
            if path.suffix == ".old" and not is_whole(place) and is_whole(path):
                shutil.rmtree(place, ignore_errors=True)
                path.rename(place)
            else:
                shutil.rmtree(path, ignore_errors=True)

    def _prune(self) -> None:
        for path in self.whole()[: -self.keep]:
            gone = path.with_name(f".{path.name}.gone")
            path.rename(gone)  # at once no checkpoint, however long the removal takes
            shutil.rmtree(gone, ignore_errors=True)


def write_manifest(folder: Path, step: int) -> None:
    """Write down, in a checkpoint that is being made, which files it has and how large they are."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    write_whole(folder / MANIFEST, json.dumps({"step": step, "files": sizes}, indent=1))


def step_of(checkpoint: Path) -> int:
    """Read the number of steps from a checkpoint's name.

    Args:
        checkpoint: a ``step-N`` folder.

    >>> step_of(Path("runs/a/checkpoints/step-120"))
    120
    """
    return int(checkpoint.name.removeprefix("step-"))


def is_whole(checkpoint: Path) -> bool:
    """Say whether every file that the manifest names is there in its full size.

    Args:
        checkpoint: a checkpoint's folder.
    """
    try:
        sizes = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))["files"]
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError):  # no manifest, a torn one, or a file that is gone
        return False
