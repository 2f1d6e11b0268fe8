"""heed bench min-norm: both methods on the same matrices, and a residual that tells exact from inexact."""

import json

import pytest
import torch

from heed.bench.min_norm import MinNormBench, kkt_residual, min_norm_table, run_min_norm_bench
from heed.cli.bench import run
from heed.errors import HeedError


def test_the_residual_is_nought_at_the_optimum_alone():
    gradients = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 3.0]], dtype=torch.float64)
    best = torch.tensor([0.2, 0.8, 0.0], dtype=torch.float64)  # the third points further along d than the others
    assert kkt_residual(gradients, best) == pytest.approx(0.0, abs=1e-15)
    # d = (1, .5): <d, g> = 2, .5, 4.5 against 1.25, over the lengths 2, 1, 4.2 times 1
    assert kkt_residual(gradients, torch.tensor([0.5, 0.5, 0.0])) == pytest.approx(0.75)


def test_ours_is_exact_and_frank_wolfe_is_not():
    result = run_min_norm_bench(MinNormBench(k=(5,), repeats=3))
    assert [row["kind"] for row in result["rows"]] == ["unit", "two decades", "thin"]
    for row in result["rows"]:
        assert row["heed_residual"] < 1e-10 < row["torchjd_residual"]
        assert 0 < row["heed_ms"]["low"] <= row["heed_ms"]["median"]
    assert len(min_norm_table(result).splitlines()) == 4 + 3


def test_it_is_a_command(capsys):
    run(["min-norm", "--k", "2,3", "--repeats", "2", "--json"])
    assert [row["k"] for row in json.loads(capsys.readouterr().out)["rows"]] == [2, 2, 2, 3, 3, 3]


def test_one_objective_is_refused():
    with pytest.raises(HeedError, match="nothing to weigh"):
        run_min_norm_bench(MinNormBench(k=(1,)))
