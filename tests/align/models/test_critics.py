"""Critics: their units, their running scale, what they learn and what they leave alone."""

import pytest
import torch
from tiny_policies import a_batch, tiny_policy

from heed.align.models.critics import CriticConfig, Critics

NAN = float("nan")
BATCH = a_batch()
ON = BATCH.mask.bool()


def critics_of(adapter=True, objectives=2, seed=3, **settings) -> Critics:
    return Critics(tiny_policy(adapter), objectives, CriticConfig(**settings), seed)


def some_returns(objectives=2, spread=5.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (spread * torch.randn(objectives, *BATCH.mask.shape, generator=generator) + 3) * BATCH.mask


def with_random_heads(critics):
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        critics.heads.weight.copy_(torch.randn(critics.heads.weight.shape, generator=generator) / 5)
        critics.heads.bias.copy_(torch.randn(critics.heads.bias.shape, generator=generator))
    return critics


@pytest.mark.parametrize("adapter", [True, False])
def test_values_are_in_the_returns_units_and_zero_off_the_completion(adapter):
    critics = with_random_heads(critics_of(adapter))
    critics.mean.copy_(torch.tensor([10.0, -4.0]))
    critics.std.copy_(torch.tensor([0.5, 30.0]))
    with torch.no_grad(), critics.active():
        hidden = critics.policy.hidden(BATCH, critics.backbone)
    found = critics.values(BATCH)
    for k, (mean, std) in enumerate([(10.0, 0.5), (-4.0, 30.0)]):
        raw = hidden @ critics.heads.weight[k] + critics.heads.bias[k]
        assert torch.allclose(found[k][ON], (raw * std + mean)[ON], atol=1e-4)
        assert not found[k][~ON].any()


def test_fresh_critics_know_nothing():
    assert not critics_of().values(BATCH).any()


def test_following_the_scale_of_the_returns_changes_no_value():
    critics = with_random_heads(critics_of(memory=0.5))
    critics.follow_scale([BATCH], [some_returns()])
    values, before = critics.values(BATCH), critics.std.clone()
    critics.follow_scale([BATCH], [some_returns(spread=80.0, seed=1) - 40])
    assert (critics.std / before).min() > 3
    assert torch.allclose(critics.values(BATCH), values, rtol=1e-4, atol=1e-3)


def test_the_scale_is_the_running_mean_and_deviation_of_the_returns():
    critics = critics_of(memory=0.75)
    first, second = some_returns(seed=1), some_returns(spread=1.0, seed=2)
    critics.follow_scale([BATCH], [first])
    assert torch.allclose(critics.mean, first[:, ON].mean(1)) and torch.allclose(
        critics.std, first[:, ON].std(1, correction=0)
    )
    critics.follow_scale([BATCH], [second])
    for running, of in ((critics.mean, torch.Tensor.mean), (critics.std, lambda x, d: x.std(d, correction=0))):
        assert torch.allclose(running, 0.75 * of(first[:, ON], 1) + 0.25 * of(second[:, ON], 1))


@pytest.mark.parametrize("adapter", [True, False])
@pytest.mark.parametrize("scale", [True, False])
def test_a_constant_return_is_learnt_for_each_objective(adapter, scale):
    critics = critics_of(adapter, learning_rate=5e-2, epochs=30, scale=scale)
    target = torch.tensor([2.0, -1.0])[:, None, None] * BATCH.mask
    first = critics.fit([BATCH], [target])
    for _ in range(3):
        last = critics.fit([BATCH], [target])
    assert torch.allclose(critics.values(BATCH), target, atol=0.2)
    assert last < 0.02 and (scale or first > 2)


@pytest.mark.parametrize("adapter", [True, False])
def test_learning_leaves_the_policy_alone(adapter):
    critics = critics_of(adapter, learning_rate=1e-1, epochs=3)
    logp, names = critics.policy.logp(BATCH).detach(), list(critics.policy.trainable())
    critics.fit([BATCH], [some_returns()])
    assert torch.equal(critics.policy.logp(BATCH).detach(), logp)
    assert list(critics.policy.trainable()) == names
    assert all(parameter.grad is None for parameter in critics.policy.trainable().values())
    assert critics.values(BATCH).any()


@pytest.mark.parametrize("clip", [0.0, 0.15])
def test_fitting_is_adamw_on_the_clipped_value_loss(clip):
    """Against PPO's value loss written out: max((V - R)^2, (V_old + clip(V - V_old) - R)^2), mean over all tokens."""
    settings = {"learning_rate": 3e-2, "epochs": 4, "scale": False}
    critics = with_random_heads(critics_of(**settings, value_clip=clip))
    byhand = with_random_heads(critics_of(**settings))
    returns = some_returns(spread=1.0)
    critics.fit([BATCH], [returns])
    old, moved = byhand.values(BATCH), 0.0
    optimizer = torch.optim.AdamW([*byhand.body, *byhand.heads.parameters()], lr=3e-2, weight_decay=0.0)
    for _ in range(4):
        with byhand.active():
            value = byhand.scaled_values(BATCH)
            loss = (value - returns)[:, ON].square()
            if clip:
                near = torch.minimum(torch.maximum(value, old - clip), old + clip)
                loss = torch.maximum(loss, (near - returns)[:, ON].square())
            optimizer.zero_grad()
            loss.mean().backward()
        optimizer.step()
        moved = max(moved, float((value - old).detach().abs().max()))
    assert moved > 0.3  # beyond the clip
    assert torch.allclose(critics.values(BATCH), byhand.values(BATCH), atol=1e-4)


def test_micro_batches_add_up():
    whole, parts = critics_of(epochs=2, scale=False), critics_of(epochs=2, scale=False)
    returns = some_returns()
    whole.fit([BATCH], [returns])
    cuts = [slice(0, 2), slice(2, 3), slice(3, 5)]
    parts.fit([BATCH.rows(cut) for cut in cuts], [returns[:, cut] for cut in cuts])
    assert torch.allclose(whole.values(BATCH), parts.values(BATCH), atol=1e-4)


def test_what_is_not_scored_teaches_nothing():
    returns, kept = some_returns(), torch.tensor([0, 2, 3])
    returns[:, [1, 4]] = NAN
    with_gaps, without = critics_of(epochs=3, scale=False), critics_of(epochs=3, scale=False)
    error = with_gaps.fit([BATCH], [returns])
    expected = without.fit([BATCH.rows(kept)], [returns[:, kept]])
    assert abs(error - expected) < 1e-4
    assert torch.allclose(with_gaps.values(BATCH), without.values(BATCH), atol=1e-4)
    with_gaps.follow_scale([BATCH], [returns])
    without.follow_scale([BATCH.rows(kept)], [returns[:, kept]])
    assert torch.allclose(with_gaps.mean, without.mean) and torch.allclose(with_gaps.std, without.std)


@pytest.mark.parametrize("adapter", [True, False])
def test_restored_critics_go_on_bit_for_bit(tmp_path, adapter):
    settings = {"epochs": 2, "learning_rate": 1e-2}
    straight = critics_of(adapter, **settings)
    straight.fit([BATCH], [some_returns(seed=1)])
    torch.save(straight.state(), tmp_path / "state.pt")
    resumed = critics_of(adapter, seed=77, **settings)
    resumed.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(resumed.values(BATCH), straight.values(BATCH))
    for critics in (straight, resumed):
        critics.fit([BATCH], [some_returns(seed=2)])
    assert torch.equal(resumed.values(BATCH), straight.values(BATCH))
