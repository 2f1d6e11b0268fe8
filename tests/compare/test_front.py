"""A family of policies along preferences: what it writes, how it is judged, how it is gone on with."""

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from heed.balance import check_preference
from heed.compare import align_runs
from heed.compare import front as front_module
from heed.compare.front import (
    FrontJob,
    follows,
    hypervolume_rows,
    resumed_front,
    run_front,
    spread_preferences,
    summarise,
)
from heed.compare.front_measures import exact_optima, front_table, measures, values_table
from heed.errors import HeedError, RunFailed, Stopped
from heed.report import write_report
from heed.runs import folder as folder_module
from heed.runs.statistics import mean_cell
from heed.worlds.apothecary import Apothecary, hypervolume
from tiny_runs import contents, metrics, run_all_here, tiny_settings, without_sections

FRONT = Apothecary().front()
METHODS = ["tchebycheff", "linear"]
GRID = [[0.1, 0.9], [0.9, 0.1]]


def job_of(methods=METHODS, **changes):
    settling = {"settle": 2, "eval_every": 2} if "tchebycheff" in methods else {}
    return FrontJob(list(methods), 2, 1, 1, tiny_settings(**{**settling, "eval_prompts": 40, **changes}))


@pytest.fixture(scope="module")
def here():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(front_module, "run_all", run_all_here)
        yield


@pytest.fixture(scope="module")
def made(heed_cache, here, tmp_path_factory):
    out, labels = tmp_path_factory.mktemp("front") / "front", []
    summary = run_front(job_of(), out, lambda found: labels.append(found.latest))
    return out, summary, labels


def read(out: Path, name: str):
    return json.loads((out / name).read_text())


def test_front_json_names_an_adapter_for_every_preference_with_the_values_that_it_achieves(made):
    out, _, _ = made
    found = read(out, "front.json")
    assert (found["names"], found["preferences"]) == (["help", "harmless"], GRID)
    assert [(a["method"], a["preference"], a["seed"]) for a in found["adapters"]] == [
        (method, preference, 0) for method in METHODS for preference in GRID
    ]
    for adapter in found["adapters"]:
        folder = out / adapter["adapter"]
        assert (folder / "adapter_model.safetensors").exists() and folder.name == "step-4"
        of_run = read(folder.parent.parent, "summary.json")["objectives"]
        assert adapter["values"] == [of_run["help"]["gold"], of_run["harmless"]["gold"]]
        told = yaml.safe_load((folder.parent.parent / "config.yaml").read_text())
        assert (told["method"], told["weighting"]["preference"]) == (adapter["method"], adapter["preference"])


def test_the_summary_is_what_scripts_rely_on(made):
    out, summary, _ = made
    written = read(out, "summary.json")
    common = {"kind", "method", "seed", "steps", "seconds", "version", "config_hash", "completed"}
    assert common | {"points", "hypervolume", "exact_hypervolume", "reference_point"} <= set(written)
    assert (written["kind"], written["completed"], written["seeds"], written["steps"]) == ("front", True, 1, 4)
    assert (written["method"], written["seed"]) == ("tchebycheff,linear", 0)
    assert written["points"] == read(out, "front.json")["adapters"]
    assert written["hypervolume"] == summary["hypervolume"]


def test_the_volumes_are_those_of_the_values(made):
    out, summary, _ = made
    points = read(out, "front.json")["adapters"]
    for method in METHODS:
        values = np.array([point["values"] for point in points if point["method"] == method])
        optima = np.array([FRONT.tchebycheff(p) for p in GRID])
        for row in summary["methods"][method]["volumes"]:
            reference, hull = FRONT.references[row["reference"]], row["hull"]
            volume = hypervolume(values, reference, hull=hull)
            assert row["volumes"] == [pytest.approx(volume)]
            assert row["of_exact_front"] == [pytest.approx(volume / FRONT.hypervolume(FRONT.vertices, reference, True))]
            assert row["of_tchebycheff_optima"] == [pytest.approx(volume / hypervolume(optima, reference, hull=hull))]
        assert summary["hypervolume"][method] == pytest.approx(hypervolume(values, FRONT.references[0]))
    assert summary["reference_point"] == list(FRONT.references[0])
    assert summary["exact_hypervolume"] == pytest.approx(FRONT.hypervolume(FRONT.vertices, hull=True))


