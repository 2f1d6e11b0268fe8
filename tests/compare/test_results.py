"""A file of finished runs: it travels, what is in it is not made again, and tables of it are those of the folders."""

import json
import shutil

import pytest

from heed.compare import front as front_module
from heed.compare import methods as methods_module
from heed.compare import results as results_module
from heed.compare.front import FrontJob, run_front
from heed.compare.methods import MethodsJob, compare_methods
from heed.compare.results import Results, outcome
from heed.compare.tasks import Task
from heed.errors import HeedError, Stopped
from tiny_runs import metrics, run_all_here, tiny_settings


@pytest.fixture(scope="module")
def made(heed_cache, tmp_path_factory):
    """A table of two methods, its runs' file, and the table."""
    folder = tmp_path_factory.mktemp("results")
    job = MethodsJob(["gapo:p=2", "linear"], 1, 1, tiny_settings(steps=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(methods_module, "run_all", run_all_here)
        table = compare_methods(job, folder / "table", results=Results(folder / "runs.jsonl"))
    return folder, job, table


def test_a_table_of_the_file_is_the_table_of_the_folders_and_nothing_runs(made, tmp_path, monkeypatch):
    folder, job, table = made
    seen = []
    monkeypatch.setattr(methods_module, "run_all", lambda tasks, *_: seen.extend(tasks) or [])
    monkeypatch.setattr(methods_module, "prepare_world", lambda *_: pytest.fail("no world is needed"))
    assert compare_methods(job, tmp_path / "again", results=Results(folder / "runs.jsonl")) == table
    assert seen == []
    assert len((folder / "runs.jsonl").read_text().splitlines()) == 2


def test_what_is_missing_in_the_file_is_made_and_added(made, tmp_path, monkeypatch):
    folder, job, table = made
    first = (folder / "runs.jsonl").read_text().splitlines()[0]
    file = tmp_path / "runs.jsonl"
    file.write_text(first + "\n")
    shutil.copytree(folder / "table", tmp_path / "table")
    began = []

    def watched(tasks, *rest):
        began.extend(task.label for task in tasks)
        return run_all_here(tasks, *rest)

    monkeypatch.setattr(methods_module, "run_all", watched)
    assert compare_methods(job, tmp_path / "table", resumed=True, results=Results(file)) == table
    assert began == ["linear seed 0"]
    assert [json.loads(line)["run"] for line in file.read_text().splitlines()] == ["gapo:p=2 seed 0", "linear seed 0"]


def test_a_front_of_the_file_is_the_front_of_the_folders_trunks_and_one_policy_included(
    heed_cache, tmp_path, monkeypatch
):
    settings = tiny_settings(steps=3, settle=2, eval_every=2, eval_prompts=20, learning_rate=0.02, through="prompt")
    job, file = FrontJob(["tchebycheff", "conditioned:linear"], 2, 1, 1, settings), tmp_path / "runs.jsonl"
    monkeypatch.setattr(front_module, "run_all", run_all_here)
    made = run_front(job, tmp_path / "front", results=Results(file))
    began = ["trunk-seed0", "tchebycheff-0.1-0.9-seed0", "tchebycheff-0.9-0.1-seed0", "conditioned-linear-seed0"]
    assert [json.loads(line)["run"] for line in file.read_text().splitlines()] == began
    monkeypatch.setattr(front_module, "run_all", lambda tasks, *_: [pytest.fail("run again")] if tasks else [])
    monkeypatch.setattr(front_module, "prepare_world", lambda *_: pytest.fail("no world is needed"))
    again = run_front(job, tmp_path / "again", results=Results(file))
    known = {"points", "config_hash"}
    assert {key: value for key, value in again.items() if key not in known} == {
        key: value for key, value in made.items() if key not in known
    }
    assert [point["values"] for point in again["points"]] == [point["values"] for point in made["points"]]
    assert {point["adapter"] for point in again["points"]} == {None}  # it lies on another machine
    assert None not in {point["adapter"] for point in made["points"]}
    with pytest.raises(HeedError, match="soups need what lies in folders"):
        run_front(
            FrontJob(["soups"], 2, 1, 1, tiny_settings(eval_prompts=20)), tmp_path / "soups", results=Results(file)
        )


def test_the_runs_that_tell_a_front_s_scale_are_in_the_file_too(tmp_path, monkeypatch):
    """Learnt judges: what leans on one objective each tells ideal and nadir, and so every run's settings."""

    def pretend(tasks, workers, on_progress, told):
        began.extend(task.label for task in tasks)
        for task in tasks:
            if not task.label.startswith("anchor"):
                raise Stopped
            lean = task.settings["weighting"]["preference"][0]
            told(task, {name: {"start": 0.0, "gold": lean, "proxy": 1 + lean} for name in ("help", "harmless")})
        return []

    def here(folder, summary):
        made = {"seconds": 1.0, "tokens": 1, "conduct": {}, "curve": [], "made": "by hand"}
        return {"objectives": summary, **made}

    began, file = [], tmp_path / "runs.jsonl"
    monkeypatch.setattr(results_module, "outcome", here)
    monkeypatch.setattr(front_module, "prepare_world", lambda *_: None)
    job = FrontJob(["tchebycheff"], 2, 1, 1, tiny_settings(rewards="learnt", eval_prompts=20))
    monkeypatch.setattr(front_module, "run_all", pretend)
    for _ in range(2):
        with pytest.raises(Stopped):
            run_front(job, tmp_path / "front", results=Results(file))
    anchors = [label for label in began if label.startswith("anchor")]
    assert anchors == ["anchor-help", "anchor-harmless"]  # and not again


def test_what_a_run_came_to_is_what_its_files_say(made):
    folder, _, _ = made
    run = folder / "table" / "runs" / "linear-seed0"
    summary = json.loads((run / "summary.json").read_text())
    came = outcome(run, summary | {"failed_once": "no memory"})
    lines = metrics(run)
    assert came["objectives"]["help"]["gold"] == summary["objectives"]["help"]["gold"]
    assert came["conduct"]["least readable"] == min(line["well_formed"] for line in lines[1:])
    assert came["conduct"]["KL"] == lines[-1]["kl"]
    assert [point["step"] for point in came["curve"]] == [0, 2]
    assert came["curve"][-1]["harmless"] == summary["objectives"]["harmless"]["gold"]
    assert came["failed_once"] == "no memory"


def test_settings_that_differ_are_another_run_and_those_that_were_not_told_are_the_same(made, tmp_path):
    folder, _, _ = made
    results = Results(folder / "runs.jsonl")
    line = json.loads((folder / "runs.jsonl").read_text().splitlines()[0])
    same, other = (Task("a", line["settings"] | {"seed": seed}, tmp_path) for seed in (0, 1))
    assert results.missing([same, other]) == [other]
    short = {key: value for key, value in line["settings"].items() if key != "max_kl"}  # of a heed that had none
    line["settings"] = short
    (tmp_path / "old.jsonl").write_text(json.dumps(line) + "\n")
    assert Results(tmp_path / "old.jsonl").missing([same]) == []


@pytest.mark.parametrize(
    "line",
    [
        b'{"run": "x"}',
        b"\xff\xfe",
        b'{"kind": "front", "settings": {}, "came": {}}',
        b'{"kind": "align", "settings": {}, "came": {}}',
        b'{"kind": "align", "settings": "x", "came": {"objectives": 1, "seconds": 1, "conduct": 1, "curve": 1}}',
        b'{"kind": "align", "settings": {"p9": 1}, "came": {"objectives": 1, "seconds": 1, "conduct": 1, "curve": 1}}',
    ],
)
def test_a_line_that_is_no_run_is_named(made, tmp_path, line):
    folder, _, _ = made
    file = tmp_path / "runs.jsonl"
    good = (folder / "runs.jsonl").read_bytes().splitlines()[0]
    file.write_bytes(good + b"\n\n" + line + b"\n")  # files that are put together may have an empty line
    with pytest.raises(HeedError, match=r"runs\.jsonl, line 3"):
        Results(file)


def test_what_cannot_be_a_file_of_runs_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(HeedError, match="cannot be used: Is a directory"):
        Results(tmp_path)


def test_runs_with_a_model_of_one_s_own_are_no_lines(tmp_path):
    job = MethodsJob(["gapo"], 1, 1, tiny_settings(world=None, model="m", data="d.jsonl", objectives=["a=length"]))
    with pytest.raises(HeedError, match="--results"):
        compare_methods(job, tmp_path / "t", results=Results(tmp_path / "runs.jsonl"))
