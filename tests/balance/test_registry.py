"""Weightings by name: every setting reaches the code, every wrong one is one line, resumed ones go on exactly."""

import dataclasses
import typing
from dataclasses import dataclass

import pytest
import torch
import torchjd._mixins
from structured_gradients import gram_of, structured
from torchjd.aggregation import Weighting

from heed.balance import (
    GAPO,
    METHODS,
    PREFERENCE_METHODS,
    WEIGHTINGS,
    Linear,
    Objectives,
    Single,
    WeightingConfig,
    build_weighting,
    register,
    weighting_from_name,
)
from heed.errors import HeedError

OF_REWARDS = ("dvao", "gd2po", "gdpo", "mo-grpo", "modpo", "ric")  # test_combinations.py, test_modpo.py, test_ric.py
OF_GRADIENTS = [name for name in METHODS if name not in OF_REWARDS]
UNWEIGHED = ("inner_settings", "preferences", "through", "shared")
"""Settings of conditioned that change no weights of a Gram matrix: test_conditioned.py, test_by_adapter.py."""
OPTIONS = {
    "pgapo": {"preference": [0.2, 0.3, 0.5]},
    "conditioned": {"inner": "pgapo"},
    "lagrangian": {"constraints": "1>=0.5"},
    "tchebycheff": {"preference": [0.2, 0.3, 0.5], "ideal": [1.0, 1.0, 1.0], "nadir": [0.0, 0.0, 0.0]},
}


def build(name, **options):
    weighting = weighting_from_name(name, 3, **{**OPTIONS.get(name, {}), **options})
    if name == "tchebycheff":
        weighting.observe(torch.tensor([0.5, 0.2, 0.9]))
    if name == "lagrangian":
        for value in (0.1, 0.2):
            weighting.observe_spreads(torch.tensor([0.5, value, 0.9]), torch.ones(3))
    return weighting


@pytest.mark.parametrize("name", OF_GRADIENTS)
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


@pytest.mark.parametrize("name", OF_GRADIENTS)
def test_a_restored_weighting_goes_on_exactly(name):
    grams = [gram_of(structured("strong conflict", 3, seed)) for seed in range(5)]
    weighting, restored = build(name), build(name)
    for gram in grams[:3]:
        weighting(gram)
    restored.load_state_dict(weighting.state_dict())
    before = torch.get_rng_state()
    assert all(torch.equal(weighting(gram), restored(gram)) for gram in grams[3:])
    assert torch.equal(torch.get_rng_state(), before)  # who draws does so from a generator of its own
    fresh = build(name)
    restored.load_state_dict(fresh.state_dict())  # and back to the beginning
    assert torch.equal(restored(grams[0]), fresh(grams[0]))


@pytest.mark.parametrize("name", OF_GRADIENTS)
def test_a_zero_gradient_leaves_the_weights_finite(name):
    gradients = structured("generic", 3, 0)
    gradients[1] = 0
    assert torch.isfinite(build(name)(gram_of(gradients))).all()


