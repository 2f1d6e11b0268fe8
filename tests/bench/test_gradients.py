"""The gradient benchmark: what it counts is counted right, and every method in it takes the same gradients."""

import json
from dataclasses import replace

import pytest
import torch
from torch.utils import flop_counter
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from heed.balance.recording import LinearRecorder
from heed.bench.gradient_model import Batch, build_model, enable_checkpointing
from heed.bench.gradients import METHODS, GradientBench, _Contest, gradient_table, run_gradient_bench
from heed.bench.shapes import SHAPES
from heed.bench.timing import ATTENTION, Spread, count_flops
from heed.errors import HeedError


@pytest.fixture(scope="module")
def result():
    return run_gradient_bench(GradientBench(shape="tiny", k=(2, 4), repeats=1))


@pytest.fixture(scope="module")
def rows(result):
    return {(row["name"], row["k"], row["checkpointing"]): row for row in result["rows"]}


def test_every_method_is_measured_at_every_k_with_and_without_checkpointing(rows):
    assert set(rows) == {(name, k, on) for name in METHODS for k in (2, 4) for on in (False, True)}
    assert all(row["ratio_low"] <= row["ratio"] <= row["ratio_high"] and row["ms"] > 0 for row in rows.values())
    assert {row["ratio"] for key, row in rows.items() if key[0] == "scalarised"} == {1.0}


def test_every_methods_gradients_equal_those_of_separate_backwards(rows):
    errors = {key: row["max_relative_error"] for key, row in rows.items() if key[0] != "scalarised"}
    assert max(errors.values()) < 1e-5, errors


def test_cotangents_have_the_rank_that_the_row_is_named_after(rows):
    ranks = {name: rows[name, 4, False]["rank"] for name in METHODS if name.startswith("factored")}
    assert ranks == {"factored-rank1": 1, "factored-rank2-fifth": 2, "factored-rank2-all": 2}


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
def test_factored_flops_do_not_grow_with_k(rows, k, checkpointing):
    assert rows["separate", k, checkpointing]["flops_ratio"] == k
    assert rows["factored-rank1", k, checkpointing]["flops_ratio"] == pytest.approx(1, abs=0.02)
    assert rows["factored-rank2-fifth", k, checkpointing]["flops_ratio"] == pytest.approx(1.2, abs=0.02)


def test_flops_of_several_backwards_are_those_of_the_derivation(rows):
    # One forward and two backwards of b forwards each cost (1 + 2b) / (1 + b) scalarised steps.
    b = 1 / (2 - rows["sequential", 2, False]["flops_ratio"]) - 1
    assert 1 < b < 1.3  # the adapters' own products make it more than 1; they are 18% of so small a model
    assert rows["factored-rank2-all", 4, False]["flops_ratio"] == pytest.approx((1 + 2 * b) / (1 + b), rel=0.01)
    for name in ("sequential", "batched", "torchjd", "torchjd-chunk1"):
        assert rows[name, 4, False]["flops_ratio"] == pytest.approx((1 + 4 * b) / (1 + b), rel=0.01), name


def test_checkpointing_recomputes_for_every_backward_but_once_for_a_vectorised_one(rows):
    for name in ("sequential", "torchjd-chunk1"):
        assert rows[name, 4, True]["flops_ratio"] == pytest.approx((1 + 2 * 4) / 3, rel=0.03), name
    for name in ("batched", "torchjd"):
        assert rows[name, 4, True]["flops_ratio"] == pytest.approx((2 + 4) / 3, rel=0.1), name
    assert rows["factored-rank2-all", 4, True]["flops_ratio"] == pytest.approx((2 + 2) / 3, rel=0.1)


def test_result_is_json_and_its_table_has_a_line_for_each_row(result):
    assert json.loads(json.dumps(result)) == result
    assert result["device"] == "cpu" and result["shape"]["name"] == "tiny"
    lines = gradient_table(result).splitlines()
    assert sum(line.startswith("factored-rank1 ") for line in lines) == 4 + 1
    assert "K = 4, checkpointing on" in lines


