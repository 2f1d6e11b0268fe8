"""What a look and a plan take: the bench measures what it says."""

import json

import pytest

from heed.bench.plan import PlanBench, run_plan_bench
from heed.cli.bench import run
from heed.errors import HeedError
from heed.guard.models.dynamics import EnsembleDynamics

SMALL = PlanBench(2, 3, 8, look_horizon=4, plan_horizon=5, samples=16, iterations=2, repeats=3)


def test_the_rows_of_the_model_are_those_that_are_said(monkeypatch):
    evaluated = []
    step = EnsembleDynamics.step

    def counted(self, states, actions, generator=None):
        evaluated.append(states.shape[0] * states.shape[1])
        return step(self, states, actions, generator)

    monkeypatch.setattr(EnsembleDynamics, "step", counted)
    monkeypatch.setattr("heed.bench.plan.interleaved", lambda steps, *_: [count(steps, evaluated)])
    found = {row["name"]: row for row in run_plan_bench(SMALL)["rows"]}
    for name, row in found.items():
        told = row["rows_per_second"] * row["ms"] / 1e3
        assert told == pytest.approx(COUNTED[name], rel=0.35 if name == "plan" else 1e-6)


COUNTED = {}


def count(steps, evaluated):
    for name, step in steps.items():
        evaluated.clear()
        step()
        COUNTED[name] = sum(evaluated)
    return dict.fromkeys(steps, 1.0)


def test_one_json_object_is_printed(capsys):
    run(["plan", "--repeats", "2", "--hidden", "8", "--samples", "16", "--look-horizon", "3", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in result["rows"]] == ["look", "look, with 4 ways out", "plan"]
    assert result["device"] == "cpu" and result["threads"] == 1
    for row in result["rows"]:
        assert 0 < row["low"] <= row["ms"] <= row["high"] <= row["p99"]


def test_numbers_below_one_are_refused():
    with pytest.raises(HeedError, match="at least 1"):
        run_plan_bench(PlanBench(samples=0))
