"""The benchmark of generation: every sampler draws as many tokens, and is held to what memory allows."""

import json

import pytest
import torch

from heed.align import rollouts
from heed.bench import generate as bench
from heed.bench.generate import PEER, SAMPLERS, GenerateBench, generate_table, run_generate_bench
from heed.bench.shapes import SHAPES
from heed.errors import HeedError

TINY = {"shape": "tiny", "tokens": 6, "repeats": 2}


@pytest.fixture(scope="module")
def result():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "copy_bandwidth", lambda _: 1e9)
        return run_generate_bench(GenerateBench(**TINY, batches=(1, 3)))


def test_all_methods_of_the_sampler_and_transformers_draw_as_many_tokens(result):
    assert [(row["name"], row["batch"]) for row in result["rows"]] == [
        (name, batch) for batch in (1, 3) for name in (*SAMPLERS, PEER)
    ]
    assert {"static", "generate"} <= set(SAMPLERS) and "auto" not in SAMPLERS
    assert {row["completion_tokens"] for row in result["rows"] if "error" not in row} == {6}


def test_figures_follow_from_the_seconds(result):
    for row in result["rows"]:
        if "error" not in row:
            # Of two rounds the medians are means: that of the rates is at least the rate of the mean.
            assert row["tokens_per_second"] >= row["batch"] * 6 / row["seconds"] * (1 - 1e-9)
            assert row["tokens_per_second_low"] <= row["tokens_per_second"] <= row["tokens_per_second_high"]
            assert 0 < row["decode_ms"] * 5 < row["seconds"] * 1e3
            assert row["floor_ratio"] == pytest.approx(row["decode_ms"] / row["floor_ms"])
    assert [row["ratio"] for row in result["rows"] if row["name"] == PEER] == [1.0, 1.0]


def test_the_floor_reads_all_weights_but_the_embedding_and_the_cache_at_its_mean_length(result):
    shape = SHAPES["tiny"]
    head_and_layers = 512 * 64 + 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 192) + (2 * 2 + 1) * 64
    for row in result["rows"]:
        read = 4 * head_and_layers + shape.cache_bytes(row["batch"], 16 + 3, torch.float32)
        assert row["floor_ms"] == pytest.approx(read / 1e9 * 1e3)


def test_a_sampler_that_does_not_fit_the_model_is_said_and_the_others_are_measured(monkeypatch):
    monkeypatch.setattr(rollouts, "why_not_static", lambda _: "no reason")
    rows = {row["name"]: row for row in run_generate_bench(GenerateBench(**TINY, batches=(2,)))["rows"]}
    assert "MistralForCausalLM: no reason" in rows["static"]["error"]
    assert rows["generate"]["tokens_per_second"] > 0 and rows[PEER]["tokens_per_second"] > 0


def test_result_is_json_and_its_table_has_a_line_for_each_row(result):
    assert json.loads(json.dumps(result))["rows"] == result["rows"]
    lines = generate_table(result).splitlines()
    assert sum(line.startswith(PEER) for line in lines) == 2 and "3 completions" in lines


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (GenerateBench(shape="60"), "choose from tiny, 2m, 30m, 60m, 1.1b, mistral-7b"),
        (GenerateBench(batches=(0,)), "numbers of completions are at least 1 (--batches): write 1,8,64"),
        (GenerateBench(tokens=1), "a decode step cannot be told from the prompt's by 1 tokens (--tokens)"),
        (GenerateBench(repeats=0), "0 repeats measure nothing (--repeats): give at least 1"),
    ],
)
def test_options_that_cannot_be_had_are_refused_in_one_line(options, line):
    with pytest.raises(HeedError) as refusal:
        run_generate_bench(options)
    assert line in str(refusal.value) and "\n" not in str(refusal.value)