def test_flops_inside_custom_backwards_and_recomputation_are_counted():
    linear = torch.nn.Linear(3, 5, bias=False)
    x = torch.ones(2, 7, 3, requires_grad=True)
    product = 2 * (2 * 7) * 3 * 5
    recorder = LinearRecorder(torch.zeros(1, 15), {"linear": linear}, {id(linear.weight): slice(0, 15)})
    with recorder.recording():
        assert count_flops(lambda: linear(x).sum().backward()) == 2 * product  # forward, and towards the input
    block = torch.nn.Sequential(linear, torch.nn.Tanh())
    taken = count_flops(lambda: checkpoint(block, x, use_reentrant=False).sum().backward())
    assert taken == 4 * product  # forward twice, towards the input and the weight


def test_the_fused_attention_kernel_of_cpus_is_counted():
    q = torch.ones(1, 2, 8, 4, requires_grad=True)
    product = 2 * 2 * 8 * 8 * 4
    attention = torch.nn.functional.scaled_dot_product_attention
    assert count_flops(lambda: attention(q, q, q, is_causal=True)) == 2 * product
    assert count_flops(lambda: attention(q, q, q, is_causal=True).sum().backward()) == 7 * product


def _refuse_grouped_queries(query, key, *_, **__):
    assert query[1] == key[1], "sdpa_flop_count: shapes are incompatible"  # as torch before 2.13
    return 0


@pytest.mark.parametrize("kernel", ["flash", "efficient", "cudnn"])
def test_grouped_query_attention_counts_as_with_repeated_heads_in_any_torch(monkeypatch, kernel):
    forward = getattr(torch.ops.aten, f"_scaled_dot_product_{kernel}_attention")
    backward = getattr(torch.ops.aten, f"_scaled_dot_product_{kernel}_attention_backward")
    for name in (forward, backward):
        monkeypatch.setitem(flop_counter.flop_registry, name, flop_counter.shape_wrapper(_refuse_grouped_queries))
    grouped, repeated = (_attention_counts(forward, backward, heads) for heads in (2, 8))
    product = 2 * (3 * 8) * 16 * 16 * 4
    assert grouped == repeated == [2 * product, 5 * product]


def _attention_counts(forward, backward, key_value_heads):
    """What the counter's formulas say of one attention of 8 heads, whose kernel is a GPU's, forward and backward."""
    q = torch.empty(3, 8, 16, 4, device="meta")
    k = torch.empty(3, key_value_heads, 16, 4, device="meta")
    counter = FlopCounterMode(display=False, custom_mapping=ATTENTION)
    out = {"out_val": q}
    return [counter.flop_registry[forward](q, k, k, **out), counter.flop_registry[backward](q, q, k, k, **out)]


def test_grouped_query_attention_of_cpus_counts_as_with_repeated_heads():
    attention = torch.nn.functional.scaled_dot_product_attention
    q, k = torch.ones(1, 4, 8, 4, requires_grad=True), torch.ones(1, 2, 8, 4, requires_grad=True)
    grouped = count_flops(lambda: attention(q, k, k, is_causal=True, enable_gqa=True).sum().backward())
    many = k.repeat_interleave(2, 1)
    assert grouped == count_flops(lambda: attention(q, many, many, is_causal=True).sum().backward())
    assert grouped == 7 * 2 * 4 * 8 * 8 * 4


def test_flops_from_one_and_two_layers_are_those_of_the_whole_model(monkeypatch):
    deep = replace(SHAPES["tiny"], layers=5)
    monkeypatch.setitem(SHAPES, "tiny", deep)
    result = run_gradient_bench(GradientBench(shape="tiny", k=(2,), repeats=1, checkpointing="on"))
    model = build_model(deep, torch.device("cpu"), torch.float32, seed=0)
    enable_checkpointing(model)
    losses = Batch(model, deep, seed=0).losses(2)
    rows = {row["name"]: row["flops"] for row in result["rows"]}
    whole = count_flops(lambda: (-losses.values(Batch(model, deep, seed=0).logp()).sum() / 2).backward())
    assert rows["scalarised"] == whole
    assert rows["separate"] == 2 * whole


