"""Which policies stand for a preference: the trained one, the two nearest, or the outermost; never anything beyond."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.compare.picking import pick_from
from heed.compare.picking.front_points import FrontPoint
from heed.errors import HeedError


def points(*preferences, tag=""):
    return [FrontPoint(tuple(each), (0.0,) * len(each), Path("a"), tag) for each in preferences]


ALONG = points((0.1, 0.9), (0.3, 0.7), (0.5, 0.5), (0.7, 0.3), (0.9, 0.1))
UNEVEN = points((0.1, 0.9), (0.15, 0.85), (0.9, 0.1))


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


def test_among_three_objectives_the_pair_is_taken_that_comes_nearest():
    three = points((1, 0, 0), (0, 1, 0), (0, 0, 1), (1 / 3, 1 / 3, 1 / 3))
    pick = pick_from(three, [0.5, 0.5, 0.0])
    assert pick.exact and {part.preference for part in pick.parts} == {(1, 0, 0), (0, 1, 0)}
    off = pick_from(three, [0.6, 0.3, 0.1])
    assert not off.exact
    distance = np.linalg.norm(np.array(off.stands_for) - [0.6, 0.3, 0.1])
    every = [np.linalg.norm(t * np.array(a.preference) + (1 - t) * np.array(b.preference) - [0.6, 0.3, 0.1])
             for a in three for b in three for t in np.linspace(0, 1, 201)]  # fmt: skip
    assert distance <= min(every) + 1e-9


def test_what_is_no_preference_is_refused_and_so_is_mixing_what_prompts_tell():
    for wrong in ([0.5, 0.2], [1.2, -0.2], [1.0], [np.nan, 1.0]):
        with pytest.raises(HeedError, match="preference"):
            pick_from(ALONG, wrong)
    told = points((0.3, 0.7), (0.7, 0.3), tag="[help 30%] ")
    assert pick_from(told, [0.3, 0.7]).parts[0].tag == "[help 30%] "
    with pytest.raises(HeedError, match=r"told its preference by its prompts.*take one of 0\.3,0\.7; 0\.7,0\.3"):
        pick_from(told, [0.5, 0.5])
