"""The table of methods: what its rows mean, which weight is tuned."""

import csv
import json

import numpy as np
import pytest

from heed.compare import methods as methods_module
from heed.compare import results as results_module
from heed.compare.methods import (
    CONDUCT,
    FELL,
    PAPER_TABLE,
    TUNING_GRID,
    VALUES,
    MethodsJob,
    compare_methods,
    method_settings,
    scaled_linear,
)
from heed.compare.tables import format_table
from heed.errors import HeedError
from heed.report import write_report
from heed.runs.statistics import interquartile_cell, mean_cell
from heed.worlds.apothecary import Apothecary, hypervolume
from tiny_runs import metrics, run_all_here, tiny_settings

FRONT = Apothecary().front()
NAMES = ["help", "harmless"]


@pytest.fixture(scope="module")
def here():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(methods_module, "run_all", run_all_here)
        yield


@pytest.fixture(scope="module")
def made(heed_cache, here, tmp_path_factory):
    out = tmp_path_factory.mktemp("methods") / "table"
    job = MethodsJob(["gapo:p=2", "linear:scaled"], 2, 1, tiny_settings(steps=2))
    return out, job, compare_methods(job, out)


def pretended(folder, summary):
    """What a run came to that left no files."""
    curve = [{"step": step, **dict.fromkeys(NAMES, float(step))} for step in (0, 1)]
    return summary | {"conduct": dict.fromkeys(CONDUCT, 1.0), "made": "by hand", "tokens": 1, "curve": curve}


def test_methods_of_the_paper_s_table_mean_what_they_say():
    told = {method: method_settings(method, NAMES, [10.0, 2.0]) for method in PAPER_TABLE if method != "linear:tuned"}
    assert told == {
        "single:help": {"method": "single:help", "weighting": {}},
        "single:harmless": {"method": "single:harmless", "weighting": {}},
        "linear": {"method": "linear", "weighting": {"weights": [0.5, 0.5]}},
        "linear:scaled": {"method": "linear", "weighting": {"weights": [0.05, 0.25]}},
        "mgda": {"method": "mgda", "weighting": {}},
        "gapo:p=1": {"method": "gapo", "weighting": {"p": 1}},
        "gapo:p=2": {"method": "gapo", "weighting": {"p": 2}},
    }
    for pair in ("p", "p=", "=2"):
        with pytest.raises(HeedError, match=f"'{pair}' is no setting of gapo"):
            method_settings(f"gapo:{pair}", NAMES, [1.0, 1.0])


def test_a_method_s_settings_are_of_the_types_that_they_have():
    told = method_settings("gapo:p=2:epochs=3:kl_beta=1e-2:gram=unbiased", NAMES, [1.0, 1.0])
    assert told == {"method": "gapo", "weighting": {"p": 2}, "epochs": 3, "kl_beta": 0.01, "gram": "unbiased"}
    assert [type(told[name]) for name in ("epochs", "kl_beta")] == [int, float]
    assert method_settings("cagrad:weighting.c=0.3", NAMES, [1.0, 1.0])["weighting"] == {"c": 0.3}


def test_commas_between_settings_are_as_good_as_colons():
    job = MethodsJob(["gapo:p=2", "floor=0.1", "mgda", "cagrad:c=0.3"])
    assert job.methods == ["gapo:p=2,floor=0.1", "mgda", "cagrad:c=0.3"]
    assert method_settings(job.methods[0], NAMES, [1.0, 1.0])["weighting"] == {"p": 2, "floor": 0.1}


def test_a_setting_for_all_methods_is_taken_by_those_that_have_it(monkeypatch, tmp_path):
    def pretend(tasks, workers, on_progress=None, on_finished=None):
        seen.update({task.label: task.settings["weighting"] for task in tasks})
        objectives = {name: {"gold": 1.0, "start": 0.0} for name in NAMES}
        return [{"objectives": objectives, "seconds": 1.0}] * len(tasks)

    seen = {}
    monkeypatch.setattr(methods_module, "run_all", pretend)
    monkeypatch.setattr(methods_module, "prepare_world", lambda *_: None)
    monkeypatch.setattr(results_module, "outcome", pretended)
    job = MethodsJob(["gapo", "gapo:p=2", "mgda"], 1, 1, tiny_settings(p=3.0))
    compare_methods(job, tmp_path / "table")
    assert seen == {"gapo seed 0": {"p": 3.0}, "gapo:p=2 seed 0": {"p": 2}, "mgda seed 0": {}}


def test_the_warm_start_is_that_of_prompts_that_carry_nothing():
    """RiC's prompts carry rewards even before the first round; its start is no warm start of the others."""

    def run(start, end):
        objectives = {name: {"start": start, "gold": end} for name in NAMES}
        return pretended(None, {"objectives": objectives, "seconds": 1.0})

    table = methods_module._table(NAMES, {"ric": [run(-9.0, 1.0)], "mgda": [run(-3.0, 2.0)]}, FRONT, [], [])
    assert [(row["method"], row["help"]["mean"]) for row in table["rows"][:3]] == [
        ("warm start", -3.0), ("ric", 1.0), ("mgda", 2.0)
    ]  # fmt: skip


