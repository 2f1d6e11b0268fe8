"""Which proposals a block is about: what was in view a reaction ago, in the same episode."""

from __future__ import annotations

import pytest

from heed.oversight.control.credit import Credit
from heed.oversight.control.records import LONGEST_REACTION


def seen(reaction=0.0, count=9, every=0.1):
    """Proposals 1, 2, ... that came into view at 0, .1, ... s."""
    credit = Credit(reaction)
    for number in range(1, count + 1):
        credit.begin(number, episode_begins=number == 1)
        credit.came_into_view(number, every * (number - 1))
    return credit


@pytest.mark.parametrize(("reaction", "since"), [(0.0, 9), (0.15, 7), (0.35, 5), (0.75, 1)])
def test_a_block_reaches_back_to_what_was_in_view_a_reaction_ago(reaction, since):
    assert seen(reaction).since("ada", None, 9, now=0.8 + 1e-9) == since


def test_a_measured_reaction_counts_for_that_person_alone():
    credit = seen(reaction=0.15)
    credit.reactions["ada"] = 0.35
    assert (credit.since("ada", None, 9, 0.86), credit.since("bob", None, 9, 0.86)) == (6, 8)


def test_where_nothing_was_in_view_a_reaction_ago_a_block_is_about_its_own():
    assert seen(reaction=5.0).since("ada", None, 9, 0.85) == 9


def test_what_the_page_showed_counts_where_it_is_earlier():
    credit = seen()
    assert (credit.since("ada", 4, 9, 0.85), credit.since("ada", 12, 9, 0.85)) == (4, 9)


def test_no_block_reaches_back_further_than_anybody_reacts():
    credit = seen(reaction=60.0, count=50)
    now = 0.1 * 49
    assert credit.since("ada", 1, 50, now) == 1 + int((now - LONGEST_REACTION) / 0.1 + 1e-6)


def test_steps_end_where_the_episode_begins():
    credit = seen()
    assert credit.steps(9, since=3) == 6
    credit.begin(8, episode_begins=True)
    assert (credit.steps(9, since=3), credit.steps(8, since=3), credit.steps(9, since=9)) == (1, 0, 0)