def test_what_cannot_be_counted_is_left_out_with_the_reason_and_all_else_is_measured(monkeypatch):
    def refuse(_):
        raise AssertionError("shapes are incompatible")

    monkeypatch.setattr("heed.bench.gradients.count_flops", refuse)
    result = run_gradient_bench(GradientBench(shape="tiny", k=(2,), repeats=1, checkpointing="off"))
    for row in result["rows"]:
        assert row["flops"] is row["flops_ratio"] is row["ceiling_share"] is None
        assert row["flops_error"] == f"torch {torch.__version__} does not count them: shapes are incompatible"
        assert row["ratio"] > 0 and (row["name"] == "scalarised" or row["max_relative_error"] < 1e-5)
    assert "FLOPs that are left out: torch" in gradient_table(result)


def test_nothing_is_counted_while_time_and_memory_are_measured(monkeypatch):
    counts, measure = [], _Contest.measure
    monkeypatch.setattr("heed.bench.gradients.count_flops", lambda step: counts.append(step) or count_flops(step))

    def measured(self, ceiling, flops):
        before = len(counts)
        rows = measure(self, ceiling, flops)
        assert len(counts) == before == 2 * len(METHODS)
        return rows

    monkeypatch.setattr(_Contest, "measure", measured)
    run_gradient_bench(GradientBench(shape="tiny", k=(2,), repeats=1, checkpointing="off"))


def test_clipped_sequences_have_a_clipped_token_and_objectives_that_disagree():
    model = build_model(SHAPES["tiny"], torch.device("cpu"), torch.float32, seed=0)
    batch = Batch(model, SHAPES["tiny"], seed=0)
    clipped = torch.tensor([True, False, False, True, False])
    losses = batch.losses(3, clipped)
    logp = batch.logp().detach()
    assert (losses.surrogate.clipped(logp, losses.old_logp).any(1) == clipped).all()
    assert (losses.advantages[0, clipped] > 0).all() and (losses.advantages[1, clipped] < 0).all()
    assert torch.equal(losses.cotangents(logp).terms[1].active_rows(), clipped)


def test_same_seed_makes_the_same_model_and_leaves_the_global_generator_alone():
    state = torch.random.get_rng_state()
    first, second = (build_model(SHAPES["tiny"], torch.device("cpu"), torch.float32, seed=3) for _ in range(2))
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), second.parameters(), strict=True))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_spread_of_one_figure_is_that_figure():
    assert Spread.of([3.0]) == Spread(3.0, 3.0, 3.0)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            GradientBench(shape="60"),
            "there is no shape '60' (--shape): choose from tiny, 2m, 30m, 60m, 1.1b, mistral-7b",
        ),
        (GradientBench(shape="mistral-7b"), "7 billion parameters need a GPU (--shape mistral-7b): add --device cuda"),
        (GradientBench(k=(1,)), "several gradients are at least 2 (--k): give numbers from 2, as in 2,4,8"),
        (
            GradientBench(tokens=1),
            "nothing can be learnt from sequences of 1 tokens (--tokens): give at least 2, or 0 for the shape's",
        ),
        (GradientBench(repeats=0), "0 repeats measure nothing (--repeats): give at least 1"),
        (
            GradientBench(checkpointing="maybe"),
            "checkpointing is 'maybe' (--checkpointing): choose both, off or on",
        ),
    ],
)
def test_options_that_cannot_be_had_are_refused_in_one_line(options, line):
    with pytest.raises(HeedError) as refusal:
        run_gradient_bench(options)
    assert str(refusal.value) == line


def test_cuda_without_a_gpu_is_refused_before_anything_is_built(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(HeedError, match=r"torch sees no CUDA GPU \(--device cuda\)"):
        run_gradient_bench(GradientBench(device="cuda", shape="mistral-7b"))
