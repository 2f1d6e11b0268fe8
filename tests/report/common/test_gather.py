import json
import math

import numpy as np
import pytest
from synthetic_runs import NAMES, VERTICES, make_align_run

from heed.errors import HeedError
from heed.report import gather


def test_a_series_leaves_out_what_is_not_finite(tmp_path):
    lines = [{"step": 1, "kl": 0.5}, {"step": 2, "kl": None}, {"step": 3}, {"step": 4, "kl": 0.75}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    steps, values = gather(tmp_path).series("kl")
    assert (steps.tolist(), values.tolist()) == ([1, 4], [0.5, 0.75])


def test_the_trajectory_is_that_of_the_evaluations(align_run):
    trajectory = gather(align_run).trajectory(NAMES)
    assert trajectory.shape == (7, 2)
    assert trajectory[0] == pytest.approx([5.1, -2.4])
    assert trajectory[-1] == pytest.approx([8.1, -0.55])


def test_without_evaluations_the_trajectory_is_that_of_the_batches(tmp_path):
    lines = [{"step": s, "gold/help/mean": s / 2, "gold/harmless/mean": -s} for s in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert gather(tmp_path).trajectory(NAMES).tolist() == [[0.5, -1.0], [1.0, -2.0]]


def test_objectives_are_named_by_the_metrics_where_the_summary_is_missing(align_run):
    (align_run / "summary.json").unlink()
    (align_run / "exact.json").unlink()
    assert gather(align_run).names == NAMES


def test_the_summary_decides_over_the_last_metric(align_run):
    summary = json.loads((align_run / "summary.json").read_text())
    summary["objectives"]["help"]["gold"] = 9.25
    (align_run / "summary.json").write_text(json.dumps(summary))
    assert gather(align_run).objectives()[0].end == 9.25


def test_the_summarys_start_serves_where_nothing_was_logged_at_the_start(align_run):
    (align_run / "metrics.jsonl").unlink()
    objective = gather(align_run).objectives()[0]
    assert (objective.start, objective.end) == (5.1, 8.1)
    assert objective.proxy_start is None


def test_the_start_of_a_run_without_a_world_is_its_reward(tmp_path):
    run = make_align_run(tmp_path / "run", world=False)
    objective = gather(run).objectives()[0]
    assert (objective.start, objective.gold_start, objective.gold_end) == (pytest.approx(2.24), None, None)


def test_conflict_is_filled_in_from_the_balance_records(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "weights/help": 0.9}\n')
    record = {
        "step": 1, "names": NAMES, "weights": [0.25, 0.75], "norms": [2.0, 3.0], "signal": [0.5, 0.1],
        "cosines": [[1.0, -0.4], [-0.4, 1.0]],
    }  # fmt: skip
    (tmp_path / "balance.jsonl").write_text(json.dumps(record) + "\n")
    run = gather(tmp_path)
    assert run.last("cosine/help~harmless") == -0.4
    assert (run.last("norm/harmless"), run.last("signal/help")) == (3.0, 0.5)
    assert (run.last("weights/help"), run.last("weights/harmless")) == (0.9, 0.75)


def test_of_several_minibatches_the_last_one_s_balance_is_the_step_s(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    records = [
        {"step": step, "minibatch": minibatch, "names": NAMES, "weights": [step + minibatch / 10, 0.5]}
        for step in (1, 2)
        for minibatch in (1, 2, 3)
    ]
    (tmp_path / "balance.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert gather(tmp_path).series("weights/help")[1].tolist() == [1.3, 2.3]


def test_completions_carry_rewards_and_gold(align_run):
    run = gather(align_run)
    assert len(run.before) == len(run.after) == 10
    assert run.after[3].rewards == {"help": 2.5, "harmless": 2.5}
    assert run.after[3].gold == {"help": -0.25, "harmless": -0.25}


def test_the_exact_front_is_read_by_value(align_run):
    exact = gather(align_run).exact
    np.testing.assert_array_equal(exact.vertices, VERTICES)
    assert (exact.ideal.tolist(), exact.nadir.tolist()) == ([12.0, 0.0], [0.0, -1.85])


def test_the_kind_follows_the_files(align_run, front_run, compare_run, demo_run):
    kinds = [gather(path).kind for path in (align_run, front_run, compare_run, demo_run)]
    assert kinds == ["align", "front", "compare", "demo"]


def test_a_file_that_is_no_parquet_is_named(align_run):
    (align_run / "completions" / "after.parquet").write_text("no")
    with pytest.raises(HeedError, match=r"not a Parquet file .*after\.parquet"):
        gather(align_run)


def test_a_metric_that_was_never_logged_has_no_last_value(align_run):
    run = gather(align_run)
    assert run.last("clip_ratio") is None
    assert not run.has("clip_ratio")
    assert math.isfinite(run.last("kl"))
