import pytest
import torch
import torchjd._mixins
from structured_gradients import gram_of, structured
from torchjd import aggregation
from torchjd.aggregation import Weighting

from heed.balance import GAPO, METHODS, PREFERENCE_METHODS, Single, weighting_from_name
from heed.errors import HeedError

OPTIONS = {
    "pgapo": {"preference": [0.2, 0.3, 0.5]},
    "tchebycheff": {"preference": [0.2, 0.3, 0.5], "ideal": [1.0, 1.0, 1.0], "nadir": [0.0, 0.0, 0.0]},
}
SCALE_FREE = ("mgda", "pcgrad", "cagrad", "upgrad", "aligned-mtl")


def build(name, **options):
    weighting = weighting_from_name(name, 3, **{**OPTIONS.get(name, {}), **options})
    if name == "tchebycheff":
        weighting.observe(torch.tensor([0.5, 0.2, 0.9]))
    return weighting


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_finite_weights_in_the_grams_type(name):
    weighting = build(name)
    assert isinstance(weighting, Weighting)
    for kind in ("generic", "strong conflict", "rank deficient", "parallel"):
        for dtype in (torch.float32, torch.float64):
            weights = weighting(gram_of(structured(kind, 3, 0).to(dtype)))
            assert weights.dtype == dtype
            assert torch.isfinite(weights).all()
    assert torch.isfinite(weighting(torch.zeros(3, 3))).all()
    with pytest.raises(ValueError, match="not finite"):
        weighting(torch.full((3, 3), float("inf")))


@pytest.mark.parametrize("name", SCALE_FREE)
@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_short_and_long_gradients_get_the_same_weights(name, scale):
    gram = gram_of(structured("generic", 3, 1))
    torch.testing.assert_close(build(name)(scale * gram), build(name)(gram), rtol=1e-6, atol=1e-6)


def test_the_classical_directions_are_torchjds():
    gradients = structured("strong conflict", 3, 2)
    gram = gram_of(gradients)
    for name, theirs in (
        ("cagrad", aggregation.CAGrad(c=0.5)),
        ("aligned-mtl", aggregation.AlignedMTL()),
        ("nash-mtl", aggregation.NashMTL(n_tasks=3)),
        ("upgrad", aggregation.UPGrad()),
    ):
        # UPGrad's ridge is torchjd's 1e-4 there and ours here: they agree to that.
        tolerance = 1e-2 if name == "upgrad" else 1e-5
        torch.testing.assert_close(build(name)(gram) @ gradients, theirs(gradients), rtol=tolerance, atol=tolerance)


def test_nash_mtl_takes_the_gram_of_any_number_of_parameters():
    gradients = structured("generic", 3, 0, dimensions=50)
    theirs = aggregation.NashMTL(n_tasks=3).weighting
    torch.testing.assert_close(build("nash-mtl")(gram_of(gradients)), theirs(gradients), rtol=1e-5, atol=1e-6)


def test_upgrad_never_conflicts_even_when_norms_span_two_decades():
    for seed in range(10):
        gram = gram_of(structured("two decades", 5, seed))
        change = gram @ weighting_from_name("upgrad", 5)(gram)
        assert float((change / gram.diagonal().sqrt()).min()) > -1e-4


def test_pcgrad_has_its_own_seeded_orders_and_leaves_torchs_generator_alone():
    gram = gram_of(structured("strong conflict", 3, 3))
    first, again, other = build("pcgrad", seed=0), build("pcgrad", seed=0), build("pcgrad", seed=1)
    before = torch.get_rng_state()
    drawn = [first(gram) for _ in range(10)]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(123)
    assert all(torch.equal(weights, again(gram)) for weights in drawn)
    assert any(not torch.equal(weights, other(gram)) for weights in drawn)
    assert any(not torch.equal(weights, drawn[0]) for weights in drawn)  # a new order at each step


@pytest.mark.parametrize("name", ["pcgrad", "nash-mtl"])
def test_a_restored_weighting_goes_on_exactly(name):
    grams = [gram_of(structured("strong conflict", 3, seed)) for seed in range(5)]
    weighting, restored = build(name), build(name)
    for gram in grams[:3]:
        weighting(gram)
    restored.load_state_dict(weighting.state_dict())
    assert all(torch.equal(weighting(gram), restored(gram)) for gram in grams[3:])


def test_instances_of_nash_mtl_share_nothing_and_reset_forgets():
    grams = [gram_of(structured("strong conflict", 3, seed)) for seed in range(4)]
    used = build("nash-mtl")
    for gram in grams:
        used(gram)
    fresh = build("nash-mtl")(grams[0])
    used.reset()
    assert torch.equal(used(grams[0]), fresh)


def test_a_zero_gradient_leaves_the_classical_weights_finite():
    gradients = structured("generic", 3, 0)
    gradients[1] = 0
    for name in ("pcgrad", "cagrad", "upgrad", "aligned-mtl"):
        assert torch.isfinite(build(name)(gram_of(gradients))).all()


def test_options_reach_the_weighting():
    gram = torch.diag(torch.tensor([4.0, 1.0]))
    assert torch.equal(weighting_from_name("gapo", 2, p=2.0)(gram), GAPO(p=2)(gram))
    assert weighting_from_name("linear", 2)(gram).tolist() == [0.5, 0.5]
    assert weighting_from_name("linear", 2, weights=[1.0, 3.0])(gram).tolist() == [1.0, 3.0]
    assert weighting_from_name("linear", 2, preference=[0.25, 0.75])(gram).tolist() == [0.25, 0.75]
    named = weighting_from_name("single:harmless", 2, names=["help", "harmless"])
    assert isinstance(named, Single)
    assert named.index == 1
    for name in PREFERENCE_METHODS:
        weighting_from_name(name, 3, **{"preference": [0.2, 0.3, 0.5], **OPTIONS.get(name, {})})


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("gappo", {}, "no method 'gappo'.*did you mean gapo"),
        ("zzz", {}, "choose from gapo"),
        ("gapo", {"p": -1.0}, "power of GAPO is -1"),
        ("gapo", {"power": 1.0}, "unexpected keyword argument 'power'"),
        ("mgda:help", {}, "no method 'mgda:help'"),
        ("pgapo", {}, "missing a required argument: 'preference'"),
        ("pgapo", {"preference": [0.5, 0.5]}, "2 weights for 3 objectives"),
        ("tchebycheff", {"preference": [0.2, 0.3, 0.5]}, "missing a required argument: 'ideal'"),
        ("linear", {"weights": [1.0]}, "1 weights for 3 objectives"),
        ("linear", {"weights": [1.0] * 3, "preference": [0.2, 0.3, 0.5]}, "both weights and a preference"),
        ("single", {"index": 3}, "no objective 3 among 3"),
        ("single:cheap", {"names": ["a", "b", "c"]}, "no objective 'cheap'.*choose from a, b, c"),
        ("cagrad", {"c": -1.0}, "radius c is -1"),
    ],
)
def test_a_wrong_name_or_option_is_refused_in_one_line(name, options, said):
    with pytest.raises(HeedError, match=said) as refusal:
        weighting_from_name(name, 3, **options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["cagrad", "upgrad", "nash-mtl"])
def test_a_missing_package_is_named_with_its_remedy(name, monkeypatch):
    monkeypatch.setattr(torchjd._mixins, "find_spec", lambda _: None)
    with pytest.raises(HeedError, match=r"pip install heed\[weightings\]"):
        build(name)