def test_rows_are_the_exact_values_of_the_runs_over_seeds(made):
    out, _, table = made
    assert [row["method"] for row in table["rows"]] == [
        "warm start", "gapo:p=2", "linear:scaled", "exact: best scaled average"
    ]  # fmt: skip
    runs = [json.loads((out / "runs" / f"gapo-p-2-seed{seed}" / "summary.json").read_text()) for seed in (0, 1)]
    values = np.array([[run["objectives"][name]["gold"] for name in NAMES] for run in runs])
    row = table["rows"][1]
    for k, name in enumerate(NAMES):
        assert row[name] == mean_cell(values[:, k])
    assert row["average raw"] == mean_cell(values.mean(1))
    assert row["average scaled"] == mean_cell(FRONT.scale(values).mean(1))
    whole = FRONT.hypervolume(FRONT.vertices, FRONT.references[0], hull=True)
    shares = [hypervolume(v[None], FRONT.references[0]) / whole for v in values]
    assert row["share of exact hypervolume"] == mean_cell(shares)
    scaled = FRONT.scale(values)
    assert row["worst objective, scaled"] == mean_cell(scaled.min(1))
    assert row["interquartile mean, scaled"] == interquartile_cell(scaled.mean(1))
    rounds = [metrics(out / "runs" / f"gapo-p-2-seed{seed}") for seed in (0, 1)]  # the first is before any round
    assert row["least readable"]["mean"] == pytest.approx(
        np.mean([min(r["well_formed"] for r in run[1:]) for run in rounds])
    )
    assert row["KL"]["mean"] == pytest.approx(np.mean([run[-1]["kl"] for run in rounds]))
    assert 0 < row["minutes"]["mean"] < 1
    assert row["runs that fell"]["mean"] == np.mean([min(r["well_formed"] for r in run[1:]) < 0.5 for run in rounds])
    better = {row["method"]: row for row in table["improvement"]["rows"]}
    assert "gapo:p=2" not in better["gapo:p=2"]  # no method is compared with itself
    pair = better["gapo:p=2"]["linear:scaled"]["mean"], better["linear:scaled"]["gapo:p=2"]["mean"]
    assert sum(pair) == pytest.approx(1.0)
    start = [run["objectives"]["help"]["start"] for run in runs]
    assert table["rows"][0]["help"] == mean_cell(start)
    best = FRONT.optimum(1 / FRONT.ranges)
    assert [table["rows"][3][name]["mean"] for name in NAMES] == pytest.approx(best)


def test_what_is_written_is_the_table_and_a_page_of_it(made):
    out, _, table = made
    assert json.loads((out / "compare.json").read_text()) == table
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["kind"], summary["seeds"], summary["steps"], summary["completed"]) == ("compare", 2, 2, True)
    assert summary["rows"] == table["rows"]
    lines = (out / "compare.md").read_text().splitlines()
    assert lines[:2] == format_table(table).splitlines()[:2]
    cells = list(csv.DictReader((out / "compare.csv").open()))
    assert [line["method"] for line in cells] == [row["method"] for row in table["rows"]]
    assert float(cells[1]["help, mean"]) == table["rows"][1]["help"]["mean"] and cells[0]["KL, mean"] == ""
    tex = (out / "compare.tex").read_text()
    assert tex.startswith("\\begin{tabular}{lrrrrrrrrrrr}") and tex.count("\\\\\n") == len(table["rows"]) + 1
    html = write_report(out).read_text()
    assert "Which is better" in html
    assert "share of exact hypervolume" in html and "exact: best scaled average" in html


def test_going_on_takes_what_the_folder_records_and_runs_nothing_twice(made, monkeypatch):
    out, job, table = made
    assert MethodsJob.resumed(out, 1, {"seeds": 2}) == job
    with pytest.raises(HeedError, match="seeds: 2 -> 3"):
        MethodsJob.resumed(out, 1, {"seeds": 3})
    monkeypatch.setattr("tiny_runs.train", lambda *_: pytest.fail("run again"))
    assert compare_methods(job, out, resumed=True) == table


def test_the_text_table_shows_intervals_where_there_are_several_seeds(made):
    lines = format_table(made[2]).splitlines()
    assert lines[0] == "| method | " + " | ".join([*NAMES, *VALUES, FELL, *CONDUCT]) + " |"
    row = made[2]["rows"][1]["help"]
    assert lines[3].startswith(f"| gapo:p=2 | {row['mean']:.3g} ({row['low']:.3g} to {row['high']:.3g}) |")
    best = made[2]["rows"][3]["help"]["mean"]
    assert lines[5].startswith(f"| exact: best scaled average | {best:.3g} |")


def test_the_notes_tell_the_advantage_and_the_gram_and_not_a_preset(made):
    settings = made[1].settings
    assert f"advantage {settings['advantage']}, {settings['gram']} Gram matrix, gold rewards" in made[2]["notes"][0]
    assert "preset" not in made[2]["notes"][-2]


