"""The demo's page: its runs side by side, and those that are gone."""

import json
import shutil

from guard_runs import make_guard_run
from reading import read


def test_a_demo_page_compares_its_runs(demo_run):
    page = read(demo_run)
    assert "it poisons its customers." in page.text
    assert "warm start 5.10 −2.40 GAPO (p = 1) 8.10 −0.55 help only 12.0 −24.8" in page.text
    assert "objective agreement help 91.2% harmless 87.4%" in page.text
    assert ("a", "gapo/report.html") in page.addresses


def test_a_demo_whose_run_is_gone_says_which(demo_run):
    shutil.rmtree(demo_run / "help-only")
    text = read(demo_run).text
    assert "The run help only cannot be shown: this folder holds no run." in text
    assert "help rose" not in text
    assert "GAPO (p = 1) 8.10 −0.55" in text


def test_a_demo_page_tells_how_long_each_agent_was_watched_and_alone(demo_run):
    make_guard_run(demo_run / "guard" / "mbhi", oversight=800)
    make_guard_run(demo_run / "guard" / "none", method="none", oversight=500)
    runs = [{"label": label, "path": f"guard/{name}"} for label, name in (("MBHI", "mbhi"), ("unguarded", "none"))]
    told = json.loads((demo_run / "demo.json").read_text())
    (demo_run / "demo.json").write_text(json.dumps(told | {"guard": {"headline": "It looks ahead", "runs": runs}}))
    text = read(demo_run).text
    assert "steps before catastrophes before steps alone catastrophes alone" in text
    assert "MBHI 800 6 200 0" in text and "unguarded 500 5 500 1" in text
