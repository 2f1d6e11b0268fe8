"""A run folder: config, metrics, records, checkpoints and summary of one run, and the right to write them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import heed
from heed.errors import HeedError, RunFailed
from heed.runs.checkpoints import Checkpoints
from heed.runs.config import config_hash, read_yaml, to_plain, to_yaml
from heed.runs.files import append_line, drop_torn_line, keep_lines, to_json, write_whole
from heed.runs.lock import LOCK_NAME, RunLock

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger(__name__)

CONFIG, SUMMARY, METRICS = "config.yaml", "summary.json", "metrics.jsonl"
RESUMED = ("align", "front", "guard", "compare", "demo", "real")
"""Kinds of runs whose command has --resume."""


class RunFolder:
    """One run on disk; make it with `create` or `open`.

    While a writable one is open no other process can write the run. Every line is handed to the system as it
    is logged, so that a killed process loses nothing but at most one torn line.

    Attributes:
        path: the folder.
        config: the run's config as plain data.
        kind: "align", "front", "guard", "compare", "demo" or "real".
    """

    def __init__(self, path: Path, config: dict[str, Any], kind: str, lock: RunLock | None) -> None:
        self.path, self.config, self.kind = path, config, kind
        self._lock = lock
        self._checkpoints = Checkpoints(path / "checkpoints")
        self._events: SummaryWriter | None = None
        self._purge_step: int | None = None

    @classmethod
    def create(cls, path: Path | str, config: Any, kind: str) -> RunFolder:
        """Make a new run folder.

        Args:
            path: an absent or empty folder.
            config: a dataclass or mapping, written to ``config.yaml``.
            kind: what the run is; see the class.

        Raises:
            HeedError: if the folder holds another run or anything else, or cannot be made.
        """
        folder, plain, run = Path(path), to_plain(config), None
        if (folder / CONFIG).exists():
            on = f", or go on with it by --resume {folder}" if kind in RESUMED else ""
            raise HeedError("this folder holds another run", where=str(folder), fix=f"choose another --out{on}")
        if folder.exists() and (not folder.is_dir() or any(item.name != LOCK_NAME for item in folder.iterdir())):
            raise HeedError("the output folder is not empty", where=str(folder), fix="choose another --out")
        there = folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            run = cls(folder, plain, kind, RunLock(folder))
            run._write_summary({"completed": False})
            write_whole(folder / CONFIG, to_yaml(plain))  # last: a folder with a config is a run
        except OSError as error:
            if run is not None:
                run.close()
            with suppress(OSError):  # the half that was made would be in the way of a second try
                for name in (CONFIG, SUMMARY, LOCK_NAME):
                    (folder / name).unlink(missing_ok=True)
                if not there:
                    folder.rmdir()
            fix = "choose another --out, or make room"
            raise HeedError(f"the run folder cannot be made: {error.strerror}", str(folder), fix) from error
        logger.debug("run folder %s, of kind %s; its settings are in %s", folder, kind, folder / CONFIG)
        return run

    @classmethod
    def open(cls, path: Path | str, writable: bool = True) -> RunFolder:
        """Open a run folder that exists.

        Args:
            path: the folder.
            writable: take the lock and clear away what a crash left (half a checkpoint, a torn line).

        Raises:
            HeedError: if it holds no run, or another process is writing it.
        """
        folder = Path(path)
        if not (folder / CONFIG).is_file():
            raise HeedError("this folder holds no run", where=str(folder), fix=f"give a folder with a {CONFIG} in it")
        lock = RunLock(folder) if writable else None
        run = cls(folder, read_yaml(folder / CONFIG), kind="", lock=lock)
        run.kind = str(run.read_summary().get("kind", "align"))
        if writable:
            run._checkpoints.tidy()
            for file in folder.glob("*.jsonl"):
                drop_torn_line(file)
        return run

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of one step to ``metrics.jsonl`` and to tensorboard.

        Args:
            step: optimiser steps taken so far.
            metrics: scalars by name; what is not finite is kept as null.

        Raises:
            RunFailed: if the disk refuses.
        """
        values = {name: float(value) for name, value in metrics.items()}
        with self._writing(METRICS):
            append_line(self.path / METRICS, {"step": step, **values})
            for name, value in values.items():
                self._tensorboard().add_scalar(name, value, step)
            self._tensorboard().flush()

    def append(self, name: str, record: Mapping[str, Any]) -> None:
        """Add one record to ``<name>.jsonl``.

        Args:
            name: of the file, without its ending.
            record: plain data, arrays and tensors.

        Raises:
            RunFailed: if the disk refuses.
        """
        with self._writing(f"{name}.jsonl"):
            append_line(self.path / f"{name}.jsonl", record)

    def write_json(self, name: str, record: Any, indent: int | None = None) -> None:
        """Write another file of the run whole.

        Args:
            name: of the file, from the run folder on; its own folder exists.
            record: plain data.
            indent: spaces a level; None writes one line.

        Raises:
            RunFailed: if the disk refuses; what was there before then stays.
        """
        with self._writing(name):
            write_whole(self.path / name, json.dumps(record, indent=indent))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json`` whole; kind, version and config hash are filled in.

        Args:
            summary: what scripts read; arrays become lists, what is not finite becomes null.

        Raises:
            RunFailed: if the disk refuses; the old summary then stays.
        """
        with self._writing(SUMMARY):
            self._write_summary(summary)

    def read_summary(self) -> dict[str, Any]:
        """Read ``summary.json``; an absent one reads as empty."""
        file = self.path / SUMMARY
        if not file.exists():
            return {}
        try:
            summary: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise HeedError("the summary is not JSON", where=str(file), fix="delete it") from error
        return summary

    def save_checkpoint(self, step: int, write: Callable[[Path], None]) -> Path:
        """Write ``checkpoints/step-N`` whole or not at all, and keep the last two.

        Args:
            step: optimiser steps taken so far.
            write: fills the empty folder that it is given.

        Returns:
            The checkpoint's folder.

        Raises:
            RunFailed: if the disk refuses; names the checkpoint that survives.
        """
        self._check_writable()
        return self._checkpoints.save(step, write)

    def latest_checkpoint(self) -> Path | None:
        """Find the last whole checkpoint, or None."""
        return self._checkpoints.latest()

    def truncate_after(self, step: int) -> None:
        """Drop every logged line of a later step, before a resumed run logs those steps again.

        Args:
            step: the last step that stays.

        Raises:
            RunFailed: if the disk refuses.
        """
        for file in sorted(self.path.glob("*.jsonl")):
            with self._writing(file.name):
                keep_lines(file, lambda record: record.get("step", step) <= step)
        self._purge_step = step + 1

    def close(self) -> None:
        """Flush tensorboard and let another process write the run."""
        if self._events is not None:
            self._events.close()
            self._events = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_summary(self, summary: Mapping[str, Any]) -> None:
        common = {"kind": self.kind, "version": heed.__version__, "config_hash": config_hash(self.config)}
        whole = to_json({**common, **summary})
        write_whole(self.path / SUMMARY, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")

    def _tensorboard(self) -> SummaryWriter:
        if self._events is None:
            from torch.utils.tensorboard import SummaryWriter  # takes a second: only for runs that log

            # A purge from the step after the last one hides what a resumed run logs again
            self._events = SummaryWriter(str(self.path), purge_step=self._purge_step)
        return self._events

    def _check_writable(self) -> None:
        if self._lock is None:
            raise HeedError("this run is open for reading only", str(self.path), "open it with writable=True")

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        self._check_writable()
        try:
            yield
        except OSError as error:
            reason = f"{self.path / name} could not be written: {error.strerror or error}"
            raise RunFailed(reason, self.latest_checkpoint()) from error
