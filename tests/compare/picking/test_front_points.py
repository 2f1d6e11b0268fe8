"""Which policies stand for a preference: the trained one, the two nearest, or the outermost; never anything beyond."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.balance.preferences import spread_preferences
from heed.compare.picking import pick_from
from heed.compare.picking.front_points import FrontPoint
from heed.errors import HeedError


def points(*preferences, tag=""):
    return [FrontPoint(tuple(each), (0.0,) * len(each), Path("a"), tag) for each in preferences]


ALONG = points((0.1, 0.9), (0.3, 0.7), (0.5, 0.5), (0.7, 0.3), (0.9, 0.1))
UNEVEN = points((0.1, 0.9), (0.15, 0.85), (0.9, 0.1))


@settings(deadline=None)
@given(st.floats(0, 1))
def test_between_two_objectives_neighbours_on_either_side_stand_for_what_was_asked_exactly(first):
    for along in (ALONG, UNEVEN):
        pick = pick_from(along, [first, 1 - first])
        known = [point.preference[0] for point in along]
        assert pick.stands_for[0] == pytest.approx(np.clip(first, min(known), max(known)), abs=1e-6)
        assert sum(pick.shares) == pytest.approx(1) and min(pick.shares) >= 0
        between = [
            x for x in known if min(p.preference[0] for p in pick.parts) < x < max(p.preference[0] for p in pick.parts)
        ]
        assert between == []  # the two nearest, with nothing that was trained between them


CORNERS = points((1, 0, 0), (0, 1, 0), (0, 0, 1))
LATTICE = points(*spread_preferences(10, 3))


def shared(pick):
    return {part.preference: pytest.approx(share) for part, share in zip(pick.parts, pick.shares, strict=True)}


def test_among_three_objectives_as_many_are_mixed_as_reach_the_preference():
    third = pick_from(CORNERS, [1 / 3] * 3)
    assert third.exact and shared(third) == {(1, 0, 0): 1 / 3, (0, 1, 0): 1 / 3, (0, 0, 1): 1 / 3}
    middle = points((1 / 3,) * 3)
    edge = pick_from(CORNERS + middle, [0.5, 0.5, 0.0])
    assert edge.exact and shared(edge) == {(1, 0, 0): 0.5, (0, 1, 0): 0.5}
    inner = pick_from(CORNERS + middle, [0.6, 0.3, 0.1])  # the middle in place of the third corner, which is farther
    assert inner.exact and shared(inner) == {(1, 0, 0): 0.5, (0, 1, 0): 0.2, (1 / 3,) * 3: 0.3}


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda each: sum(each) > 0.01))
def test_no_mixture_comes_nearer_and_none_has_closer_parts(weights):
    aim = np.array(weights) / sum(weights)
    pick = pick_from(LATTICE, aim.tolist())
    known = np.array([point.preference for point in LATTICE])
    assert len(pick.parts) <= 3 and sum(pick.shares) == pytest.approx(1) and min(pick.shares) > 0
    off = aim - np.array(pick.stands_for)  # the nearest of the hull: every point of it lies on the other side
    assert ((known - np.array(pick.stands_for)) @ off).max() < 1e-6
    chosen = np.array([part.preference for part in pick.parts])
    across = np.linalg.norm(chosen[:, None] - chosen, axis=-1).max()
    assert across < 0.3 * np.sqrt(2) + 1e-6  # the corners of one small triangle of the lattice, whose sides are that


def test_what_is_no_preference_is_refused_and_so_is_mixing_what_prompts_tell():
    for wrong in ([0.5, 0.2], [1.2, -0.2], [1.0], [np.nan, 1.0]):
        with pytest.raises(HeedError, match="preference"):
            pick_from(ALONG, wrong)
    told = points((0.3, 0.7), (0.7, 0.3), tag="[help 30%] ")
    assert pick_from(told, [0.3, 0.7]).parts[0].tag == "[help 30%] "
    with pytest.raises(HeedError, match=r"told its preference by its prompts.*take one of 0\.3,0\.7; 0\.7,0\.3"):
        pick_from(told, [0.5, 0.5])
