"""Coverage: the judged steps are the overseer's, and a threshold that breaks its promise is seen to."""

import json
from dataclasses import replace

import pytest
import torch

from heed.bench.coverage import CoverageBench, judged_steps, run_coverage_bench
from heed.cli.bench import run
from heed.errors import HeedError
from heed.guard.models.cross_conformal import CalibratedBlockers
from heed.worlds.cliff_grid.grid import over_cliff
from heed.worlds.point_hazard.geometry import Hazards, braking_hits, hits

SMALL = CoverageBench(splits=12, episodes=80, eps=(0.2, 0.4), updates=60, seed=3)


@pytest.mark.parametrize(("overseer", "rule"), [("local", hits), ("far-sighted", braking_hits)])
def test_steps_are_judged_by_the_overseer_and_episodes_end_at_a_block(overseer, rule):
    states, blocked, episodes = judged_steps(20, overseer, seed=1)
    margin = rule(states.double().numpy(), Hazards())
    assert float((torch.from_numpy(margin) != blocked).float().mean()) < 0.002  # float32 at the very edge
    assert episodes.unique().tolist() == list(range(20)) and int(blocked.sum()) >= 10
    last = torch.tensor([int((episodes == e).nonzero().max()) for e in range(20)])
    assert set(blocked.nonzero().flatten().tolist()) <= set(last.tolist())


def test_any_world_whose_oracle_judges_can_be_measured():
    states, blocked, episodes = judged_steps(20, "local", seed=1, env="heed/CliffGrid-v0")
    assert torch.equal(torch.from_numpy(over_cliff(states.numpy())), blocked) and int(blocked.sum()) >= 10
    assert episodes.unique().tolist() == list(range(20))
    result = run_coverage_bench(CoverageBench(splits=2, episodes=80, eps=(0.4,), updates=20, env="heed/CliffGrid-v0"))
    assert result["blocks"] > 20 and 0 <= result["rows"][0]["missed"] <= 1
    with pytest.raises(HeedError, match="no local oracle for CartPole-v1"):
        judged_steps(1, "local", seed=1, env="CartPole-v1")


def test_the_promise_is_kept_and_a_broken_one_is_seen(monkeypatch):
    result = run_coverage_bench(SMALL)
    by_eps = {row["eps"]: row for row in result["rows"]}
    assert by_eps[0.2]["missed"] <= 0.2 + 0.1 and by_eps[0.4]["missed"] <= 0.4 + 0.1
    assert by_eps[0.2]["missed"] < by_eps[0.4]["missed"]
    assert by_eps[0.2]["flagged"] >= by_eps[0.4]["flagged"]

    kept = CalibratedBlockers.threshold

    def careless(judge, eps):
        return replace(kept(judge, eps), value=0.9)  # misses nine in ten

    monkeypatch.setattr(CalibratedBlockers, "threshold", careless)
    for row in run_coverage_bench(SMALL)["rows"]:
        assert row["missed"] > 0.7 and row["beyond"] > 0.7  # kept, it is about 0.05


def test_the_table_is_printed_as_json(capsys):
    run(["coverage", "--splits", "2", "--episodes", "60", "--eps", "[0.3]", "--updates", "20", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert [row["eps"] for row in result["rows"]] == [0.3] and result["splits"] == 2 and result["blocks"] > 20


def test_too_few_blocks_are_refused():
    with pytest.raises(HeedError, match="cannot promise"):
        run_coverage_bench(CoverageBench(splits=1, episodes=20, eps=(0.01,), updates=5))
    with pytest.raises(HeedError, match="at least 1"):
        run_coverage_bench(CoverageBench(splits=0))
