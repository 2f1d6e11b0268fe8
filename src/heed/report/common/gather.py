"""A run folder read into one typed record; what is absent reads as empty, never as an error."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet as parquet

from heed.errors import HeedError
from heed.report.common.plot_style import Floats
from heed.runs import read_lines, read_metrics, read_yaml
from heed.runs.config import setting

_FILES = ("summary.json", "config.yaml", "metrics.jsonl", "front.json", "compare.json", "demo.json", "real.json")


@dataclass(frozen=True)
class Completion:
    """One reply and what it scored: ``rewards`` by the objectives it was trained on, ``gold`` by the world."""

    prompt: str
    text: str
    rewards: dict[str, float]
    gold: dict[str, float]


@dataclass(frozen=True)
class Exact:
    """The exact front of a world.

    Attributes:
        names: [K] of the objectives.
        vertices: [V, K] expected values.
        ideal: [K] best of each objective on the front.
        nadir: [K] worst of each objective on the front.
    """

    names: list[str]
    vertices: Floats
    ideal: Floats
    nadir: Floats


@dataclass(frozen=True)
class Objective:
    """One objective at the start and the end of a run, by its reward (proxy) and by the world's exact value (gold).

    Its unit, if it has one, is that of the rewards.
    """

    name: str
    proxy_start: float | None
    proxy_end: float | None
    gold_start: float | None
    gold_end: float | None
    unit: str = ""

    @property
    def start(self) -> float | None:
        """The start: the gold value where there is one, else the reward."""
        return self.proxy_start if self.gold_end is None else self.gold_start

    @property
    def end(self) -> float | None:
        """The end: the gold value where there is one, else the reward."""
        return self.proxy_end if self.gold_end is None else self.gold_end


@dataclass
class RunRecord:
    """All that a report needs of one run.

    Attributes:
        names: the objectives that it was trained on; `judged_names` adds those that were only evaluated.
        efficiency: curves of a comparison of guards (``efficiency.json``).
        diagnostics: of a guarded run's models (``judges.json``).
    """

    path: Path
    kind: str
    summary: dict[str, Any]
    config: dict[str, Any]
    names: list[str]
    metrics: list[dict[str, float]]
    before: list[Completion] = field(default_factory=list)
    after: list[Completion] = field(default_factory=list)
    exact: Exact | None = None
    siblings: list[tuple[str, Path]] = field(default_factory=list)
    front: dict[str, Any] = field(default_factory=dict)
    compare: dict[str, Any] = field(default_factory=dict)
    efficiency: dict[str, Any] = field(default_factory=dict)
    demo: dict[str, Any] = field(default_factory=dict)
    real: dict[str, Any] = field(default_factory=dict)
    diagnostics: dict[str, Any] = field(default_factory=dict)

    def series(self, metric: str) -> tuple[Floats, Floats]:
        """Read one metric over the steps.

        Args:
            metric: its name in ``metrics.jsonl``.

        Returns:
            Steps [n] and finite values [n]; empty where it was never logged.
        """
        pairs = [(line["step"], line[metric]) for line in self.metrics if _is_number(line.get(metric))]
        table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
        return table[:, 0], table[:, 1]

    def has(self, metric: str) -> bool:
        """Whether a metric was ever logged."""
        return len(self.series(metric)[0]) > 0

    def last(self, metric: str) -> float | None:
        """Give a metric's last value, or None."""
        values = self.series(metric)[1]
        return float(values[-1]) if len(values) else None

    @property
    def judged_names(self) -> list[str]:
        """The objectives that were trained on or evaluated, in the world's order where there is one."""
        gold = [key.removeprefix("eval/gold/") for line in self.metrics for key in line if key.startswith("eval/gold/")]
        return list(dict.fromkeys([*(self.exact.names if self.exact else []), *self.names, *gold]))

    def trajectory(self, names: list[str]) -> Floats:
        """Give the run's trajectory through the gold values of some objectives.

        Args:
            names: [K] of the objectives.

        Returns:
            [n, K] at the evaluated steps, else of the batches; may be empty.
        """
        for pattern in ("eval/gold/{}", "gold/{}/mean"):
            keys = [pattern.format(name) for name in names]
            rows = [[line.get(key) for key in keys] for line in self.metrics]
            whole = [row for row in rows if row and all(_is_number(value) for value in row)]
            if whole:
                return np.array(whole, dtype=np.float64)
        return np.empty((0, len(names)))

    def objectives(self) -> list[Objective]:
        """Give every objective that was trained on or evaluated, at the start and the end."""
        return [self._objective(name) for name in self.judged_names]

    @property
    def steps(self) -> int:
        """Optimiser steps taken."""
        logged = max((int(line["step"]) for line in self.metrics if "step" in line), default=0)
        return int(self.summary.get("steps") or logged)

    @property
    def method(self) -> str:
        """The method's name, from summary or config."""
        return str(self.summary.get("method") or self.config.get("method") or "")

    @property
    def p(self) -> float | None:
        """The power of GAPO, if the config has it."""
        p: Any = setting(self.config, "weighting.p")
        return float(p) if _is_number(p) else None

    def _objective(self, name: str) -> Objective:
        summary = (self.summary.get("objectives") or {}).get(name) or {}
        proxy, gold = self._ends(name, "rewards"), self._ends(name, "gold")
        proxy_end = summary["proxy"] if _is_number(summary.get("proxy")) else proxy[1]
        gold_end = summary["gold"] if _is_number(summary.get("gold")) else gold[1]
        start = summary["start"] if _is_number(summary.get("start")) else None
        # The summary's start is the gold value where there is one, else the reward
        gold_start = gold[0] if gold[0] is not None or gold_end is None else start
        proxy_start = proxy[0] if proxy[0] is not None or gold_end is not None else start
        return Objective(name, proxy_start, proxy_end, gold_start, gold_end, str(summary.get("unit") or ""))

    def _ends(self, name: str, judge: str) -> tuple[float | None, float | None]:
        for metric in (f"eval/{judge}/{name}", f"{judge}/{name}/mean"):
            values = self.series(metric)[1]
            if len(values):
                return float(values[0]), float(values[-1])
        return None, None


