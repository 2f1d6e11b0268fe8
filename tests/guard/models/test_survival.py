"""Whether an overseer blocks at the last moment or in time, by what their blocks were followed by."""

import pytest
import torch

from heed.guard.models.labels import Labels
from heed.guard.models.survival import LEAST_BLOCKS, instead_of_blocks, survivors_agree

BRINK = 1.0
"""A catastrophe beyond it."""


def told(least, saved, steps=600, seed=0):
    """Labels of a walk on a line: blocked from ``least`` on, after which a share ``saved`` comes to no harm."""
    draw = torch.Generator().manual_seed(seed)
    before = torch.rand(steps, generator=draw) * 1.2
    after = before + 0.1 * torch.rand(steps, generator=draw)
    blocked = after > least
    lucky = blocked & (torch.rand(steps, generator=draw) < saved)
    ended = before[lucky]  # the safe action holds it where it is
    x = torch.cat([after, ended])[:, None]
    new = torch.ones(len(ended), dtype=torch.bool)
    states = torch.cat([before, before[lucky]])[:, None]
    episodes = torch.cat([torch.arange(steps) // 20, (torch.arange(steps) // 20)[lucky]])
    happened = torch.cat([blocked & ~lucky, ~new])
    labels = Labels(
        states, x, x, torch.cat([blocked, ~new]), episodes, happened, torch.cat([torch.zeros(steps) > 0, new])
    )
    return x, labels, episodes % 5, torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(3))
def test_blocks_that_lead_on_through_what_would_be_blocked_again_came_in_time(seed):
    assert False is survivors_agree(*told(least=0.5, saved=1.0, seed=seed))


@pytest.mark.parametrize("seed", range(3))
def test_blocks_that_catastrophes_follow_came_at_the_last_moment(seed):
    assert survivors_agree(*told(least=BRINK, saved=0.0, seed=seed))
    assert survivors_agree(*told(least=BRINK, saved=0.1, seed=seed))


def test_blocks_after_which_nobody_would_block_came_at_the_last_moment():
    inputs, labels, folds, draw = told(least=BRINK, saved=1.0)
    back = torch.where(labels.survived[:, None], inputs - 0.4, inputs)  # the safe action steps back
    assert survivors_agree(back, labels, folds, draw)


def test_of_too_little_nothing_is_concluded():
    inputs, labels, folds, draw = told(least=1.19, saved=0.0)
    assert int(labels.catastrophes.sum()) > 0 and int(labels.blocked.sum()) < LEAST_BLOCKS * 6
    few = labels.blocked.nonzero()[LEAST_BLOCKS - 1 :, 0]
    inputs[few] = torch.nan
    assert survivors_agree(inputs, labels, folds, draw) is None
    assert None is survivors_agree(
        inputs[:0], Labels(*(column[:0] for column in vars(labels).values())), folds[:0], draw
    )


def test_only_what_was_done_in_place_of_a_block_tells():
    _, labels, _, _ = told(least=0.5, saved=0.5)
    chosen = instead_of_blocks(labels)
    assert torch.equal(chosen, labels.survived)
    elsewhere = Labels(**(vars(labels) | {"states": labels.states + labels.survived[:, None].float() * 7}))
    assert not instead_of_blocks(elsewhere).any()
