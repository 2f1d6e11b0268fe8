"""Closed-form cotangents equal autograd's gradient of the surrogate that each is of."""

import pytest
import torch

from heed.align.surrogates import CISPO, Plain, PPOClip, kl_cotangent

B, T = 6, 5
LOW, HIGH = 0.2, 0.3


def sample(K, per_token, spread=0.4):
    generator = torch.Generator().manual_seed(K)
    old = torch.randn(B, T, generator=generator, dtype=torch.float64) - 2
    logp = old + spread * torch.randn(B, T, generator=generator, dtype=torch.float64)
    shape = (K, B, T) if per_token else (K, B)
    advantages = torch.randn(shape, generator=generator, dtype=torch.float64)
    advantages[0, 2] = 0
    mask = (torch.arange(T) < torch.tensor([5, 4, 5, 1, 2, 5])[:, None]).double()
    return logp, old, advantages, mask / mask.sum()


def by_autograd(loss, logp, advantages):
    """dL_k/dlogp for each objective, of ``loss(logp, advantages of k [B, T])``."""
    rows = []
    for advantage in advantages:
        leaf = logp.clone().requires_grad_()
        token_level = advantage if advantage.dim() == 2 else advantage[:, None].expand(B, T)
        loss(leaf, token_level).backward()
        rows.append(leaf.grad)
    return torch.stack(rows)


@pytest.mark.parametrize("per_token", [False, True])
@pytest.mark.parametrize("K", [1, 2, 3, 4])
class TestCotangentsEqualAutograd:
    def test_ppo(self, K, per_token):
        logp, old, advantages, weight = sample(K, per_token)

        def loss(leaf, advantage):
            ratio = (leaf - old).exp()
            return (weight * torch.minimum(ratio * advantage, ratio.clamp(1 - LOW, 1 + HIGH) * advantage)).sum()

        found = PPOClip(LOW, HIGH).cotangents(logp, old, advantages, weight).dense()
        assert torch.allclose(found, by_autograd(loss, logp, advantages), rtol=0, atol=1e-12)
        assert PPOClip(LOW, HIGH).clipped(logp, old).sum() > 5  # so that the clip is seen at work

    def test_cispo(self, K, per_token):
        logp, old, advantages, weight = sample(K, per_token)

        def loss(leaf, advantage):
            held = (leaf.detach() - old).exp().clamp(1 - LOW, 1 + HIGH)
            return (weight * held * advantage * leaf).sum()

        found = CISPO(LOW, HIGH).cotangents(logp, old, advantages, weight).dense()
        assert torch.allclose(found, by_autograd(loss, logp, advantages), rtol=0, atol=1e-12)

    def test_plain(self, K, per_token):
        logp, old, advantages, weight = sample(K, per_token)
        found = Plain().cotangents(logp, old, advantages, weight).dense()
        expected = by_autograd(lambda leaf, advantage: (weight * advantage * leaf).sum(), logp, advantages)
        assert torch.allclose(found, expected, rtol=0, atol=1e-12)

    @pytest.mark.parametrize("surrogate", [PPOClip(), CISPO(), Plain()])
    def test_nothing_off_the_mask_or_without_advantage(self, K, per_token, surrogate):
        logp, old, advantages, weight = sample(K, per_token)
        found = surrogate.cotangents(logp, old, advantages, weight).dense()
        assert not found[:, weight == 0].any()
        assert not found[0, 2].any()  # the advantage there is 0


@pytest.mark.parametrize("surrogate", [PPOClip(), CISPO(), Plain()])
def test_all_surrogates_agree_at_ratio_one(surrogate):
    logp, _, advantages, weight = sample(3, per_token=False)
    found = surrogate.cotangents(logp, logp, advantages, weight)
    assert found.rank == 1
    assert torch.allclose(found.dense(), advantages[:, :, None] * weight, atol=1e-15)


class TestTheRankOfPPO:
    def test_is_one_where_no_token_is_clipped(self):
        logp, old, advantages, weight = sample(3, per_token=False, spread=0.01)
        assert not PPOClip(LOW, HIGH).clipped(logp, old).any()
        assert PPOClip(LOW, HIGH).cotangents(logp, old, advantages, weight).rank == 1

    @pytest.mark.parametrize("sign", [1, -1])
    @pytest.mark.parametrize("with_zero", [False, True])
    def test_is_one_where_the_objectives_agree_in_sign(self, sign, with_zero):
        logp, old, advantages, weight = sample(3, per_token=False)
        advantages = sign * advantages.abs()
        if with_zero:
            advantages[2] = 0  # wants nothing: agrees with both
        assert PPOClip(LOW, HIGH).cotangents(logp, old, advantages, weight).rank == 1

    def test_is_two_where_they_disagree_about_a_clipped_token_and_the_second_term_is_of_those_sequences_alone(self):
        old = torch.zeros(3, 2)
        logp = torch.tensor([[0.0, 0.5], [0.0, 0.5], [0.0, 0.1]])  # the last sequence is not clipped
        advantages = torch.tensor([[1.0, 1.0, 1.0], [-1.0, 2.0, -1.0]])  # the middle one is not disputed
        found = PPOClip(0.2, 0.2).cotangents(logp, old, advantages, torch.ones(3, 2))
        assert found.rank == 2
        assert found.terms[1].active_rows().tolist() == [True, False, False]


def test_the_kl_cotangent_is_the_gradient_of_minus_k3():
    logp, reference, _, weight = sample(1, per_token=False)
    leaf = logp.clone().requires_grad_()
    difference = reference - leaf
    (-(weight * (difference.exp() - difference - 1))).sum().backward()
    assert torch.allclose(kl_cotangent(logp, reference, weight), leaf.grad, rtol=0, atol=1e-12)
