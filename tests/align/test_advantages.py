"""Advantages against their definitions, written as plain loops; where the KL goes in those of both estimators."""

import math

import pytest
import torch
from tiny_policies import a_batch, tiny_policy

from heed.align.advantages import (
    CriticEstimator,
    GroupEstimator,
    ScoredRollout,
    gae,
    group_relative,
    kl_row,
    leave_one_out,
)
from heed.align.config import AlignConfig

NAN = float("nan")
BETA, GROUP = 0.3, 2
BATCH = a_batch(size=4)
WHOLE = [slice(0, 4)]


def defined_gae(rewards, values, lengths, gamma, lam):
    """Schulman et al. 2016, eq. 16: the discounted sum of all later temporal differences, per objective."""
    advantages = torch.zeros_like(values)
    for k in range(rewards.shape[0]):
        for b, length in enumerate(lengths):
            for t in range(length):
                for later in range(t, length):
                    following = values[k, b, later + 1] if later + 1 < length else 0.0
                    delta = rewards[k, b, later] + gamma * following - values[k, b, later]
                    advantages[k, b, t] += (gamma * lam) ** (later - t) * delta
    return advantages


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.97, 0.0)])
def test_gae_is_the_sum_of_later_temporal_differences_and_ends_at_the_last_token(gamma, lam):
    generator = torch.Generator().manual_seed(0)
    lengths = [1, 4, 7, 5]
    mask = (torch.arange(7) < torch.tensor(lengths)[:, None]).long()
    rewards = torch.randn(3, 4, 7, generator=generator, dtype=torch.float64) * mask
    values = torch.randn(3, 4, 7, generator=generator, dtype=torch.float64)  # not zero off the mask: it must not matter
    advantages, returns = gae(rewards, values, mask, gamma, lam)
    expected = defined_gae(rewards, values, lengths, gamma, lam)
    assert torch.allclose(advantages, expected, atol=1e-12)
    assert torch.allclose(returns, (expected + values) * mask, atol=1e-12)


def test_gae_with_lambda_one_is_the_return_less_the_value():
    rewards = torch.tensor([[[0.5, -1.0, 2.0]]])
    values = torch.tensor([[[3.0, 1.0, -2.0]]])
    advantages, returns = gae(rewards, values, torch.ones(1, 3), gamma=1.0, lam=1.0)
    assert advantages.tolist() == [[[1.5 - 3.0, 1.0 - 1.0, 2.0 + 2.0]]]
    assert returns.tolist() == [[[1.5, 1.0, 2.0]]]


