"""Ways of guarding side by side: exact intervals, rows from summaries, a comparison that goes on after a stop."""

import json
import math

import pytest

from heed.compare.guards import COLUMNS, GuardsJob, compare_guards, row_of
from heed.errors import HeedError, Stopped
from heed.guard.run.config import GuardJob, variant
from heed.runs.folder import RunFolder
from heed.runs.statistics import share_cell

SMALL = {
    "steps": 160, "oversight_steps": 80, "learning_starts": 40, "batch_size": 16, "hidden": 16, "dynamics_hidden": 16,
    "evaluation_episodes": 1, "eps": 0.4, "horizon": 3, "plan_samples": 16, "members": 2, "least_blocks": 1,
    "particles": 1, "overseer": "far-sighted", "seed": 7,
    "models.blockers.updates": 100, "models.dynamics.updates": 100,
}  # fmt: skip


def run_of(**changes):
    return {
        "autonomy_steps": 5000, "interventions_autonomy": 100, "evaluation_episodes": 20, "false_blocks": 30,
        "early_blocks": 10,
        "catastrophes": {"oversight": 6, "autonomy": 2, "worst_500": 2},
        "fits": [{"flagged": 0.01}, {"flagged": 0.04}], "goals_late": 0.5, "return_mean": 3.0,
        "catastrophes_unguarded": 4, "goals_unguarded": 15, "judgements": 3000, **changes,
    }  # fmt: skip


def test_counts_are_summed_over_runs_and_means_taken_of_them():
    second = run_of(
        judgements=3200, catastrophes={"oversight": 8, "autonomy": 0, "worst_500": 0}, fits=[{}], goals_late=0.7
    )
    row = row_of("mbhi", [run_of(), second])
    assert [row[c]["mean"] for c in COLUMNS] == pytest.approx([7, 2, 0.6, 3.0, 0.3, 0.1, 2.0, 2, 0.04, 0.2, 0.75, 3100])
    assert row[COLUMNS[1]]["high"] == pytest.approx(7.225, abs=1e-3)  # two events in one unit
    assert row[COLUMNS[4]] == share_cell(60, 200, 2)


def test_what_no_oracle_knows_and_what_never_began_is_no_number():
    row = row_of("mbhi", [run_of(false_blocks=None, autonomy_steps=0, interventions_autonomy=0, return_mean=None)])
    assert math.isnan(row[COLUMNS[1]]["mean"]) and math.isnan(row[COLUMNS[3]]["mean"])
    assert math.isnan(row[COLUMNS[4]]["mean"])


def test_a_comparison_runs_stops_and_goes_on(tmp_path):
    out = tmp_path / "table"

    def stop(progress):
        if progress.done == 1:
            raise Stopped

    with pytest.raises(Stopped):
        compare_guards(GuardsJob(["none", "hirl"], 1, 1, SMALL), out, stop)
    first = (out / "runs" / "none-seed7" / "decisions.parquet").stat().st_mtime_ns
    with pytest.raises(HeedError, match="other settings"):
        GuardsJob.resumed(out, 1, {"horizon": 9})
    table = compare_guards(GuardsJob.resumed(out, 1, {}), out, resumed=True)
    assert (out / "runs" / "none-seed7" / "decisions.parquet").stat().st_mtime_ns == first
    assert [row["method"] for row in table["rows"]] == ["none", "hirl"] and table["columns"] == list(COLUMNS)
    assert json.loads((out / "compare.json").read_text())["title"] == "Guards on heed/PointHazard-v0"
    curves = json.loads((out / "efficiency.json").read_text())
    assert curves["steps"]["at"][-1] == 160 and list(curves["steps"]["methods"]) == ["none", "hirl"]
    assert [each["title"] for each in table["efficiency"]] == ["By steps", "By judgements"]
    last = table["efficiency"][0]["rows"][0]["catastrophes at 160"]["mean"]
    assert last == sum(RunFolder.open(out / "runs" / "none-seed7", writable=False).read_summary()["catastrophes"][phase]
                       for phase in ("oversight", "autonomy"))  # fmt: skip
    summary = json.loads((out / "summary.json").read_text())
    assert summary["completed"] and summary["kind"] == "compare" and summary["seed"] == 7
    siblings = json.loads((out / "runs" / "hirl-seed7" / "siblings.json").read_text())
    assert siblings == [{"label": "none", "path": "../none-seed7"}]
    config = RunFolder.open(out / "runs" / "hirl-seed7", writable=False).config
    assert (config["method"], config["seed"], config["planning"]["horizon"]) == ("hirl", 7, 3)


def test_a_row_may_change_settings_of_its_own(tmp_path):
    specs = ["hirl", "hirl:models.eps=0.5:overseer=local"]
    table = compare_guards(GuardsJob(specs, 2, 1, SMALL), tmp_path / "t")
    assert [row["method"] for row in table["rows"]] == specs
    configs = {p.name: RunFolder.open(p, writable=False).config for p in (tmp_path / "t" / "runs").iterdir()}
    told = {name: (config["models"]["eps"], config["overseer"], config["seed"]) for name, config in configs.items()}
    assert told == {
        "hirl-seed7": (0.4, "far-sighted", 7), "hirl-seed8": (0.4, "far-sighted", 8),
        "hirl-models.eps=0.5-overseer=local-seed7": (0.5, "local", 7),
        "hirl-models.eps=0.5-overseer=local-seed8": (0.5, "local", 8),
    }  # fmt: skip


def test_bad_input_is_one_line(tmp_path):
    for job, said in (
        (GuardsJob(["magic"], 1, 1, SMALL), "no method"),
        (
            GuardsJob(["mbhi:horizn=3"], 1, 1, SMALL),
            "no setting is called 'horizn' .*mbhi:horizn=3.: did you mean horizon",
        ),
        (GuardsJob(["mbhi:horizon=far"], 1, 1, SMALL), "horizon cannot be 'far' .*: give a whole number"),
        (GuardsJob(["mbhi:horizon"], 1, 1, SMALL), "'horizon' is no setting of a method"),
        (GuardsJob(["mbhi:updates=3"], 1, 1, SMALL), "say models.dynamics.updates or models.blockers.updates"),
        (GuardsJob(["mbhi:seed=3"], 1, 1, SMALL), "seed is no setting of a method"),
        (GuardsJob(["none"], 0, 1, SMALL), "seeds are none"),
        (GuardsJob(["none"], 1, 1, {"horizn": 3}), "no setting"),
    ):
        with pytest.raises(HeedError, match=said):
            compare_guards(job, tmp_path / "nowhere")
        assert not (tmp_path / "nowhere").exists()


def test_published_baselines_are_compared_where_they_are_named():
    named = ["sac-lagrangian:cost_limit=0.1", "smbpo:safe_horizon=5", "recovery-rl:baselines.risk_limit=0.2"]
    assert not {spec.split(":")[0] for spec in named} & set(GuardsJob().methods)
    jobs = [variant(spec, GuardJob()) for spec in named]
    assert [job.method for job in jobs] == ["sac-lagrangian", "smbpo", "recovery-rl"]
    settings = [job.baselines for job in jobs]
    assert [settings[0].cost_limit, settings[1].safe_horizon, settings[2].risk_limit] == [0.1, 5, 0.2]
