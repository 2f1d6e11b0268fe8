"""What docs/evidence says is what its runs came to, and a slice of them, made again, comes to the same."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from evidence.pages import FOLDER, commands, pages, printed
from heed.align.run.apothecary import ApothecarySetup, prepare
from heed.align.run.train import train
from heed.compare.align_runs import trainer_of
from heed.compare.results import Results
from heed.compare.tasks import Task
from heed.errors import Stopped

SLICE = 20
"""Rounds that are made again: to the first evaluation after the start."""


def runs_of(file: Path):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_every_file_of_runs_has_its_page():
    files = {file.stem for file in FOLDER.glob("*.jsonl")}
    named = {name for name in files for page in pages() if f"docs/evidence/{name}.jsonl" in page.read_text()}
    assert files == named != set()


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_the_tables_of_a_page_are_those_of_its_runs(page):
    for command, table in commands(page):
        assert printed(command) == table


def test_files_of_runs_are_whole_and_name_no_run_twice():
    for file in FOLDER.glob("*.jsonl"):
        found = Results(file)
        assert len(found) == len(runs_of(file))


def test_a_slice_made_again_lies_where_the_runs_of_its_method_lie(tmp_path, monkeypatch):
    """Other machines round otherwise, and a policy soon differs; so it is held against the spread of the seeds."""
    monkeypatch.setenv("HEED_CACHE", str(tmp_path / "cache"))
    runs = runs_of(FOLDER / "jolts.jsonl")
    settings = runs[0]["settings"]
    prepare(ApothecarySetup(tuple(settings["world_objectives"]), settings["world_seed"]), judges=False)
    task = Task("slice", settings, tmp_path / "run")

    def stop(step, _):
        if step == SLICE:
            raise Stopped

    with pytest.raises(Stopped):
        train(trainer_of(task), stop)
    lines = [json.loads(line) for line in (task.folder / "metrics.jsonl").read_text().splitlines()]
    values = {line["step"]: line for line in lines if "eval/gold/help" in line}
    alike = [run for run in runs if run["settings"] | {"seed": 0} == settings | {"seed": 0}]
    assert len(alike) >= 4
    gains = [{point["step"]: point for point in run["came"]["curve"]} for run in alike]
    gained = np.mean([each[SLICE]["harmless"] - each[0]["harmless"] for each in gains])
    assert values[SLICE]["eval/gold/harmless"] - values[0]["eval/gold/harmless"] > gained / 2 > 0.5  # it has learnt
    for name in settings["world_objectives"]:
        for step in (0, SLICE):
            kept = np.array([point[name] for run in alike for point in run["came"]["curve"] if point["step"] == step])
            half = stats.t.ppf(0.9995, len(kept) - 1) * kept.std(ddof=1) * np.sqrt(1 + 1 / len(kept))
            assert abs(values[step][f"eval/gold/{name}"] - kept.mean()) <= half, (name, step)
