"""Frozen proposals: what is doomed is the oracle's, and a guard that blocks all, or nothing, is seen to."""

import dataclasses
import json

import numpy as np
import pytest

import heed.bench.proposals as bench_proposals
from heed.bench.proposals import ProposalsBench, frozen_proposals, judged, proposals_table, rebuilt, run_proposals_bench
from heed.cli.bench import run
from heed.errors import HeedError
from heed.guard.intervention import Lookahead, Off
from heed.guard.learners.config import LearnerConfig
from heed.guard.models.config import BatchConfig, FitConfig, ModelsConfig
from heed.guard.phases_config import PhasesConfig
from heed.guard.planning.config import PlanningConfig
from heed.guard.run.config import GuardJob
from heed.guard.run.train import train_guard
from heed.worlds.point_hazard.geometry import Hazards, advance, doomed

JOB = GuardJob(
    overseer="far-sighted",
    steps=360,
    seed=1,
    evaluation_episodes=0,
    learner=LearnerConfig(learning_starts=400, hidden=16),
    phases=PhasesConfig(oversight_steps=320, least_blocks=1, gate=1.0),
    planning=PlanningConfig(horizon=5, particles=1, planner="none"),
    models=ModelsConfig(
        members=2,
        dynamics_hidden=16,
        threshold="hirl",
        range_margin=0.0,  # so poor blockers block little but what is unknown
        dynamics=FitConfig(updates=300),
        blockers=BatchConfig(updates=300, learning_rate=1e-2),
    ),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "guarded"
    summary = train_guard(JOB, folder)
    assert summary["handed_over_at"] is not None
    return folder


def small(folder, **changes):
    return ProposalsBench(**({"run": str(folder), "proposals": 200, "policy_steps": 60} | changes))


def test_proposals_are_doomed_where_the_world_says_so_and_kept_for_the_next_guard(finished, tmp_path):
    bench = small(finished, frozen=str(tmp_path / "frozen.npz"))
    stages = []
    made = frozen_proposals(JOB, bench, lambda stage, done, of: stages.append((stage, done, of)))
    assert stages[59] == ("train", 60, 60) and stages[-1] == ("propose", 200, 200)
    assert made.states.shape == (200, 4) and made.actions.shape == (200, 2)
    following = advance(made.states, made.actions, Hazards())
    assert np.array_equal(made.doomed, doomed(following, Hazards()))
    assert np.array_equal(made.too_late, doomed(made.states, Hazards())) and made.doomed.sum() > 0
    assert not (made.too_late & ~made.doomed).any()
    again = frozen_proposals(JOB, bench, lambda *_: pytest.fail("what is kept is read"))
    assert all(np.array_equal(getattr(made, name), getattr(again, name)) for name in vars(made))
    with pytest.raises(HeedError, match="these proposals were made by"):
        frozen_proposals(JOB, dataclasses.replace(bench, seed=1), lambda *_: None)


def test_each_proposal_is_judged_by_itself_as_the_guard_would(finished):
    bench = small(finished, proposals=120)
    guard = rebuilt(finished, JOB)
    proposals = frozen_proposals(JOB, bench, lambda *_: None)
    blocked = judged(guard, proposals, lambda *_: None)
    assert isinstance(guard.intervention.inner, Lookahead) and not guard.situations[0].blocked
    assert 0 < blocked.sum() < len(blocked)
    order = np.arange(len(proposals))[::-1]
    backwards = dataclasses.replace(proposals, **{name: found[order] for name, found in vars(proposals).items()})
    assert (judged(rebuilt(finished, JOB), backwards, lambda *_: None)[order] == blocked).mean() > 0.9  # but for chance
    guard.intervention = Off()
    assert not judged(guard, proposals, lambda *_: None).any()


@pytest.mark.parametrize("block", [False, True])
def test_shares_are_of_the_doomed_and_of_the_safe(finished, monkeypatch, block):
    monkeypatch.setattr(bench_proposals, "judged", lambda _guard, proposals, _tell: np.full(len(proposals), block))
    result = run_proposals_bench(small(finished))
    doomed, avoidable, safe = (result[name] for name in ("doomed", "avoidable", "safe"))
    assert doomed["n"] + safe["n"] == result["proposals"] == 200 and 0 < avoidable["n"] <= doomed["n"]
    assert doomed["let_pass"] == (0 if block else doomed["n"]) and safe["blocked"] == (safe["n"] if block else 0)
    assert doomed["mean"] == 1.0 - block and safe["mean"] == float(block)
    assert f"| safe, blocked | {safe['n']} | {safe['blocked']} |" in proposals_table(result)


def test_what_cannot_be_asked_is_one_line_before_anything_is_trained(finished, tmp_path):
    with pytest.raises(HeedError, match="at least 1"):
        run_proposals_bench(small(finished, proposals=0))
    with pytest.raises(HeedError, match="holds no run"):
        run_proposals_bench(small(tmp_path))
    train_guard(dataclasses.replace(JOB, steps=30), tmp_path / "short")
    with pytest.raises(HeedError, match="never took over"):
        run_proposals_bench(small(tmp_path / "short"))
    with pytest.raises(HeedError, match="doomed states of CartPole-v1 are not known"):
        frozen_proposals(GuardJob(env="CartPole-v1"), small(finished), lambda *_: None)


def test_the_command_prints_one_json_object(finished, capsys):
    run(["proposals", "--run", str(finished), "--proposals", "40", "--policy-steps", "30", "--json"])
    assert json.loads(capsys.readouterr().out)["proposals"] == 40