def test_the_table_of_volumes_ends_with_the_exact_optima_and_the_exact_front(made):
    out, summary, _ = made
    found = read(out, "front.json")["hypervolume"]
    assert found["reference"] == list(FRONT.references[0])
    rows = {row["label"]: row for row in found["rows"]}
    assert list(rows) == [
        *METHODS,
        "exact optima at the same preferences",
        "exact optima of the weighted sum at the same preferences",
        "exact front",
    ]
    for method in METHODS:
        assert rows[method]["staircase"]["mean"] == pytest.approx(summary["hypervolume"][method])
    best = np.array([FRONT.tchebycheff(p) for p in GRID])
    summed = np.array([FRONT.optimum(p) for p in GRID])
    for label, values in (("exact optima at", best), ("exact optima of the weighted sum at", summed)):
        row = rows[f"{label} the same preferences"]
        assert row["staircase"]["mean"] == pytest.approx(hypervolume(values, FRONT.references[0]))
        assert row["hull"]["mean"] == pytest.approx(hypervolume(values, FRONT.references[0], hull=True))
        assert row["staircase"]["mean"] < row["hull"]["mean"] <= rows["exact front"]["hull"]["mean"]
    assert rows["exact front"]["hull"]["mean"] == summary["exact_hypervolume"]
    optima = read(out, "front.json")["optima"]
    assert optima == [{"preference": p, "values": FRONT.tchebycheff(p).tolist()} for p in GRID]


def test_the_page_shows_policies_volumes_and_optima(made):
    out, _, _ = made
    html = write_report(out).read_text()
    for words in ("exact optima at the same preferences", "exact front", "linear", "checkpoints/step-4", "staircase"):
        assert words in html


def test_preferences_branch_from_a_common_trunk(made):
    out, _, labels = made
    assert labels[0] == "trunk-seed0" and len(labels) == 5
    trunk = metrics(out / "runs" / "trunk-seed0")
    assert trunk[-1]["step"] == 2
    for preference in ("0.1-0.9", "0.9-0.1"):
        assert metrics(out / "runs" / f"tchebycheff-{preference}-seed0")[:3] == trunk
    ends = [point["values"] for point in read(out, "front.json")["adapters"]]
    assert ends[0] != ends[1]


def test_the_seconds_are_those_of_all_runs_and_of_the_trunk_once(made):
    out, summary, _ = made
    trunk = read(out / "runs" / "trunk-seed0", "summary.json")["seconds"]
    whole = [read(run, "summary.json")["seconds"] for run in (out / "runs").iterdir() if run.name != "trunk-seed0"]
    assert summary["seconds"] == pytest.approx(sum(whole) - trunk)  # two branches hold it, and it ran once


def test_a_method_is_told_its_own_settings_only(made):
    out, _, _ = made
    told = {
        name: yaml.safe_load((out / "runs" / f"{name}-0.1-0.9-seed0" / "config.yaml").read_text()) for name in METHODS
    }
    assert told["tchebycheff"]["weighting"]["settle"] == 2 and "settle" not in told["linear"]["weighting"]


@pytest.mark.parametrize(
    ("changes", "trunk"),
    [
        ({}, True),
        ({"cooldown_steps": 2}, True),
        ({"cooldown_steps": 3}, False),  # the branches' learning rate falls from the second round on
        ({"entropy_beta": 0.1}, False),  # it falls over all rounds of a run
        ({"eval_every": 0}, False),  # the trunk's last evaluation is none of the branches'
        ({"eval_every": 0, "eval_prompts": 0}, True),
        ({"eval_every": 1}, True),
        ({"settle": 0}, False),
        ({"settle": 4, "cooldown_steps": 0}, False),
    ],
)
def test_there_is_a_trunk_only_where_branches_are_what_they_are_alone(tmp_path, changes, trunk):
    job = job_of(["tchebycheff"], **changes)
    made = front_module._trunks(job, tmp_path, job.settings)
    assert {key: task.label for key, task in made.items()} == ({("tchebycheff", 0): "trunk-seed0"} if trunk else {})


