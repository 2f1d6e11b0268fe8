"""The benchmarks on the device: exact gradients, and figures that only a GPU has."""

import pytest

from heed.bench.generate import GenerateBench, run_generate_bench
from heed.bench.gradients import GradientBench, run_gradient_bench
from heed.bench.step import StepBench, run_step_bench

pytestmark = pytest.mark.gpu


def is_memory(gigabytes, device):
    return gigabytes > 0 if device.type == "cuda" else gigabytes is None


def test_gradients_agree_to_the_dtype_and_are_counted(device):
    result = run_gradient_bench(GradientBench(device=device.type, shape="tiny", k=(2,), repeats=1))
    assert max(row["max_relative_error"] for row in result["rows"] if row["name"] != "scalarised") < 0.05
    assert all(row["flops_error"] is None and row["flops"] > 0 for row in result["rows"])
    assert all(is_memory(row["peak_memory_gb"], device) for row in result["rows"])


def test_a_whole_step_is_measured_with_its_memory(device):
    options = StepBench(device.type, "tiny", k=(1, 2), completions=16, tokens=6, repeats=2, peer="none")
    rows = run_step_bench(options)["rows"]
    assert all(row["completion_tokens"] == [6] and is_memory(row["peak_memory_gb"], device) for row in rows)


def test_every_sampler_that_fits_draws_all_tokens(device):
    rows = run_generate_bench(GenerateBench(device.type, "tiny", (1, 4), tokens=6, repeats=2))["rows"]
    assert {row["completion_tokens"] for row in rows if "error" not in row} == {6}
    assert {"generate", "static"} <= {row["name"] for row in rows if "error" not in row}
