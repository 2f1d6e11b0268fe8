"""One weighting for each preference: they take turns, and keep what they know apart."""

import pytest
import torch

from heed.balance import PGAPO, SmoothTchebycheff, weighting_from_name
from heed.errors import HeedError

GRAM = torch.tensor([[4.0, -1.0], [-1.0, 1.0]])


def test_each_turn_is_that_preference_s_own_weighting():
    method = weighting_from_name("conditioned:pgapo", 2, preferences=3)
    assert method.preferences == [[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]]
    for turn, preference in enumerate(method.preferences):
        method.turn_to(turn)
        assert torch.equal(method(GRAM), PGAPO(preference)(GRAM))


def test_values_reach_the_weighting_whose_turn_it_is_alone():
    scale = {"ideal": [10.0, 0.0], "nadir": [0.0, -1.0], "settle": 0}
    method = weighting_from_name("conditioned:tchebycheff", 2, preferences=2, inner_settings=scale)
    alone = [
        SmoothTchebycheff(p, [10.0, 0.0], [0.0, -1.0], mu=0.03, unit_gradients=False, share_floor=0.15)
        for p in method.preferences
    ]
    for turn, values in ((0, [2.0, -0.5]), (1, [9.0, -0.9]), (0, [3.0, -0.4])):
        method.turn_to(turn)
        method.observe(torch.tensor(values))
        alone[turn].observe(torch.tensor(values))
        assert torch.equal(method(GRAM), alone[turn](GRAM))
    again = weighting_from_name("conditioned:tchebycheff", 2, preferences=2, inner_settings=scale)
    again.load_state_dict(method.state_dict())
    for turn in (0, 1):
        again.turn_to(turn)
        assert torch.equal(again(GRAM), alone[turn](GRAM))


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("conditioned:mgda", {}, "mgda follows no preference"),
        ("conditioned:conditioned", {}, "conditioned follows no preference"),
        ("conditioned:gdpo", {}, "no weights to take turns"),
        ("conditioned:pgapo", {"preferences": 1}, "no choice"),
        ("conditioned:pgapo", {"inner_settings": {"preference": [0.5, 0.5]}}, "leave out preference"),
        ("conditioned:pgapo", {"inner_settings": {"mu": 0.1}}, "pgapo has no mu"),
        ("conditioned:tchebycheff", {}, "needs each objective's best and worst"),
    ],
)
def test_what_cannot_be_conditioned_is_refused(name, settings, says):
    with pytest.raises(HeedError, match=says):
        weighting_from_name(name, 2, **settings)