def gather(path: Path | str) -> RunRecord:
    """Read a run folder.

    Args:
        path: of a run, finished or not.

    Returns:
        The record; what the folder lacks is empty in it.

    Raises:
        HeedError: if the folder holds no run, or a file in it is malformed.
    """
    folder = Path(path)
    if not any((folder / name).is_file() for name in _FILES):
        raise HeedError("this folder holds no run", where=str(folder), fix="give a folder that a heed command made")
    summary = _mapping(folder / "summary.json")
    exact = _exact(folder / "exact.json")
    metrics = _with_balance(read_metrics(folder), read_lines(folder / "balance.jsonl"))
    record = RunRecord(
        path=folder,
        kind="",
        summary=summary,
        config=read_yaml(folder / "config.yaml") if (folder / "config.yaml").is_file() else {},
        names=_names(summary, exact, metrics),
        metrics=metrics,
        before=_completions(folder / "completions" / "before.parquet"),
        after=_completions(folder / "completions" / "after.parquet"),
        exact=exact,
        siblings=[(str(item["label"]), folder / item["path"]) for item in _load(folder / "siblings.json", list) or []],
        front=_mapping(folder / "front.json"),
        compare=_mapping(folder / "compare.json"),
        efficiency=_mapping(folder / "efficiency.json"),
        demo=_mapping(folder / "demo.json"),
        real=_mapping(folder / "real.json"),
        diagnostics=_mapping(folder / "judges.json"),
    )
    record.kind = _kind(record)
    return record


def _kind(record: RunRecord) -> str:
    """The kind, by the file that only it has: the summary may be older than the file."""
    for kind in ("demo", "real", "compare", "front"):
        if getattr(record, kind):
            return kind
    return str(record.summary.get("kind") or "align")


def _names(summary: Mapping[str, Any], exact: Exact | None, metrics: list[dict[str, float]]) -> list[str]:
    named = list((summary.get("objectives") or {}).keys())
    if named:
        return named
    logged = {
        key.removeprefix("rewards/").removesuffix("/mean"): None
        for line in metrics
        for key in line
        if key.startswith("rewards/") and key.endswith("/mean")
    }
    return list(logged) or (exact.names if exact else [])


def _with_balance(metrics: list[dict[str, float]], balance: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Fill the conflict of each step in from its last balance record, where the metrics lack it."""
    steps = {line["step"]: line for line in metrics if "step" in line}
    for record in reversed(balance):
        names, line = record.get("names") or [], steps.get(record.get("step", -1))
        if line is None:
            continue
        for key, metric in (("weights", "weights"), ("norms", "norm"), ("signal", "signal")):
            for name, value in zip(names, record.get(key) or [], strict=False):
                line.setdefault(f"{metric}/{name}", value)
        for a, b in combinations(range(len(names)), 2):
            cosines = record.get("cosines")
            if cosines:
                line.setdefault(f"cosine/{names[a]}~{names[b]}", cosines[a][b])
    return metrics


def _completions(file: Path) -> list[Completion]:
    if not file.is_file():
        return []
    try:
        rows = parquet.read_table(file).to_pylist()
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise HeedError("this is not a Parquet file", where=str(file), fix="delete it") from error
    return [
        Completion(
            prompt=_text(row.get("prompt")),
            text=_text(row.get("completion")),
            rewards=_scores(row, "rewards/"),
            gold=_scores(row, "gold/"),
        )
        for row in rows
    ]


def _scores(row: Mapping[str, Any], prefix: str) -> dict[str, float]:
    return {
        key.removeprefix(prefix): float(value)
        for key, value in row.items()
        if key.startswith(prefix) and _is_number(value)
    }


def _text(content: Any) -> str:
    """Write a prompt or reply as text; a conversation becomes one paragraph a message."""
    if isinstance(content, list):
        return "\n".join(f"{message.get('role', '')}: {message.get('content', '')}" for message in content)
    return "" if content is None else str(content)


def _exact(file: Path) -> Exact | None:
    data = _mapping(file)
    if not data:
        return None
    vertices = np.array(data["vertices"], dtype=np.float64)
    ideal = np.array(data.get("ideal", vertices.max(0)), dtype=np.float64)
    nadir = np.array(data.get("nadir", vertices.min(0)), dtype=np.float64)
    return Exact(list(data["names"]), vertices, ideal, nadir)


def _mapping(file: Path) -> dict[str, Any]:
    return _load(file, dict) or {}


def _load(file: Path, kind: type) -> Any:
    if not file.is_file():
        return None
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise HeedError("this is not JSON", where=f"{file}:{error.lineno}", fix="mend or delete it") from error
    if not isinstance(data, kind):
        raise HeedError(f"this is not a JSON {kind.__name__}", where=str(file), fix="mend or delete it")
    return data


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
