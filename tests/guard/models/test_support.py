"""Where the models are trusted: what no danger depends on has no range, and imagination has the slack it needs."""

import pytest
import torch

from heed.guard.models.blockers import KnownBlockers
from heed.guard.models.dynamics import KnownDynamics
from heed.guard.models.support import Range
from heed.guard.planning.imagination import Imagination


def seen(count=400, size=3):
    return torch.rand(count, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_drift_noise_and_flags_that_no_danger_depends_on_are_known_wherever_they_are():
    states = torch.cat([seen(), torch.randint(2, (400, 1)).float()], 1)
    reach = Range.around(states, 0.02, keys=(1,))
    far = torch.tensor([[1e6, 0.0, -40.0, 7.0]])
    assert not reach.outside(far).any()
    assert Range.around(states, 0.02).beyond(far).tolist() == [[True, False, True, False]]


@pytest.mark.parametrize("size", [24, 50, 100])
def test_many_dimensions_block_no_more_than_few(size):
    reach = Range.around(seen(size=size), 0.02, keys=(0, 1))
    fresh = 1.05 * (torch.rand(1000, size, generator=torch.Generator().manual_seed(1)) * 2 - 1)
    assert reach.outside(fresh).float().mean() < 0.1
    assert Range.around(seen(size=size), 0.02).outside(fresh).float().mean() > 0.2


def test_a_model_that_diverges_looks_dangerous_in_any_part():
    reach = Range.around(seen(), 0.02, keys=(1,))
    lost = torch.tensor([[0.0, 30.0, 0.0], [torch.nan, 0.0, 0.0], [0.0, 0.0, torch.inf]])
    assert reach.outside(lost, torch.tensor(0)).all()


def test_slack_is_what_imagining_real_windows_exceeds_the_range_by():
    states = torch.zeros(100, 6, 1)
    reach = Range(torch.tensor([-1.0]), torch.tensor([1.0]), torch.tensor([2.0]))
    drift = KnownDynamics(lambda s, a: (s + a + 0.5, torch.zeros(s.shape[:-1])), members=2)
    actions = torch.zeros(100, 5, 1)
    actions[:3] = 0.1  # 3 of 100 windows go further; 2 may
    found = reach.calibrated(drift, states, actions, torch.Generator().manual_seed(0))
    assert found.slack.tolist() == pytest.approx([0.0, 0.1, 0.4, 0.7, 1.0])  # 0.6 a step, in widths of 2
    assert not found.outside(torch.tensor([[2.3]]), torch.tensor(3)) and found.outside(torch.tensor([[2.3]]))
    assert found.outside(torch.tensor([[2.3]]), torch.tensor(1))
    assert not found.outside(torch.tensor([[2.9]]), torch.tensor(99))  # as at the last step that was calibrated


def test_slack_follows_the_step_along_a_future_and_never_shrinks():
    reach = Range(torch.tensor([-1.0]), torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([0.0, 0.5]))
    path = torch.full((2, 4, 1), 1.5)
    assert reach.outside(path, torch.arange(2)[:, None]).tolist() == [[True] * 4, [False] * 4]
    back = KnownDynamics(lambda s, a: (a, torch.zeros(s.shape[:-1])), members=1)
    actions = torch.tensor([[[3.0], [0.0], [2.0]]])
    found = reach.calibrated(back, torch.zeros(1, 4, 1), actions, torch.Generator())
    assert found.slack.tolist() == [1.0, 1.0, 1.0]


def test_a_model_that_is_lost_in_truth_gets_no_slack():
    reach = Range.around(seen(), 0.0)
    nowhere = KnownDynamics(lambda s, a: (s + torch.inf, torch.zeros(s.shape[:-1])), members=1)
    found = reach.calibrated(nowhere, torch.zeros(50, 3, 3), torch.zeros(50, 2, 1), torch.Generator())
    assert found.slack.tolist() == [0.0, 0.0]
    assert reach.calibrated(nowhere, torch.zeros(0, 3, 3), torch.zeros(0, 2, 1), torch.Generator()) is reach


def test_where_the_agent_is_is_known_and_what_lies_further_out_is_not():
    reach = Range(torch.tensor([-1.0, -torch.inf]), torch.tensor([1.0, torch.inf]), torch.tensor([2.0, 2.0]))
    here = reach.including(torch.tensor([1.5, torch.nan]))
    assert here.outside(torch.tensor([[1.5, 0.0], [1.6, 0.0], [-1.1, 0.0], [1.2, torch.nan]])).tolist() == [
        False, True, True, True,
    ]  # fmt: skip
    assert reach.outside(torch.tensor([[1.2, 0.0]])) and not here.outside(torch.tensor([[1.2, 0.0]]))


def test_futures_from_beyond_what_was_seen_are_unknown_only_where_they_lead_further():
    reach = Range(torch.tensor([-1.0]), torch.tensor([1.0]), torch.tensor([2.0]))
    walk = KnownDynamics(lambda s, a: (s + a, torch.zeros(s.shape[:-1])), members=1)
    harmless = KnownBlockers(lambda states: torch.zeros(states.shape[:-1], dtype=torch.bool))
    imagination = Imagination(walk, harmless, lambda states: torch.zeros(len(states), 1), 1, reach)
    plans = torch.tensor([[[0.1], [0.0]], [[0.0], [0.0]], [[-0.2], [0.1]]])
    futures = imagination.roll(torch.tensor([1.5]), plans)
    assert futures.danger[:, 0, :, 0].T.tolist() == [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]


class Alarm:
    """Finds danger above 4, and its most alarmed part above 2."""

    def danger(self, states, actions, next_states):
        return (next_states[..., 0] > 4).float()

    def most_alarmed(self, states, actions, next_states):
        return (next_states[..., 0] > 2).float()


def after_one_step(reach, state, *actions, judge=None):
    judge = judge or Alarm()
    walk = KnownDynamics(lambda s, a: (s + a, torch.zeros(s.shape[:-1])), members=1)
    imagination = Imagination(walk, judge, lambda states: states, 1, reach, wary=judge.most_alarmed)
    return imagination.roll(torch.tensor([state]), torch.tensor(actions)[:, None, None]).danger.flatten().tolist()


def test_beyond_what_was_seen_the_most_alarmed_decides_and_far_beyond_nobody_is_believed():
    reach = Range(torch.tensor([-1.0]), torch.tensor([1.0]), torch.tensor([2.0]), further=1.0)
    assert after_one_step(reach, 0.0, 0.9, 1.9, 2.1, -2.9, -3.1) == [0.0, 0.0, 1.0, 0.0, 1.0]
    assert reach.lost(torch.tensor([[2.9], [3.1]])).tolist() == [[False], [True]]
    assert after_one_step(reach, 3.0, 0.5, -0.5) == [1.0, 0.0]  # where the agent is has been seen
    slack = Range(reach.low, reach.high, reach.width, torch.tensor([0.5]), further=1.0)
    assert after_one_step(slack, 0.0, -3.9, -4.1) == [0.0, 1.0]


def test_beyond_an_edge_that_is_dangerous_all_is():
    class Band(Alarm):
        def danger(self, states, actions, next_states):
            return ((next_states[..., 0] - 1).abs() < 0.2).float()

        most_alarmed = danger

    reach = Range(torch.tensor([-1.0]), torch.tensor([1.0]), torch.tensor([2.0]), further=1.0)
    assert after_one_step(reach, 0.0, 1.5, -1.5, judge=Band()) == [1.0, 0.0]


def test_noise_and_drift_a_little_beyond_what_was_seen_block_nothing_that_all_blockers_find_harmless():
    generator = torch.Generator().manual_seed(2)
    reach = Range.around(seen(size=24), further=1.0)
    fresh = 1.5 * (torch.rand(1000, 24, generator=generator) * 2 - 1)
    assert reach.outside(fresh).float().mean() > 0.9
    harmless = KnownBlockers(lambda states: torch.zeros(states.shape[:-1], dtype=torch.bool))
    walk = KnownDynamics(lambda s, a: (s + a, torch.zeros(s.shape[:-1])), members=1)
    imagination = Imagination(walk, harmless, lambda states: states, 1, reach, wary=harmless.danger)
    assert not imagination.roll(torch.zeros(24), fresh[:, None]).danger.any()
    assert imagination.roll(torch.zeros(24), 4 * fresh[:, None]).danger.mean() > 0.99  # a model that diverges


def test_blockers_of_the_present_state_judge_where_a_step_leads_beyond_what_was_seen():
    class Present(Alarm):
        def danger(self, states, actions, next_states):
            return torch.zeros(states.shape[:-1])

        def most_alarmed(self, states, actions, next_states):
            return (states[..., 0].abs() > 1.4).float()

    reach = Range(torch.tensor([-1.0]), torch.tensor([1.0]), torch.tensor([2.0]), further=1.0)
    assert after_one_step(reach, 0.9, 0.4, 0.6, -2.5, judge=Present()) == [0.0, 1.0, 1.0]
