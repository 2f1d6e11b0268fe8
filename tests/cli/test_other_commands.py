"""The commands that train nothing, and what the bare command says."""

import json
import re

import pytest

import heed as package
from heed.cli import COMMANDS
from heed.compare.pool import Progress
from heed.oversight.store.store import Judgement, Store
from tiny_runs import tiny_defaults, tiny_flags


def test_the_bare_command_lists_the_commands(heed):
    for arguments in ((), ("--help",), ("-h",)):
        code, out, err = heed(*arguments)
        assert code == 0 and err == ""
        assert re.findall(r"^  heed (\w+)", out, flags=re.MULTILINE) == list(COMMANDS)


def test_the_version_is_the_package_s(heed):
    assert heed("--version")[:2] == (0, package.__version__ + "\n")


@pytest.mark.parametrize(
    "command", [*COMMANDS, "bench gradients", "bench step", "bench generate", "bench plan", "compare align"]
)
def test_every_command_has_a_help(heed, command):
    code, out, err = heed(*command.split(), "--help")
    assert code == 0 and out.startswith(f"usage: heed {command}") and err == ""


def test_report_writes_a_page_that_can_be_made_again(heed, heed_cache, tmp_path):
    assert heed("align", *tiny_flags(steps=1), "--out", tmp_path / "run")[0] == 0
    page = tmp_path / "run" / "report.html"
    first = page.read_bytes()
    page.unlink()
    code, out, _ = heed("report", tmp_path / "run")
    assert (code, out.strip()) == (0, str(page))
    assert len(page.read_bytes()) == len(first)


def test_the_demo_goes_from_nothing_to_a_report(heed, heed_cache, tmp_path, monkeypatch):
    monkeypatch.setattr("heed.compare.demo.defaults", tiny_defaults)
    code, out, err = heed("demo", "--steps", "1", "--guard-steps", "0", "--out", tmp_path / "demo")
    assert (code, out.strip()) == (0, str(tmp_path / "demo" / "report.html")), err
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())
    moved = summary["runs"]["GAPO, p = 1"]["help"]
    assert f"GAPO, p = 1: help {moved['start']:.2f} -> {moved['gold']:.2f}" in err
    assert "judges agree with held-out comparisons: help" in err


def test_a_table_of_methods_is_printed_and_gone_on_with(heed, heed_cache, tmp_path, monkeypatch):
    def pretend(job, out, on_progress, resumed, on_stage, results):
        assert results is None
        on_stage("warm start", 1, 2)
        on_progress(Progress(1, 2, 10, 20, "mgda seed 0"))
        asked.append((job, resumed))
        return {"columns": ["help"], "rows": [{"method": "mgda", "help": {"mean": 1.0, "n": 1}}], "notes": ["one"]}

    asked = []
    monkeypatch.setattr("heed.compare.methods.compare_methods", pretend)
    monkeypatch.setattr("heed.report.write_report", lambda out: out / "report.html")
    out = tmp_path / "table"
    code, printed, err = heed("compare", "align", "--methods", "mgda,gapo:p=2", "--budget", "7", "--out", out)
    assert code == 0 and "| mgda | 1 |" in printed and printed.endswith(f"{out / 'report.html'}\n")
    assert "warm start: 1/2" in err and "rounds: 10/20 1/2 runs  mgda seed 0" in err
    job, resumed = asked[0]
    assert (job.methods, job.seeds, job.settings["steps"], resumed) == (["mgda", "gapo:p=2"], 5, 7, False)
    assert (job.settings["world"], job.settings["rewards"]) == ("apothecary", "gold")


def test_what_people_did_when_they_took_over_becomes_a_dataset(heed, tmp_path):
    place = tmp_path / "judgements.db"
    store = Store(f"sqlite:///{place}")
    for step in (3, 4):
        shown = {"env": "Walk", "episode": 0, "step": step, "observation": [0.5], "action": [0.0]}
        store.add(Judgement("block", "ada", shown, {"block": True, "acted": True, "instead": [1.0]}))
    store.close()
    code, out, _ = heed("judgements", place, "--demonstrations", tmp_path / "demos", "--fps", "5")
    assert (code, out) == (0, f"1 demonstrations of 2 steps in {tmp_path / 'demos'}\n")
    assert json.loads((tmp_path / "demos/meta/info.json").read_text())["fps"] == 5
    for flags, wrong in (
        (["--fps", "5"], "give --demonstrations too"),
        (["--demonstrations", tmp_path / "other", "--fps", "0"], "0 steps in a second are no pace"),
        (["--demonstrations", tmp_path / "demos"], "there is something already"),
        (["--demonstrations", tmp_path / "other", "--format", "trl"], "'trl' is no format of demonstrations"),
        (["--demonstrations", tmp_path / "other", "--export", tmp_path / "a.jsonl"], "only one of these"),
    ):
        code, _, err = heed("judgements", place, *flags)
        assert code == 2 and wrong in err
