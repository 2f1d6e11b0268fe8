"""The benchmark of a whole step: every trainer takes the same step of the same model."""

import json

import pytest
import torch

from heed.bench import step as bench
from heed.bench.shapes import SHAPES
from heed.bench.step import StepBench, rewards, run_step_bench, step_table
from heed.bench.trl_step import trl_is_installed
from heed.errors import HeedError

TINY = {"shape": "tiny", "completions": 16, "tokens": 6, "repeats": 2}


@pytest.fixture(scope="module")
def result():
    return run_step_bench(StepBench(**TINY, k=(1, 3)))


def test_every_trainer_draws_as_many_tokens_as_were_asked_for(result):
    rows = [row for row in result["rows"] if "error" not in row]
    assert [row["name"] for row in rows][:2] == ["heed K=1", "heed K=3"]
    assert all(row["completion_tokens"] == [6] for row in rows)
    assert all(row["tokens_per_second"] == pytest.approx(16 * 6 / row["seconds"]) for row in rows)


def test_the_parts_of_a_step_are_within_it(result):
    for row in result["rows"]:
        if row["k"] is not None:
            parts = [row[part] for part in ("generation", "scoring", "gradients")]
            assert min(parts) > 0 and sum(parts) < row["seconds"]  # of two rounds the medians are means
            assert row["seconds_low"] <= row["seconds"] <= row["seconds_high"]


def test_shares_of_the_ceilings_are_of_the_flops_and_bytes_that_the_step_needs(monkeypatch):
    monkeypatch.setattr(bench, "matmul_ceiling", lambda *_: 1e9)
    monkeypatch.setattr(bench, "copy_bandwidth", lambda _: 1e8)
    row = run_step_bench(StepBench(**TINY, k=(2,), peer="none"))["rows"][0]
    shape = SHAPES["tiny"]
    assert row["ceiling_share"] == pytest.approx(shape.step_flops(16, 22, 6) / row["seconds"] / 1e9)
    head_and_layers = 512 * 64 + 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 192) + (2 * 2 + 1) * 64
    read = 4 * head_and_layers + shape.cache_bytes(16, 19, torch.float32)
    assert row["memory_share"] == pytest.approx(6 * read / 1e8 / row["generation"])


def test_result_is_json_and_its_table_has_a_line_for_each_row(result):
    assert json.loads(json.dumps(result)) == json.loads(json.dumps(result | {"rows": list(result["rows"])}))
    lines = step_table(result).splitlines()
    assert [line.split("  ")[0] for line in lines[-3:]] == ["heed K=1", "heed K=3", "trl"]
    assert all(row.get("peak_memory_gb") is None for row in result["rows"])  # a CPU's is not known


def test_without_trl_its_row_says_so_and_the_others_are_measured(monkeypatch):
    monkeypatch.setattr(bench, "trl_is_installed", lambda: False)
    heed, trl = run_step_bench(StepBench(**TINY, k=(2,)))["rows"]
    assert trl == {"name": "trl", "k": None, "error": "trl is not installed"}
    assert heed["ratio"] is heed["ratio_low"] is None and heed["seconds"] > 0


def test_a_trl_that_does_not_fit_this_installation_is_said_and_the_others_are_measured(monkeypatch):
    def refuse(*_):
        raise ImportError("cannot import name 'x' from transformers\nand more")

    monkeypatch.setattr(bench, "trl_is_installed", lambda: True)
    monkeypatch.setattr(bench, "TRLStep", refuse)
    heed, trl = run_step_bench(StepBench(**TINY, k=(2,)))["rows"]
    assert trl["error"] == "ImportError: cannot import name 'x' from transformers"
    assert heed["seconds"] > 0


@pytest.mark.skipif(not trl_is_installed(), reason="trl is not installed")
def test_beside_trl_each_round_gives_a_ratio(result):
    rows = {row["name"]: row for row in result["rows"]}
    assert rows["trl"]["ratio"] == 1.0
    assert rows["heed K=1"]["ratio_low"] <= rows["heed K=1"]["ratio"] <= rows["heed K=1"]["ratio_high"]


def test_rewards_are_shares_of_tokens_that_do_not_sum_to_a_constant():
    lengths = set()
    functions = rewards(2, lengths)
    ids = [[0, 3, 1, 1], [2, 2, 2, 1]]
    assert [function(completion_ids=ids) for function in functions] == [[0.5, 0.0], [0.5, 0.25]]
    assert lengths == {4}


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (StepBench(shape="60"), "choose from tiny, 2m, 30m, 60m, 1.1b, mistral-7b"),
        (StepBench(completions=20), "20 completions do not divide into groups of 8 (--completions): give a multiple"),
        (StepBench(k=(2, 2)), "numbers of objectives are different and at least 1 (--k)"),
        (StepBench(k=(0,)), "numbers of objectives are different and at least 1 (--k)"),
        (StepBench(repeats=0), "0 repeats measure nothing (--repeats): give at least 1"),
        (StepBench(tokens=0), "0 tokens measure nothing (--tokens): give at least 1"),
    ],
)
def test_options_that_cannot_be_had_are_refused_in_one_line(options, line):
    with pytest.raises(HeedError) as refusal:
        run_step_bench(options)
    assert line in str(refusal.value) and "\n" not in str(refusal.value)
