"""Rows from wherever they lie: JSON lines, Parquet, a ``datasets`` folder, the hub."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet

from heed.errors import HeedError


@dataclass(frozen=True)
class Table:
    """Rows and where each of them comes from.

    Args:
        data: the rows as a dataset; it has at least one.
        location: row index -> "file:line" or "path row n", for errors.
    """

    data: datasets.Dataset
    location: Callable[[int], str]

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self.data.column_names)


def read_table(path: str | Path, split: str | None = None) -> Table:
    """Read rows from a file, a folder or the hub.

    Args:
        path: a ``.jsonl`` or ``.json`` file of one JSON object a line, the same in ``.gz``, a ``.parquet`` file, a
            folder written by ``save_to_disk``, or, if nothing lies there, a data set's id on the hub.
        split: which split, where there are several; "train" if there is one of that name. A file has none.

    Raises:
        HeedError: nothing there, no rows, a line that is not a JSON object (with its number), columns of mixed
            types, or an unknown split.
    """
    file = Path(path)
    if split is not None and file.is_file():
        raise HeedError(f"a file has no splits to take {split!r} from", str(path), fix="leave the split out")
    if file.is_dir():
        table = _read_folder(file, split)
    elif file.is_file() and Path(file.name.removesuffix(".gz")).suffix in (".jsonl", ".json", ".ndjson"):
        table = _read_json_lines(file)
    elif file.is_file() and file.suffix == ".parquet":
        table = _read_parquet(file)
    elif file.is_file():
        raise HeedError(
            f"cannot tell the format of {file.suffix or 'no'} files", where=str(path), fix="give .jsonl or .parquet"
        )
    else:
        table = _read_hub(str(path), split)
    if len(table.data) == 0:
        raise HeedError("there are no rows", where=str(path), fix="give at least one")
    return table


def _read_json_lines(file: Path) -> Table:
    """Parse each line by itself, so that an error knows its line."""
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    try:
        text = _bytes(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HeedError(
            f"the file is not UTF-8 (byte {error.start})", where=str(file), fix="save it as UTF-8"
        ) from error
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise HeedError(
                f"not valid JSON: {error.msg} at column {error.colno}", where, fix="write one JSON object on each line"
            ) from error
        except RecursionError as error:
            raise HeedError("the JSON is nested too deep", where, fix="write one flat JSON object") from error
        if not isinstance(row, dict):
            raise HeedError(
                f"a {type(row).__name__}, not a JSON object", where, fix="write one JSON object on each line"
            )
        rows.append(row)
        lines.append(number)
    columns = dict.fromkeys(key for row in rows for key in row)
    data = {}
    for column in columns:
        values = [row.get(column) for row in rows]
        try:
            data[column] = pyarrow.array(values)
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
            first = _first_of_another_kind(values)
            raise HeedError(
                f"column {column!r} mixes values of different types",
                where=f"{file}:{lines[first]}",
                fix="give all rows of a column the same type",
            ) from error
        except (OverflowError, UnicodeEncodeError) as error:
            raise HeedError(
                f"column {column!r} holds what no table can: {error}"[:160],
                where=f"{file}:{lines[_first_that_fails(values)]}",
                fix="give numbers of at most 64 bits and whole characters",
            ) from error
    return Table(datasets.Dataset(pyarrow.table(data)), lambda index: f"{file}:{lines[index]}")


def _bytes(file: Path) -> bytes:
    if file.suffix != ".gz":
        return file.read_bytes()
    try:
        return gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise HeedError("not a whole gzip file", where=str(file), fix="fetch or write it again") from error


def _first_of_another_kind(values: list[Any]) -> int:
    kinds = [type(value) for value in values if value is not None]
    differing = (index for index, value in enumerate(values) if value is not None and type(value) is not kinds[0])
    return next(differing, 0)


def _first_that_fails(values: list[Any]) -> int:
    for index, value in enumerate(values):
        try:
            pyarrow.array([value])
        except (OverflowError, UnicodeEncodeError):
            return index
    return 0


def _read_parquet(file: Path) -> Table:
    try:
        rows = pyarrow.parquet.read_table(file)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise HeedError("not a readable Parquet file", where=str(file), fix="write it again") from error
    return Table(datasets.Dataset(rows), lambda index: f"{file} row {index}")


def _read_folder(folder: Path, split: str | None) -> Table:
    if not ((folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()):
        raise HeedError(
            "the folder was not written by datasets' save_to_disk",
            where=str(folder),
            fix="give such a folder, or a .jsonl or .parquet file",
        )
    return _choose_split(datasets.load_from_disk(str(folder)), split, str(folder))


def _read_hub(name: str, split: str | None) -> Table:
    nothing = HeedError(
        "there is no such data", where=name, fix="give a file or folder that exists, or a hub id (owner/name)"
    )
    if (
        Path(name).suffix in (".jsonl", ".json", ".ndjson", ".parquet", ".gz")
        or name.startswith((".", "/", "~"))
        or name.count("/") > 1
    ):
        raise nothing
    try:
        return _choose_split(datasets.load_dataset(name), split, name)
    except (OSError, ValueError) as error:  # not found, gated, no network, a script that is no longer supported
        raise nothing from error


def _choose_split(loaded: datasets.Dataset | Mapping[str, datasets.Dataset], split: str | None, where: str) -> Table:
    if isinstance(loaded, datasets.Dataset):
        if split is not None:
            raise HeedError(f"there are no splits to take {split!r} from", where, fix="leave the split out")
        return Table(loaded, lambda index: f"{where} row {index}")
    chosen = split or ("train" if "train" in loaded or len(loaded) != 1 else next(iter(loaded)))
    if chosen not in loaded:
        raise HeedError(f"there is no split {chosen!r}", where, fix=f"choose one of {', '.join(loaded)}")
    return Table(loaded[chosen], lambda index: f"{where} split {chosen} row {index}")