def test_the_world_is_prepared_once_before_the_runs(heed_cache, tmp_path, monkeypatch):
    order = []

    def pretend(preparation, judges, on_stage):
        order.append((preparation.objectives, preparation.seed, judges))
        on_stage("warm start", 1, 2)

    def stop(tasks, *_):
        order.append("runs")
        raise Stopped

    monkeypatch.setattr(align_runs, "prepare", pretend)
    monkeypatch.setattr(front_module, "run_all", stop)
    with pytest.raises(Stopped):
        run_front(job_of(["linear"]), tmp_path / "front", on_stage=lambda *stage: order.append(stage))
    assert order == [(("help", "harmless"), 0, False), ("warm start", 1, 2), "runs"]
    assert not (tmp_path / "front").exists()


def test_a_full_disk_fails_the_front_in_one_line_and_keeps_its_runs(heed_cache, here, tmp_path, monkeypatch):
    write = folder_module.write_whole

    def fill(path, text):
        if path.name == "front.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, text)

    monkeypatch.setattr(folder_module, "write_whole", fill)
    with pytest.raises(RunFailed, match=r"front\.json could not be written: No space left on device"):
        run_front(job_of(["linear"], steps=1), tmp_path / "front")
    assert (tmp_path / "front" / "runs" / "linear-0.1-0.9-seed0" / "checkpoints").exists()


def test_going_on_runs_only_what_is_missing_and_leaves_the_rest_alone(made, tmp_path):
    made_by_one_go, _, _ = made
    out = tmp_path / "front"
    shutil.copytree(made_by_one_go, out)
    missing = "linear-0.9-0.1-seed0"
    shutil.rmtree(out / "runs" / missing)
    (out / "front.json").unlink()
    before = contents(out / "runs")
    run_front(resumed_front(out, 1, {}), out, resumed=True)
    after = contents(out / "runs")
    assert {name: after[name] for name in before} == before
    assert {Path(name).parts[0] for name in set(after) - set(before)} == {missing}
    whole, again = (read(folder, "front.json")["adapters"] for folder in (made_by_one_go, out))
    assert [(a["values"], a["adapter"]) for a in again] == [(a["values"], a["adapter"]) for a in whole]


def test_going_on_takes_what_the_folder_records(made):
    out, _, _ = made
    assert resumed_front(out, 1, {"seeds": 1}) == job_of()
    with pytest.raises(HeedError, match="preferences: 2 -> 5"):
        resumed_front(out, 1, {"preferences": 5})


def test_a_front_of_the_version_before_the_sections_is_gone_on_with(made, tmp_path):
    out = tmp_path / "front"
    shutil.copytree(made[0], out)
    for config in (out / "config.yaml", *out.glob("runs/*/config.yaml")):
        without_sections(config)
    assert resumed_front(out, 1, {"seeds": 1, "weighting": {"settle": 2}}) == job_of()
    with pytest.raises(HeedError, match=r"weighting\.settle: 2 -> 3"):
        resumed_front(out, 1, {"weighting": {"settle": 3}})
    before = contents(out / "runs")
    run_front(resumed_front(out, 1, {}), out, resumed=True)
    assert contents(out / "runs") == before


def test_where_the_front_is_not_known_anchors_give_its_scale(heed_cache, here, tmp_path):
    run_front(job_of(["tchebycheff"], rewards="learnt"), tmp_path / "front")
    anchors = [read(tmp_path / "front" / "runs" / f"anchor-{name}", "summary.json") for name in ("help", "harmless")]
    values = np.array([[a["objectives"][name]["proxy"] for name in ("help", "harmless")] for a in anchors])
    told = yaml.safe_load((tmp_path / "front" / "runs" / "tchebycheff-0.1-0.9-seed0" / "config.yaml").read_text())
    assert (told["weighting"]["ideal"], told["weighting"]["nadir"]) == (values.max(0).tolist(), values.min(0).tolist())
    runs = [read(run, "summary.json")["seconds"] for run in (tmp_path / "front" / "runs").iterdir()]
    trunk = read(tmp_path / "front" / "runs" / "trunk-seed0", "summary.json")["seconds"]
    assert read(tmp_path / "front", "summary.json")["seconds"] == pytest.approx(sum(runs) - 2 * trunk)
    leaning = yaml.safe_load((tmp_path / "front" / "runs" / "anchor-help" / "config.yaml").read_text())
    assert (leaning["method"], leaning["weighting"]["preference"]) == ("pgapo", [0.9, pytest.approx(0.1)])


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (job_of(["gapo"]), "gapo follows no preference"),
        (job_of(["tchebycheff"], mu=-1.0), "mu is -1"),
        (job_of(["linear"], mu=0.1), "linear has no mu .--mu"),
        (job_of(["linear", "pgapo"], p=2.0), "linear, pgapo have no p"),
        (job_of(["linear"], preference=[0.5, 0.5]), "a front has preferences of its own .--preference"),
        (job_of(["tchebycheff"], ideal=[12.0, 0.0]), "there is --ideal but no --nadir"),
        (job_of(model="m"), "a world brings its own"),
        (job_of(world=None), "there is nothing to train"),
        (job_of(world=None, objectives=["builtins:len", "builtins:hash"], rewards="learnt"), "--model"),
        (job_of(world_objectives=["help"]), "needs two objectives"),
        (FrontJob(METHODS, 1, 1, 1, tiny_settings()), "--preferences"),
        (FrontJob(METHODS, 2, 0, 1, tiny_settings()), "--seeds"),
    ],
)
def test_a_front_that_cannot_begin_leaves_no_folder(heed_cache, here, tmp_path, job, said):
    with pytest.raises(HeedError, match=said):
        run_front(job, tmp_path / "front")
    assert not (tmp_path / "front").exists()