CHANGED = {
    "aligned-mtl": {"preference": [0.2, 0.3, 0.5], "scale_mode": "rmse"},
    "cagrad": {"c": 0.2, "norm_eps": 10.0},
    "cr-mogm": {"inner": "mgda", "alpha": 0.2},
    "modo": {"rate": 0.1},
    "sdmgrad": {"preference": [0.2, 0.3, 0.5], "lean": 2.0, "rate": 0.1, "iterations": 2},
    "lagrangian": {"constraints": "1>=0.7", "rate": 0.1, "proportional": 0.2, "average": 0.1},
    "dualproj": {"preference": [0.2, 0.3, 0.5], "ridge": 0.1},
    "fairgrad": {"alpha": 2.0, "max_iters": 1},
    "gapo": {"p": 2.0, "floor": 2.0, "keep_scale": True},
    "gradvac": {"beta": 0.1, "eps": 0.1, "seed": 1},
    "krum": {"n_selected": 2},
    "conditioned": {"inner": "linear"},
    "linear": {"preference": [0.2, 0.3, 0.5], "weights": [1.0, 2.0, 3.0]},
    "mgda-frank-wolfe": {"epsilon": 0.5, "max_iterations": 1},
    "nash-mtl": {"max_norm": 0.1, "iterations": 1, "every": 3},
    "pcd": {"tau": 0.5, "beta": 0.1, "eps": 100.0},
    "pcgrad": {"seed": 1},
    "pgapo": {"preference": [0.5, 0.3, 0.2], "floor": 2.0},
    "random": {"seed": 1},
    "single": {"objective": "1", "index": 2},
    "tchebycheff": {
        "preference": [0.5, 0.3, 0.2],
        "ideal": [2.0, 1.0, 1.0],
        "nadir": [-1.0, 0.0, 0.0],
        "mu": 1.0,
        "share_floor": 0.3,
        "settle": 0,
        "average": 0.1,
        "unit_gradients": True,
        "outer_preference": True,
        "floor": 3.0,
    },
    "upgrad": {"preference": [0.2, 0.3, 0.5], "ridge": 0.1},
}  # fmt: skip
"""A value of each setting that changes the weights."""
BESIDE = {("tchebycheff", setting): {"settle": 0} for setting in CHANGED["tchebycheff"] if setting != "settle"}
BESIDE[("tchebycheff", "floor")] = {"unit_gradients": True, "settle": 0}
BESIDE[("pcd", "eps")] = BESIDE[("pcd", "beta")] = {"tau": 0.5}
BESIDE[("nash-mtl", "iterations")] = {"max_norm": 0.0}
NEEDS_FOUR = {("krum", "n_byzantine"): {"n_byzantine": 1}}
"""What must stand beside a setting for it to show."""


def drawn(name, options, k=3):
    """The weights of a method over several steps of conflicting gradients."""
    weighting = weighting_from_name(name, k, **{**OPTIONS.get(name, {}), **options})
    kind = "two decades" if name == "nash-mtl" else "strong conflict"  # easy bargains are struck in one iteration
    found = []
    for seed in range(4):
        if name == "tchebycheff":
            weighting.observe(torch.tensor([0.5, 0.2, 0.9]) - 0.1 * seed)
        if name == "lagrangian":
            weighting.observe_spreads(torch.tensor([0.5, 0.2, 0.9]) - 0.1 * seed, torch.ones(k))
        found.append(weighting(gram_of(structured(kind, k, seed) * torch.arange(1.0, k + 1)[:, None])))
    return torch.stack(found)


def test_there_is_a_changed_value_of_every_setting_of_every_method():
    known = {(name, setting) for name, options in CHANGED.items() for setting in options}
    all_settings = {(n, field.name) for n in OF_GRADIENTS for field in dataclasses.fields(WEIGHTINGS[n])}
    conditioned = {("conditioned", setting) for setting in UNWEIGHED}
    assert all_settings == known | set(NEEDS_FOUR) | {("cr-mogm", "inner_settings")} | conditioned


@pytest.mark.parametrize(("name", "setting"), [(name, s) for name, options in CHANGED.items() for s in options])
def test_every_setting_changes_the_weights(name, setting):
    beside = BESIDE.get((name, setting), {})
    without = drawn(name, beside)
    assert not torch.allclose(drawn(name, beside | {setting: CHANGED[name][setting]}), without, rtol=1e-6, atol=1e-9)


def test_settings_that_need_more_objectives_or_an_inner_method_change_the_weights_too():
    few = drawn("krum", {}, k=4)
    assert not torch.equal(drawn("krum", {"n_byzantine": 1}, k=4), few) or not torch.equal(
        drawn("krum", {"n_byzantine": 1}, k=5), drawn("krum", {}, k=5)
    )
    settings = {"inner": "gapo", "inner_settings": {"p": 2.0}}
    assert not torch.allclose(drawn("cr-mogm", settings), drawn("cr-mogm", {"inner": "gapo"}))


def test_a_setting_means_one_type_in_all_methods_that_have_it():
    kinds = {}
    for config in WEIGHTINGS.values():
        for setting, kind in typing.get_type_hints(config).items():
            if not setting.startswith("__") and setting not in ("name", "argument"):
                assert kinds.setdefault(setting, kind) == kind, setting


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