def test_the_tuned_weight_is_the_one_with_the_best_scaled_average(monkeypatch, tmp_path):
    """Runs are replaced by values that are best at the second weight of the grid."""
    seen = []

    def pretend(tasks, workers, on_progress=None, on_finished=None):
        found = []
        for task in tasks:
            seen.append((task.label, task.settings["seed"], task.settings["weighting"]["weights"]))
            weight = task.settings["weighting"]["weights"][0] * FRONT.ranges[0]
            value = FRONT.nadir + FRONT.ranges * (1 - (weight - TUNING_GRID[1]) ** 2)
            objectives = {n: {"gold": float(v), "start": 0.0} for n, v in zip(NAMES, value, strict=True)}
            found.append({"objectives": objectives, "seconds": 360.0})
        return found

    monkeypatch.setattr(methods_module, "run_all", pretend)
    monkeypatch.setattr(methods_module, "prepare_world", lambda *_: None)
    monkeypatch.setattr(results_module, "outcome", pretended)
    table = compare_methods(MethodsJob(["linear:tuned"], 2, 1, tiny_settings()), tmp_path / "table")
    best = scaled_linear([TUNING_GRID[1], 1 - TUNING_GRID[1]], FRONT.ranges)["weighting"]["weights"]
    assert [label for label, _, _ in seen[: len(TUNING_GRID)]] == [f"tuning {w:g}" for w in TUNING_GRID]
    assert [weights for _, _, weights in seen[-2:]] == [best, best]
    tuning, table_seeds = ({seed for label, seed, _ in seen if label.startswith("tuning") is t} for t in (True, False))
    assert not tuning & table_seeds  # the table never judges on the seed that it tuned on
    assert f"linear:tuned is weight {TUNING_GRID[1]:g} on scaled help" in table["notes"][0]
    assert f"{(len(TUNING_GRID) + 2) / 10:.2f} hours of training in all" in table["notes"][1]  # tuning's runs too


def test_beside_a_constraint_stands_the_best_that_keeps_it(here, heed_cache, tmp_path):
    method = "lagrangian:constraints=harmless>=-0.5"
    table = compare_methods(MethodsJob([method], 1, 1, tiny_settings(steps=2)), tmp_path / "table")
    rows = {row["method"]: row for row in table["rows"]}
    exact = rows["exact: harmless>=-0.5"]
    assert exact["harmless"]["mean"] == pytest.approx(-0.5) and 8 < exact["help"]["mean"] < FRONT.ideal[0]
    assert method in rows


@pytest.mark.parametrize(
    ("methods", "changes", "said"),
    [
        (["gapo:p=1", "gappo"], {}, "did you mean gapo"),
        (["gapo:q=1"], {}, "no setting is called 'q' .--methods gapo:q=1.: see heed align --help"),
        (["gapo:p=-1"], {}, "p is -1"),
        (["gapo:p=1e"], {}, "p cannot be '1e' .--methods.: give a number"),
        (["gapo:epochs=2.5"], {}, "epochs cannot be '2.5' .--methods gapo:epochs=2.5.: give a whole number"),
        (["gapo:epochs=0"], {}, "0 is too little .--epochs"),
        (["gapo:gram=1"], {}, "gram cannot be '1' .--methods gapo:gram=1.: give plain or unbiased or adam"),
        (["mgda:p=2"], {}, "mgda has no p .--p.: take --method gapo"),
        (["mgda", "cagrad"], {"p": 2.0}, "mgda, cagrad have no p .--p.: take --method gapo, or leave it out"),
        (["linear"], {"weights": [1.0, 2.0]}, "bring their own weights .--weights"),
        (["mgda"], {"model": "m"}, "a world brings its own"),
        (["mgda"], {"eval_prompts": 0}, "nothing is evaluated, so nothing can be compared .--eval-prompts"),
        (["conditioned:pgapo:gram_memory=0.9"], {}, "would mix the preferences of a conditioned policy .--gram-memory"),
        (
            ["mgda", "soups"],
            {},
            "soups mixes the policies of other runs along preferences .--methods soups.: take heed front",
        ),
        (["single:price"], {}, "no objective 'price'"),
        (["lagrangian"], {}, "no objective has a level .--constraints"),
        (["lagrangian:constraints=harmless>=1"], {}, "harmless never gets to 1, its best is"),
        (
            ["lagrangian:constraints=harmless>=-0.13 brevity>=-3"],
            {"world_objectives": ["help", "harmless", "brevity"]},
            "no policy keeps these levels",
        ),
        (["mgda"], {"world": None}, "nothing to train"),
    ],
)
def test_a_table_that_cannot_begin_leaves_no_folder(here, tmp_path, methods, changes, said):
    with pytest.raises(HeedError, match=said):
        compare_methods(MethodsJob(methods, 1, 1, tiny_settings(**changes)), tmp_path / "table")
    assert not (tmp_path / "table").exists()