def test_a_front_that_is_stopped_keeps_what_is_there(heed_cache, here, tmp_path):
    def stop(_):
        raise Stopped

    with pytest.raises(Stopped):
        run_front(job_of(["linear"]), tmp_path / "front", stop)
    assert (tmp_path / "front" / "runs" / "linear-0.1-0.9-seed0" / "checkpoints").exists()
    assert read(tmp_path / "front", "summary.json")["completed"] is False


@given(st.integers(2, 12), st.integers(2, 7))
def test_preferences_lie_inside_the_simplex_and_are_spread_evenly(count, k):
    for preference in spread_preferences(count, k):
        check_preference(preference, k)
    grid = np.array(spread_preferences(count, k))
    assert len(grid) >= count and grid.shape[1] == k
    assert grid.sum(1) == pytest.approx(1, abs=1e-12)
    assert (grid > 0).all() and len(np.unique(grid, axis=0)) == len(grid)
    assert np.sort(grid[:, 0]) == pytest.approx(np.sort(grid[:, -1]))  # no objective is favoured


@pytest.mark.parametrize("names", [["help", "harmless", "price"], ["help", "harmless", "brevity", "price"]])
def test_a_front_of_more_objectives_can_begin(names):
    job = FrontJob(["pgapo", "linear"], 5, 1, 1, tiny_settings(world_objectives=names))
    assert front_module._checked_grid(job, job.settings, names) == spread_preferences(5, len(names))


def test_a_front_that_slides_to_one_end_follows_nothing():
    assert follows([[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]], np.array([[1.0, 2.0]] * 3)) == [0.0, 0.0]
    assert follows([[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]], np.array([[3.0, 1.0], [2.0, 2.0], [1.0, 3.0]])) == [-1, -1]


def points_of(seeds, grid=GRID):
    return [
        {"preference": p, "method": "linear", "seed": s, "seconds": 1.0, "values": [p[0] * (9 + s), -p[0] - 0.1 * s]}
        for p in grid
        for s in range(seeds)
    ]


def test_over_several_seeds_the_table_tells_mean_and_interval_of_their_volumes():
    points = points_of(3)
    summary = summarise(["help", "harmless"], GRID, points, tiny_settings())
    fronts = [np.array([p["values"] for p in points if p["seed"] == seed]) for seed in range(3)]
    row = hypervolume_rows(summary, GRID, Apothecary())[0]
    assert row["staircase"] == mean_cell([hypervolume(f, FRONT.references[0]) for f in fronts])
    assert row["hull"] == mean_cell([hypervolume(f, FRONT.references[0], hull=True) for f in fronts])
    each = [measures(FRONT, "linear", GRID, found)["fit"] for found in fronts]
    assert row["fit"] == mean_cell(each)
    assert row["hull"]["n"] == 3 and row["hull"]["low"] < row["hull"]["mean"] < row["hull"]["high"]


