"""What the runs of the experiment said: how often they declined, before and after, and answers side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from heed.align.data.conversations import as_message_prompt
from heed.compare.real.prompts import KINDS, refuses
from heed.runs.statistics import crossed_cell


def kinds_of(file: Path) -> dict[str, str]:
    """Of each prompt of the evaluation its kind."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return {as_message_prompt(row["prompt"])[-1]["content"]: row["kind"] for row in rows}


def answers_of(run: Path, when: str) -> dict[str, str]:
    """A run's answer to each prompt, ``before`` its first round or ``after`` its last; the first of several."""
    table = pq.read_table(run / "completions" / f"{when}.parquet", columns=["prompt", "completion"])
    found: dict[str, str] = {}
    for prompt, answer in zip(table["prompt"].to_pylist(), table["completion"].to_pylist(), strict=True):
        found.setdefault(prompt, answer)
    return found


def refusals(runs: Mapping[str, Sequence[Path]], kinds: Mapping[str, str]) -> list[dict[str, Any]]:
    """Shares of the prompts of each kind that are declined: before, and after each method.

    Args:
        runs: by method, the runs of all seeds.
        kinds: of each prompt its kind.

    Returns:
        A row for "before" (the first method's runs: before the first round all are alike) and for each method, with a
        cell for each kind: a mean and its 95% interval over seeds and prompts (`crossed_cell`).
    """

    def declined(folders: Sequence[Path], when: str, kind: str) -> Any:
        said = [answers_of(folder, when) for folder in folders]
        return np.array([[refuses(each[prompt]) for prompt in kinds if kinds[prompt] == kind] for each in said], float)

    first = next(iter(runs.values()))  # all methods begin from one model, and are evaluated with their seeds
    rows = [("before", first, "before"), *((method, folders, "after") for method, folders in runs.items())]
    return [
        {"method": label} | {kind: crossed_cell(declined(folders, when, kind)) for kind in KINDS}
        for label, folders, when in rows
    ]


def side_by_side(runs: Mapping[str, Sequence[Path]], kinds: Mapping[str, str], shown: int) -> list[dict[str, Any]]:
    """Answers to the first prompts of each kind in turn: before, and after each method with its first seed."""
    first = {method: folders[0] for method, folders in runs.items()}
    before = answers_of(next(iter(first.values())), "before")
    after = {method: answers_of(folder, "after") for method, folder in first.items()}
    prompts = [prompt for prompt in kinds if prompt in before][:shown]
    return [
        {
            "prompt": prompt,
            "kind": kinds[prompt],
            "answers": {"before": before[prompt]} | {method: said[prompt] for method, said in after.items()},
        }
        for prompt in prompts
    ]
