"""Small files that survive a crash: whole or not at all, and JSON lines with at most one torn line."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path
from typing import Any

from heed.errors import HeedError


def to_json(value: Any) -> Any:
    """Turn numbers of numpy and torch, tuples and paths into what JSON carries; NaN and infinity become None.

    Args:
        value: a scalar, array, tensor, mapping or sequence, nested at will.

    Returns:
        The same in dicts, lists, strings, ints, floats, bools and None.

    >>> to_json({"kl": float("nan"), "weights": (0.25, 0.75)})
    {'kl': None, 'weights': [0.25, 0.75]}
    """
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Sequence):
        return [to_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return to_json(value.tolist())  # numpy arrays and scalars, torch tensors


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a rename is on disk only once its folder is.

    Args:
        folder: the folder to flush.

    Raises:
        OSError: if the disk refuses.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[BufferedWriter]:
    """Within: a file that takes another one's place at the end, so that a reader sees the old content or the new.

    Args:
        path: the file; its folder exists.

    Raises:
        OSError: if the disk refuses. Then, as after any other error within, the old content is untouched and nothing is
            left beside it.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old content or the new, never a part.

    Args:
        path: the file; its folder exists.
        text: its whole content.

    Raises:
        OSError: if the disk refuses; the old content is then untouched and nothing is left beside it.
    """
    with replacing(path) as file:
        file.write(text.encode())


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Add one record to a JSON-lines file and flush it to the system.

    Args:
        path: the file, made if absent.
        record: one flat or nested record; see `to_json`.

    Raises:
        OSError: if the disk refuses; at most a torn last line stays, which `read_lines` forgives.
    """
    line = json.dumps(to_json(record), ensure_ascii=False) + "\n"
    with path.open("a", encoding="utf-8") as file:
        file.write(line)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSON-lines file; a torn last line, as a crash leaves it, is skipped.

    Args:
        path: the file; an absent one reads as empty.

    Returns:
        One dict a line, in order.

    Raises:
        HeedError: if a line before the last is not a JSON object, with its number.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):  # no newline after it: the write was cut short
                break
            raise HeedError("this line is not JSON", where=f"{path}:{number}", fix="mend or delete the line") from error
        if not isinstance(record, dict):
            raise HeedError("this line is not a JSON object", where=f"{path}:{number}", fix="mend or delete the line")
        records.append(record)
    return records


def drop_torn_line(path: Path) -> None:
    """Cut a file back to its last newline, so that the next record does not glue onto a torn one.

    Args:
        path: a JSON-lines file.
    """
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)


def keep_lines(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Rewrite a JSON-lines file with only the records that pass, atomically.

    Args:
        path: the file.
        keep: says whether a record stays.
    """
    kept = [json.dumps(record, ensure_ascii=False) + "\n" for record in read_lines(path) if keep(record)]
    write_whole(path, "".join(kept))


def read_metrics(path: Path | str) -> list[dict[str, float]]:
    """Read the metrics of a run, one dict a logged step.

    Args:
        path: the run folder, or its ``metrics.jsonl``.

    Returns:
        ``{"step": int, name: float, ...}`` a line; a value that was not finite reads as NaN. A torn last
        line is skipped.

    Raises:
        HeedError: if an earlier line is malformed.
    """
    file = Path(path)
    file = file / "metrics.jsonl" if file.is_dir() else file
    return [
        {name: math.nan if value is None else value for name, value in record.items()} for record in read_lines(file)
    ]
