"""The card says of each method how its policy came to stand for the preference, and what was mixed."""

from pathlib import Path

import pytest

from heed.compare.one_policy import OF_ONE_POLICY as TRAINED_AS_ONE
from heed.compare.picking import FrontPoint, pick_from
from heed.compare.picking.card import OF_ONE_POLICY, SOUP, card
from heed.compare.soups import SOUPS
from tiny_adapters import policies

POINTS = [FrontPoint((x, 1 - x), (1.0, 2.0), Path(str(x))) for x in (0.25, 0.75)]
TOLD = [FrontPoint((0.25, 0.75), (1.0, 2.0), Path("a"), "[help 25%] ")]


def test_methods_are_called_as_where_they_are_made():
    assert SOUP == SOUPS and OF_ONE_POLICY == TRAINED_AS_ONE


@pytest.mark.parametrize(
    ("points", "method", "asked", "said"),
    [
        (POINTS, "tchebycheff", 0.25, "This policy was trained for that preference."),
        (POINTS, "tchebycheff", 0.1, "has nothing nearer. This policy was trained for help 0.25, harmless 0.75."),
        (POINTS, "soups", 0.25, "was mixed for that preference, of policies that were trained for one objective each."),
        (POINTS, "conditioned:pgapo", 0.25, "One policy was trained for all preferences, and here stands for that"),
        (
            TOLD,
            "ric",
            0.25,
            "One policy was trained for all preferences, and here stands for that preference",
        ),
        (TOLD, "ric", 0.25, "before each prompt: `[help 25%] `."),
        (POINTS, "tchebycheff", 0.5, "Mixed of 2 of the front, exactly in their change of weights. **Its own values"),
    ],
)
def test_it_says_how_the_policy_came_to_stand_for_the_preference(points, method, asked, said):
    text = card(pick_from(points, [asked, 1 - asked]), policies(points, method), "owner/name")
    assert said in text
    assert ("trained for that preference" in text) == (method == "tchebycheff" and asked == 0.25)


def test_the_version_is_that_of_the_training():
    pick = pick_from(POINTS, [0.25, 0.75])
    assert "Trained by heed 0.0.7, `pgapo`, on help, harmless; an adapter of `b`." in card(
        pick, policies(POINTS, version="0.0.7"), "b"
    )
    assert "Trained by heed, `pgapo`, on" in card(pick, policies(POINTS), "b")