def test_leave_one_out_is_the_reward_less_the_mean_of_the_others():
    generator = torch.Generator().manual_seed(1)
    rewards = torch.randn(3, 8, generator=generator, dtype=torch.float64)
    found = leave_one_out(rewards, group=4)
    for k in range(3):
        for b in range(8):
            others = [rewards[k, o] for o in range(b // 4 * 4, b // 4 * 4 + 4) if o != b]
            assert math.isclose(found[k, b], rewards[k, b] - sum(others) / 3, abs_tol=1e-12)


def test_group_relative_is_the_reward_less_the_groups_mean_over_its_deviation():
    generator = torch.Generator().manual_seed(2)
    rewards = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    found, unscaled = group_relative(rewards, group=3), group_relative(rewards, group=3, scale=False)
    for k in range(2):
        for first in (0, 3):
            group = rewards[k, first : first + 3]
            assert torch.allclose(unscaled[k, first : first + 3], group - group.mean(), atol=1e-12)
            expected = (group - group.mean()) / (group.std() + 1e-4)
            assert torch.allclose(found[k, first : first + 3], expected, atol=1e-12)


def test_unscored_completions_leave_the_baseline_and_get_nothing():
    rewards = torch.tensor([[1.0, NAN, 3.0, 8.0], [NAN, NAN, 3.0, NAN], [0.0, 2.0, 4.0, 6.0]])
    assert leave_one_out(rewards, group=4)[0].tolist() == [1 - 5.5, 0, 3 - 4.5, 8 - 2.0]
    deviation = torch.tensor([1.0, 3.0, 8.0]).std() + 1e-4
    expected = torch.tensor([1.0 - 4, 0, 3 - 4, 8 - 4]) / deviation
    assert torch.allclose(group_relative(rewards, group=4)[0], expected)
    for baseline in (leave_one_out, group_relative):
        found = baseline(rewards, group=4)
        assert found[1].tolist() == [0, 0, 0, 0]  # one scored completion has nothing to be compared with
        assert torch.equal(found[2], baseline(rewards[2:], group=4)[0])  # what one objective lacks is its own affair


def test_equal_rewards_give_no_advantage():
    rewards = torch.full((2, 4), 3.7)
    assert torch.equal(group_relative(rewards, group=4), torch.zeros(2, 4))
    assert torch.allclose(leave_one_out(rewards, group=4), torch.zeros(2, 4), atol=1e-6)


@pytest.mark.parametrize("baseline", [leave_one_out, group_relative])
def test_an_objectives_advantages_do_not_depend_on_the_other_objectives(baseline):
    rewards = torch.randn(4, 6, generator=torch.Generator().manual_seed(3))
    alone = torch.cat([baseline(rewards[k : k + 1], group=3) for k in range(4)])
    assert torch.equal(baseline(rewards, group=3), alone)


def test_an_objectives_gae_does_not_depend_on_the_other_objectives():
    generator = torch.Generator().manual_seed(4)
    rewards, values = torch.randn(2, 3, 2, 5, generator=generator)
    whole, _ = gae(rewards, values, torch.ones(2, 5))
    alone = torch.cat([gae(rewards[k : k + 1], values[k : k + 1], torch.ones(2, 5))[0] for k in range(3)])
    assert torch.equal(whole, alone)


def config(**settings):
    return AlignConfig(
        **{"advantage": "leave_one_out", "completions_per_prompt": GROUP, "kl_beta": BETA, "micro_batch": 0, **settings}
    )


def a_rollout(rewards=((1.0, 2.0, -3.0, 0.5), (10.0, 0.0, 5.0, 5.0))):
    generator = torch.Generator().manual_seed(0)
    logp, reference = (torch.randn(2, *BATCH.mask.shape, generator=generator) - 2) * BATCH.mask
    return ScoredRollout(BATCH, torch.tensor(rewards), logp, reference)


def kl_of(scored):
    """The sum over a completion of logp - logp_ref."""
    return torch.stack(
        [(scored.logp[b] - scored.reference_logp[b])[: int(BATCH.mask[b].sum())].sum() for b in range(len(BATCH))]
    )


class TestAgainstTheGroup:
    def test_the_kl_in_each_reward(self):
        scored = a_rollout()
        found = GroupEstimator(config()).advantages(scored, WHOLE)
        kl, R = kl_of(scored), scored.rewards
        for k in range(2):
            for b, other in ((0, 1), (1, 0), (2, 3), (3, 2)):
                by_hand = (R[k, b] - BETA * kl[b]) - (R[k, other] - BETA * kl[other])
                assert torch.isclose(found[k, b], by_hand, atol=1e-5)

    def test_the_kl_in_the_reward_once_is_a_row_of_its_own(self):
        scored = a_rollout()
        found = GroupEstimator(config(kl_in="once")).advantages(scored, WHOLE)
        assert torch.allclose(found[:2], leave_one_out(scored.rewards, GROUP))
        assert torch.allclose(found[2:], leave_one_out(-BETA * kl_of(scored)[None], GROUP), atol=1e-6)

    def test_the_kl_in_the_loss_leaves_the_rewards_alone(self):
        scored = a_rollout()
        each = GroupEstimator(config(kl_place="loss")).advantages(scored, WHOLE)
        once = GroupEstimator(config(kl_place="loss", kl_in="once")).advantages(scored, WHOLE)
        assert torch.equal(each, leave_one_out(scored.rewards, GROUP))
        assert torch.equal(once, torch.cat([each, torch.zeros(1, 4)]))

    def test_unscored_completions_get_nothing_wherever_the_kl_is(self):
        scored = a_rollout(rewards=((1.0, NAN, -3.0, 0.5), (10.0, 0.0, 5.0, 5.0)))
        for place in ("reward", "loss"):
            for kl_in in ("each", "once"):
                found = GroupEstimator(config(kl_place=place, kl_in=kl_in)).advantages(scored, WHOLE)
                assert found.isfinite().all()
                assert found[0, :2].tolist() == [0, 0] and found[0, 2:].all() and found[1, :2].all()


class TestAgainstCritics:
    def estimator(self, **settings):
        return CriticEstimator(tiny_policy(), 2, config(advantage="gae", **settings))

    def rewards_by_hand(self, scored, kl_in_each=True):
        rewards = torch.zeros(2, *BATCH.mask.shape)
        for b in range(len(BATCH)):
            length = int(BATCH.mask[b].sum())
            rewards[:, b, length - 1] += scored.rewards[:, b].nan_to_num(0.0)
            if kl_in_each:
                rewards[:, b, :length] -= BETA * (scored.logp - scored.reference_logp)[b, :length]
        return rewards

    def values(self, estimator):
        with torch.no_grad():
            estimator.critics.heads.bias.copy_(torch.arange(1.0, estimator.rows + 1))
        return estimator.critics.values(BATCH)

    def test_the_last_token_carries_the_reward_and_every_token_the_kl(self):
        scored, estimator = a_rollout(), self.estimator()
        values = self.values(estimator)
        expected, _ = gae(self.rewards_by_hand(scored), values, BATCH.mask, 1.0, 0.95)
        assert torch.allclose(estimator.advantages(scored, WHOLE), expected, atol=1e-5)

    def test_the_kl_in_the_reward_once_has_a_critic_of_its_own(self):
        scored, estimator = a_rollout(), self.estimator(kl_in="once")
        values = self.values(estimator)
        assert len(values) == 3
        kl = -BETA * (scored.logp - scored.reference_logp) * BATCH.mask
        rewards = torch.cat([self.rewards_by_hand(scored, kl_in_each=False), kl[None]])
        expected, _ = gae(rewards, values, BATCH.mask, 1.0, 0.95)
        assert torch.allclose(estimator.advantages(scored, WHOLE), expected, atol=1e-5)

    @pytest.mark.parametrize("kl_in", ["each", "once"])
    def test_the_kl_in_the_loss_needs_no_critic(self, kl_in):
        scored, estimator = a_rollout(), self.estimator(kl_place="loss", kl_in=kl_in)
        values = self.values(estimator)
        assert len(values) == 2
        expected, _ = gae(self.rewards_by_hand(scored, kl_in_each=False), values, BATCH.mask, 1.0, 0.95)
        found = estimator.advantages(scored, WHOLE)
        assert torch.allclose(found[:2], expected, atol=1e-5)
        assert len(found) == 2 + (kl_in == "once") and not found[2:].any()

    def test_unscored_completions_get_no_advantage_and_teach_nothing(self, monkeypatch):
        estimator, spoilt, learnt = self.estimator(), self.estimator(), []
        critics = estimator.critics
        fit = critics.fit
        monkeypatch.setattr(
            estimator.critics, "fit", lambda parts, returns: learnt.append(returns) or fit(parts, returns)
        )
        scored = a_rollout(rewards=((1.0, NAN, -3.0, 0.5), (10.0, 0.0, 5.0, 5.0)))
        found = estimator.advantages(scored, WHOLE)
        assert found.isfinite().all() and not found[0, 1].any() and found[1, 1].any()
        assert math.isfinite(estimator.learn()["critic/error"]) and estimator.critics.values(BATCH).isfinite().all()
        [[returns]] = learnt
        assert returns[0, 1].isnan().all() and returns[0, [0, 2, 3]].isfinite().all() and returns[1].isfinite().all()
        # Whatever was said in the unscored place, the first critic learns the same of the others.
        scored.rewards[0, 1] = NAN
        scored.logp[1] -= 3
        again = spoilt.advantages(scored, WHOLE)
        assert torch.equal(again[0], found[0])

    def test_micro_batches_do_not_change_the_advantages(self):
        scored, estimator = a_rollout(), self.estimator()
        self.values(estimator)
        whole = estimator.advantages(scored, WHOLE)
        assert torch.allclose(estimator.advantages(scored, [slice(0, 1), slice(1, 4)]), whole, atol=1e-5)


def test_a_row_for_the_kl_is_there_only_where_it_is_counted_once_and_at_all():
    assert kl_row(config(kl_in="once")) and kl_row(config(kl_in="once", kl_place="loss"))
    assert not kl_row(config()) and not kl_row(config(kl_in="once", kl_beta=0.0))


class TestTheEntropyBonus:
    """A completion of log-probability l gets ``-weight_k l`` more reward, token by token."""

    WEIGHTS = torch.tensor([0.5, 2.0])

    def surprise(self, scored):
        return torch.stack([-scored.logp[b][: int(BATCH.mask[b].sum())].sum() for b in range(len(BATCH))])

    def test_against_the_group(self):
        scored = a_rollout()
        plain = GroupEstimator(config(kl_beta=0.0)).advantages(scored, WHOLE)
        scored.entropy = self.WEIGHTS
        found = GroupEstimator(config(kl_beta=0.0)).advantages(scored, WHOLE)
        only = leave_one_out(self.WEIGHTS[:, None] * self.surprise(scored), GROUP)
        torch.testing.assert_close(found, plain + only)

    def test_outside_the_row_of_the_kl(self):
        scored = a_rollout()
        plain = GroupEstimator(config(kl_in="once")).advantages(scored, WHOLE)
        scored.entropy = self.WEIGHTS
        found = GroupEstimator(config(kl_in="once")).advantages(scored, WHOLE)
        torch.testing.assert_close(found[2], plain[2])
        only = leave_one_out(self.WEIGHTS[:, None] * self.surprise(scored), GROUP)
        torch.testing.assert_close(found[:2], plain[:2] + only)

    def test_against_critics(self):
        """The critics' values are the same in both, so what the bonus adds is the tail sum of (gamma lambda)^t."""
        found = []
        for weights in (None, self.WEIGHTS):
            settings = config(advantage="gae", kl_beta=0.0, gamma=1.0, gae_lambda=1.0)
            estimator = CriticEstimator(tiny_policy(), 2, settings)
            scored = a_rollout()
            scored.entropy = weights
            found.append(estimator.advantages(scored, WHOLE))
        surprise = -a_rollout().logp * BATCH.mask
        tail = surprise.flip(1).cumsum(1).flip(1) * BATCH.mask
        torch.testing.assert_close(found[1] - found[0], self.WEIGHTS[:, None, None] * tail, atol=1e-4, rtol=1e-4)
