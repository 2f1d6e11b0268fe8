"""torchjd's own weightings and ours through it: the same weights, at any scale of the gradients."""

import pytest
import torch
from structured_gradients import gram_of, structured
from torchjd import aggregation
from torchjd.linalg import QuadprogProjector

from heed.balance import METHODS, weighting_from_name

PREFERENCE = [0.2, 0.3, 0.5]
RIDGE = QuadprogProjector(reg_eps=1e-8)
LEANING = torch.tensor(PREFERENCE, dtype=torch.float64)

CASES = {
    "aligned-mtl": ({}, lambda: aggregation.AlignedMTLWeighting()),
    "aligned-mtl with its settings": (
        {"preference": PREFERENCE, "scale_mode": "median"},
        lambda: aggregation.AlignedMTLWeighting(LEANING, "median"),
    ),
    "cagrad": ({}, lambda: aggregation.CAGradWeighting(0.5)),
    "cagrad with its settings": ({"c": 0.2}, lambda: aggregation.CAGradWeighting(0.2)),
    "cr-mogm": ({}, lambda: aggregation.CRMOGMWeighting(aggregation.UPGradWeighting(projector=RIDGE))),
    "cr-mogm with its settings": (
        {"inner": "cagrad", "inner_settings": {"c": 0.2}, "alpha": 0.5},
        lambda: aggregation.CRMOGMWeighting(aggregation.CAGradWeighting(0.2), 0.5),
    ),
    "dualproj": ({}, lambda: aggregation.DualProjWeighting(projector=RIDGE)),
    "dualproj with its settings": (
        {"preference": PREFERENCE, "ridge": 1e-3},
        lambda: aggregation.DualProjWeighting(LEANING, QuadprogProjector(reg_eps=1e-3)),
    ),
    "fairgrad": ({}, lambda: aggregation.FairGradWeighting(1.0)),
    "fairgrad with its settings": ({"alpha": 2.0}, lambda: aggregation.FairGradWeighting(2.0)),
    "fairgrad, all alike": ({"alpha": 0.0}, lambda: aggregation.FairGradWeighting(0.0)),
    "gradvac": ({}, lambda: aggregation.GradVacWeighting()),
    "gradvac with its settings": ({"beta": 0.1, "eps": 1e-6}, lambda: aggregation.GradVacWeighting(0.1, 1e-6)),
    "imtl-g": ({}, lambda: aggregation.IMTLGWeighting()),
    "krum": ({"n_byzantine": 1, "n_selected": 2}, lambda: aggregation.KrumWeighting(1, 2)),
    "linear as the mean": ({}, lambda: aggregation.MeanWeighting()),
    "linear as the sum": ({"weights": [1.0] * 5}, lambda: aggregation.SumWeighting()),
    "linear as a constant": (
        {"weights": [1.0, 2.0, 3.0, 4.0, 5.0]},
        lambda: aggregation.ConstantWeighting(torch.arange(1.0, 6.0, dtype=torch.float64)),
    ),
    "mgda-frank-wolfe": ({}, lambda: aggregation.MGDAWeighting()),
    "mgda-frank-wolfe with its settings": (
        {"epsilon": 0.1, "max_iterations": 3},
        lambda: aggregation.MGDAWeighting(0.1, 3),
    ),
    "pcd": ({}, lambda: aggregation.PCDWeighting()),
    "pcd with its settings": (
        {"tau": [0.1, 0.5, 0.2, 0.3], "beta": 0.5, "eps": 0.1},
        lambda: aggregation.PCDWeighting(torch.tensor([0.1, 0.5, 0.2, 0.3], dtype=torch.float64), 0.5, 0.1),
    ),
    "pcgrad": ({}, lambda: aggregation.PCGradWeighting()),
    "pcgrad with its settings": ({"seed": 7}, lambda: aggregation.PCGradWeighting()),
    "random": ({"seed": 7}, lambda: aggregation.RandomWeighting()),
    "upgrad": ({}, lambda: aggregation.UPGradWeighting(projector=RIDGE)),
    "upgrad with its settings": (
        {"preference": PREFERENCE, "ridge": 1e-3},
        lambda: aggregation.UPGradWeighting(LEANING, QuadprogProjector(reg_eps=1e-3)),
    ),
}  # fmt: skip
KEEPS_THE_SCALE = ("pcd", "fairgrad")
"""Their weights change with the gradients' scale."""
NEEDS_FIVE = ("krum", "pcd with its settings", "linear as the sum", "linear as a constant")


