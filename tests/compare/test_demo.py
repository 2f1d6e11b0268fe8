"""The demonstration: two runs side by side, their page, and the way back into it."""

import json

import pytest

from heed.compare import demo as demo_module
from heed.compare.demo import headline, run_demo
from heed.compare.demo_guard import guard_headline, run_guard_half
from heed.errors import HeedError, Stopped
from heed.runs.folder import RunFolder
from tiny_runs import contents, metrics, run_all_here, tiny_defaults

LABELS = ("GAPO, p = 1", "PPO on help alone")


def read(file):
    return json.loads(file.read_text())


@pytest.fixture(scope="module", autouse=True)
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_module, "defaults", tiny_defaults)
        patch.setattr(demo_module, "run_all", run_all_here)
        yield


def test_the_second_half_is_a_guarded_agent_beside_two_others_and_its_page_draws_them(tmp_path):
    seen = []
    with RunFolder.create(tmp_path / "demo", {}, kind="demo") as run:
        told = run_guard_half(run, 40, 3, seen.append)
    folders = {item["label"]: tmp_path / "demo" / item["path"] for item in told["runs"]}
    assert list(folders) == ["MBHI", "HIRL", "unguarded"]
    found = {label: read(folder / "summary.json") for label, folder in folders.items()}
    assert [run["method"] for run in found.values()] == ["mbhi", "hirl", "none"]
    assert all((run["seed"], run["env_steps"], run["evaluation_episodes"]) == (3, 40, 5) for run in found.values())
    assert told["headline"] == guard_headline(found)
    assert f"unguarded {found['unguarded']['catastrophes']['autonomy']} in 20 steps (" in told["headline"]
    assert told["headline"].count(" goal") == 3 - told["headline"].count("never left alone")
    assert seen[-1].done == 3 and seen[-1].steps == 120
    page = (folders["MBHI"] / "report.html").read_text()
    assert "HIRL" in page and "unguarded" in page


@pytest.fixture(scope="module")
def made(heed_cache, tiny, tmp_path_factory):
    out, rounds = tmp_path_factory.mktemp("demo") / "demo", []
    return out, run_demo(out, steps=1, seed=0, on_progress=rounds.append, guard_steps=0), rounds


def test_the_demo_lists_its_runs_and_they_list_each_other(made):
    out, summary, _ = made
    demo = read(out / "demo.json")
    assert demo["runs"] == [{"label": LABELS[0], "path": "gapo"}, {"label": LABELS[1], "path": "help-only"}]
    assert read(out / "gapo" / "siblings.json") == [{"label": LABELS[1], "path": "../help-only"}]
    assert read(out / "help-only" / "siblings.json") == [{"label": LABELS[0], "path": "../gapo"}]
    assert demo["judges"] == summary["judges"] and set(demo["judges"]) == {"help", "harmless"}


def test_the_runs_differ_in_their_method_only(made):
    out, summary, _ = made
    found = [read(out / folder / "summary.json") for folder in ("gapo", "help-only")]
    assert [run["method"] for run in found] == ["gapo", "single:help"]
    assert [run["objectives"] for run in found] == list(summary["runs"].values())
    assert found[0]["objectives"]["help"]["start"] == found[1]["objectives"]["help"]["start"]
    assert metrics(out / "gapo")[0] == metrics(out / "help-only")[0]
    assert read(out / "summary.json")["completed"] and read(out / "summary.json")["kind"] == "demo"


def test_both_runs_are_followed(made):
    _, _, seen = made
    assert [(progress.latest, progress.done, progress.total) for progress in seen] == [
        (LABELS[0], 1, 2),
        (LABELS[1], 2, 2),
    ]


def test_the_page_and_the_runs_pages_are_there_and_tell_the_headline(made):
    out, summary, _ = made
    for folder, told in ((out, "PPO on help alone"), (out / "gapo", "gapo"), (out / "help-only", "help-only")):
        assert told in (folder / "report.html").read_text()
    moved = summary["runs"][LABELS[0]]["help"]
    assert f"help {moved['start']:.1f} to {moved['gold']:.1f}" in read(out / "demo.json")["headline"]


def test_a_demo_that_was_stopped_is_gone_on_with(made, tmp_path):
    whole, summary, _ = made

    def stop(progress):
        if progress.done == 1:
            raise Stopped

    with pytest.raises(Stopped):
        run_demo(tmp_path / "demo", steps=1, seed=0, on_progress=stop, guard_steps=0)
    first = contents(tmp_path / "demo" / "gapo")
    with pytest.raises(HeedError, match="seed: 0 -> 99; steps: 1 -> 2"):
        run_demo(tmp_path / "demo", steps=2, seed=99, resumed=True)
    again = run_demo(tmp_path / "demo", steps=1, resumed=True)
    after = contents(tmp_path / "demo" / "gapo")
    assert {name: after[name] for name in first} == first  # a page and its siblings came, nothing else changed
    assert again["runs"] == summary["runs"] and (again["steps"], again["seed"]) == (1, 0)
    assert metrics(tmp_path / "demo" / "help-only") == metrics(whole / "help-only")


def test_the_headline_tells_every_run_s_way():
    moves = {"help": {"start": 5.12, "gold": 8.26}, "harmless": {"start": -2.4, "gold": -0.5}}
    told = headline({"GAPO": {"objectives": moves}, "PPO": {"objectives": moves}})
    assert told.startswith("GAPO: help 5.1 to 8.3, harmless -2.4 to -0.5; PPO: help 5.1 to 8.3")