def test_a_weighting_of_one_s_own_is_one_declaration(monkeypatch):
    monkeypatch.setattr("heed.balance.registry.WEIGHTINGS", {})

    @register("first")
    @dataclass(frozen=True)
    class FirstConfig(WeightingConfig):
        share: float = 1.0

        def build(self, objectives):
            return Linear([self.share] + [0.0] * (objectives.count - 1))

    gram = torch.eye(3)
    assert weighting_from_name("first", 3, share=0.5)(gram).tolist() == [0.5, 0.0, 0.0]
    assert build_weighting(FirstConfig(2.0), Objectives(("a", "b")))(torch.eye(2)).tolist() == [2.0, 0.0]
    with pytest.raises(ValueError, match="two weightings are called 'first'"):
        register("first")(FirstConfig)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("gappo", {}, "no method 'gappo'.*did you mean gapo"),
        ("zzz", {}, "choose from aligned-mtl, cagrad.*or give module:name"),
        ("gapo", {"p": -1.0}, "p is -1"),
        ("gapo", {"exponent": 1.0}, "gapo has no exponent .--exponent.: its settings are p, floor, keep_scale"),
        ("gapo", {"c": 1.0}, "gapo has no c .--c.: take --method cagrad, or leave it out"),
        ("mgda", {"seed": 1}, "mgda has no seed .--seed.: take --method gradvac or pcgrad or random"),
        ("mgda:help", {}, "no method 'mgda:help'"),
        ("pgapo", {}, "pgapo needs a preference .--preference.: give 3 weights"),
        ("pgapo", {"preference": [0.5, 0.5]}, "2 weights for 3 objectives"),
        ("upgrad", {"preference": [0.5, 0.5]}, "2 weights for 3 objectives"),
        ("tchebycheff", {"preference": [0.2, 0.3, 0.5]}, "needs each objective's best and worst value"),
        ("tchebycheff", {"preference": [0.2, 0.3, 0.5], "ideal": [1.0] * 3}, "there is --ideal but no --nadir"),
        ("linear", {"weights": [1.0]}, "1 weights for 3 objectives"),
        ("linear", {"weights": [1.0] * 3, "preference": [0.2, 0.3, 0.5]}, "both weights and a preference"),
        ("single", {"index": 3}, "no objective 3 among 3"),
        ("single:cheap", {"names": ["a", "b", "c"]}, "no objective 'cheap'.*choose from a, b, c"),
        ("single:a", {"names": ["a", "b", "c"], "objective": "b"}, "single:a has another objective, b"),
        ("cagrad", {"c": -1.0}, "radius c is -1"),
        ("krum", {"n_byzantine": 1}, "krum needs 4 objectives, here are 3"),
        ("gradvac", {"beta": 2.0}, "beta.*Found beta=2.0.*--method gradvac"),
        ("pcd", {"tau": [0.1]}, "1 values of tau for 2 objectives after the first"),
        ("fairgrad", {"alpha": -1.0}, "FairGrad's alpha is -1"),
        ("cr-mogm:nothing", {}, "no method 'nothing'"),
        ("cr-mogm", {"alpha": 2.0}, "CR-MOGM's alpha is 2"),
        ("cr-mogm:gapo", {"inner_settings": {"c": 1.0}}, "gapo has no c"),
        ("cr-mogm:tchebycheff", {"inner_settings": OPTIONS["tchebycheff"]}, "smooths them by itself"),
    ],
)
def test_a_wrong_name_or_option_is_refused_in_one_line(name, options, said):
    with pytest.raises(HeedError, match=said) as refusal:
        weighting_from_name(name, 3, **options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["cagrad", "upgrad", "dualproj", "nash-mtl", "fairgrad"])
def test_a_missing_package_is_named_with_its_remedy(name, monkeypatch):
    monkeypatch.setattr(torchjd._mixins, "find_spec", lambda _: None)
    with pytest.raises(HeedError, match=r"pip install heed\[weightings\]"):
        build(name)