def drawn(weighting, grams, seed):
    """The weights over several steps, with torch's global generator as a method of that seed has its own."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        return torch.stack([weighting(gram) for gram in grams])


@pytest.mark.parametrize("case", CASES)
def test_the_weights_are_torchjds_on_the_same_gram(case):
    options, theirs = CASES[case]
    name, k = case.partition(" ")[0].strip(","), 5 if case in NEEDS_FIVE else 3
    for kind in ("generic", "strong conflict"):
        grams = [gram_of(structured(kind, k, seed)) for seed in range(4)]
        # Ours divides by the trace, which torchjd's absolute thresholds do not know of: ours is theirs on such a Gram.
        units = grams if case.startswith(KEEPS_THE_SCALE) else [gram / gram.trace() for gram in grams]
        ours = drawn(weighting_from_name(name, k, **options), grams, 0)
        expected = drawn(theirs(), units, options.get("seed", 0))
        torch.testing.assert_close(ours, expected, rtol=1e-3 if "fairgrad" in case else 1e-9, atol=1e-9)


def test_every_weighting_of_torchjd_that_takes_a_gram_matrix_is_reachable_or_known_not_to_be():
    """A new one in torchjd shows here: give it a file, or say in docs/balance.md why not."""
    reachable = {
        "AlignedMTLWeighting": "aligned-mtl",
        "CAGradWeighting": "cagrad",
        "CRMOGMWeighting": "cr-mogm",
        "ConstantWeighting": "linear",
        "DualProjWeighting": "dualproj",
        "FairGradWeighting": "fairgrad",
        "GradVacWeighting": "gradvac",
        "IMTLGWeighting": "imtl-g",
        "KrumWeighting": "krum",
        "MGDAWeighting": "mgda-frank-wolfe",
        "MeanWeighting": "linear",
        "PCDWeighting": "pcd",
        "PCGradWeighting": "pcgrad",
        "RandomWeighting": "random",
        "SumWeighting": "linear",
        "UPGradWeighting": "upgrad",
    }
    of_two_batches_or_the_jacobian = {"ExcessMTLWeighting", "MoDoWeighting", "SDMGradWeighting"}
    offered = {name for name in aggregation.__all__ if name.endswith("Weighting")} - {"Weighting"}
    assert offered == set(reachable) | of_two_batches_or_the_jacobian
    assert set(reachable.values()) | {"nash-mtl"} <= set(METHODS)


@pytest.mark.parametrize(
    "name",
    ["aligned-mtl", "cagrad", "dualproj", "gradvac", "imtl-g", "krum", "mgda", "mgda-frank-wolfe", "pcgrad", "upgrad"],
)
@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_short_and_long_gradients_get_the_same_weights(name, scale):
    gram = gram_of(structured("generic", 3, 1))
    short, usual = (weighting_from_name(name, 3)(factor * gram) for factor in (scale, 1))
    torch.testing.assert_close(short, usual, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_fairgrad_solves_its_equation_at_any_scale(alpha, scale):
    gram = scale * gram_of(structured("generic", 3, 1))
    weights = weighting_from_name("fairgrad", 3, alpha=alpha)(gram)
    if alpha == 0:
        assert weights.tolist() == pytest.approx([1 / 3] * 3)
    else:
        torch.testing.assert_close(gram @ weights, weights ** (-1 / alpha), rtol=1e-3, atol=0)


def test_nash_mtl_takes_the_gram_of_any_number_of_parameters():
    gradients = structured("generic", 3, 0, dimensions=50)
    theirs = aggregation.NashMTL(n_tasks=3).weighting
    ours = weighting_from_name("nash-mtl", 3)
    torch.testing.assert_close(ours(gram_of(gradients)), theirs(gradients), rtol=1e-5, atol=1e-6)
    settings = {"max_norm": 0.5, "iterations": 5, "every": 2}
    theirs = aggregation.NashMTL(n_tasks=3, max_norm=0.5, optim_niter=5, update_weights_every=2).weighting
    ours = weighting_from_name("nash-mtl", 3, **settings)
    for seed in range(4):
        gradients = structured("generic", 3, seed, dimensions=50)
        torch.testing.assert_close(ours(gram_of(gradients)), theirs(gradients), rtol=1e-5, atol=1e-6)


def test_instances_of_nash_mtl_share_nothing_and_reset_forgets():
    grams = [gram_of(structured("strong conflict", 3, seed)) for seed in range(4)]
    used = weighting_from_name("nash-mtl", 3)
    for gram in grams:
        used(gram)
    fresh = weighting_from_name("nash-mtl", 3)(grams[0])
    used.reset()
    assert torch.equal(used(grams[0]), fresh)


def test_upgrad_never_conflicts_even_when_norms_span_two_decades():
    for seed in range(10):
        gram = gram_of(structured("two decades", 5, seed))
        change = gram @ weighting_from_name("upgrad", 5)(gram)
        assert float((change / gram.diagonal().sqrt()).min()) > -1e-4


def test_the_frank_wolfe_iterations_come_near_the_exact_min_norm_point():
    for seed in range(5):
        gram = gram_of(structured("strong conflict", 3, seed))
        near = weighting_from_name("mgda-frank-wolfe", 3, epsilon=1e-8, max_iterations=10_000)(gram)
        exact = weighting_from_name("mgda", 3)(gram)
        assert float(near @ gram @ near) == pytest.approx(float(exact @ gram @ exact), rel=1e-2)


@pytest.mark.parametrize("name", ["pcgrad", "gradvac", "random"])
def test_what_is_random_has_its_own_seeded_draws_and_leaves_torchs_generator_alone(name):
    gram = gram_of(structured("strong conflict", 3, 3))
    first, again, other = (weighting_from_name(name, 3, seed=seed) for seed in (0, 0, 1))
    before = torch.get_rng_state()
    drawn = [first(gram) for _ in range(10)]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(123)
    assert all(torch.equal(weights, again(gram)) for weights in drawn)
    assert any(not torch.equal(weights, other(gram)) for weights in drawn)
    assert any(not torch.equal(weights, drawn[0]) for weights in drawn)  # a new order at each step