def test_a_front_of_the_exact_optima_is_at_no_distance_from_them():
    optima = exact_optima(FRONT, "tchebycheff", GRID)["tchebycheff_optima"]
    found = measures(FRONT, "tchebycheff", GRID, optima)
    assert (found["igd_plus"], found["fit"]) == (0, 0)
    scaled = FRONT.scale(optima)
    apart = [min(np.abs(a - b).sum() for b in scaled if b is not a) for a in scaled]
    assert found["spacing"] == pytest.approx(np.std(apart, ddof=1))


def test_the_tables_of_fronts_tell_shares_worst_seeds_and_values_beside_the_exact_ones():
    points = points_of(3)
    points += [{**p, "method": "conditioned:linear", "values": [v + 1 for v in p["values"]]} for p in points]
    summary = summarise(["help", "harmless"], GRID, points, tiny_settings())
    table = front_table(summary)
    row = table["rows"][0]
    best = exact_optima(FRONT, "linear", GRID)
    fronts = [np.array([p["values"] for p in points[:6] if p["seed"] == seed]) for seed in range(3)]
    shares = [hypervolume(f, FRONT.references[1]) for f in fronts]
    shares = [share / hypervolume(best["tchebycheff_optima"], FRONT.references[1]) for share in shares]
    assert row["staircase, reference 2"] == mean_cell(shares)
    assert row["staircase, reference 2, worst seed"]["mean"] == pytest.approx(min(shares), abs=1e-3)
    assert row["rank correlation"]["mean"] == 1 and row["minutes"]["mean"] == pytest.approx(2 / 60)
    assert row["fit"] == mean_cell([measures(FRONT, "linear", GRID, f)["fit"] for f in fronts])
    assert set(row) == {"method", *table["columns"]} and "2 preferences, 3 seeds" in table["notes"][0]
    values = values_table(summary)["rows"]
    assert [row["method"] for row in values][1:3] == ["linear at 0.9, 0.1", "conditioned:linear at 0.1, 0.9"]
    assert [row["help"]["mean"] for row in values] == pytest.approx([1.0, 9.0, 2.0, 10.0])  # of seeds 0 to 2
    exact = [[row["help, exact"]["mean"], row["harmless, exact"]["mean"]] for row in values]
    np.testing.assert_allclose(exact, [*best["linear_optima"], *best["linear_optima"]], atol=1e-3)


def test_without_a_world_the_table_has_volumes_and_no_exact_values():
    summary = summarise(["a", "b"], GRID, points_of(2), tiny_settings(world=None))
    row = front_table(summary)["rows"][0]
    assert row["hull, reference 1"] == mean_cell(summary["methods"]["linear"]["volumes"][1]["volumes"])
    assert "fit" not in row and len(front_table(summary)["notes"]) == 2
    assert values_table(summary)["columns"] == ["a", "b"]


def test_distances_are_in_units_of_the_front_and_a_better_front_is_no_farther():
    optima = exact_optima(FRONT, "tchebycheff", GRID)["tchebycheff_optima"]
    worse, better = optima - 0.1 * FRONT.ranges, optima + 0.1 * FRONT.ranges
    assert measures(FRONT, "pgapo", GRID, worse)["fit"] == pytest.approx(0.1 * np.sqrt(2))
    missing = [[np.linalg.norm(np.maximum(FRONT.scale(o) - FRONT.scale(p), 0)) for p in worse] for o in optima]
    assert measures(FRONT, "pgapo", GRID, worse)["igd_plus"] == pytest.approx(np.mean(np.min(missing, axis=1)))
    assert measures(FRONT, "pgapo", GRID, better)["igd_plus"] == 0  # what is better than an optimum costs nothing
    for method in ("linear", "conditioned:linear"):
        linear = measures(FRONT, method, GRID, np.array([FRONT.optimum(p) for p in GRID]))
        assert linear["fit"] == 0 < linear["igd_plus"]  # its own kind of optimum, and that of all


def test_without_a_world_the_reference_lies_a_tenth_below_the_worst_values():
    points = points_of(1)
    summary = summarise(["a", "b"], GRID, points, tiny_settings(world=None))
    values = np.array([point["values"] for point in points])
    low, spread = values.min(0), np.ptp(values, axis=0)
    assert summary["reference_point"] == pytest.approx(low - 0.1 * spread)
    assert summary["exact_hypervolume"] is None
    assert summary["hypervolume"]["linear"] == pytest.approx(hypervolume(values, summary["reference_point"]))
    assert [row["label"] for row in hypervolume_rows(summary, GRID, None)] == ["linear"]
