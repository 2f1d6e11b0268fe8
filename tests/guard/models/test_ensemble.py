import copy

import pytest
import torch

from heed.errors import HeedError
from heed.guard.models.config import FitConfig
from heed.guard.models.ensemble import Normaliser, StackedMLP, balanced, fit_members, shuffled


def test_each_member_is_the_network_that_its_own_weights_make():
    stack = StackedMLP([3, 8, 6, 2], members=4, seed=1)
    with torch.no_grad():
        for bias in stack.biases:
            bias.normal_(generator=torch.Generator().manual_seed(2))
    x = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        silently = stack(x.clone())
    loudly = stack(x)
    for e in range(4):
        one = torch.nn.Sequential()
        for layer, (weight, bias) in enumerate(zip(stack.weights, stack.biases, strict=True)):
            linear = torch.nn.Linear(weight.shape[2], weight.shape[1])
            linear.weight.data, linear.bias.data = weight[e].data, bias[e, 0].data
            one.extend([torch.nn.SiLU(), linear] if layer else [linear])
        torch.testing.assert_close(loudly[e], one(x[e]))
        torch.testing.assert_close(silently[e], one(x[e]))


def test_a_copy_learns_by_itself_and_a_network_follows_what_is_loaded_into_it():
    network, x = StackedMLP([3, 8, 2], members=4, seed=0), torch.randn(4, 5, 3)
    copied, before = copy.deepcopy(network), network(x)
    with torch.no_grad():
        copied.weights[1].add_(1.0)
    assert torch.equal(network(x), before) and not torch.equal(copied(x), before)
    copied.load_state_dict(network.state_dict())
    assert torch.equal(copied(x), before)
    assert copied.double()(x.double()).dtype == torch.float64


def test_first_weights_differ_between_members_and_repeat_with_the_seed():
    first, again, other = (StackedMLP([50, 40, 2], members=3, seed=seed).weights[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])
    assert float(first.detach().std()) == pytest.approx(0.88 / 50**0.5, rel=0.03)  # .88: a normal that is cut at two
    assert float(first.detach().abs().max()) <= 2 / 50**0.5


def test_absorbing_a_change_of_units_keeps_the_function():
    generator = torch.Generator().manual_seed(0)
    stack = StackedMLP([3, 16, 2], members=4, seed=1)
    x = torch.randn(4, 9, 3, generator=generator)
    before = stack(x)
    scale, shift = torch.tensor([2.0, 0.5, 3.0]), torch.tensor([-1.0, 0.2, 5.0])
    stack.absorb_input(scale, shift)
    torch.testing.assert_close(stack((x - shift) / scale), before, rtol=1e-4, atol=1e-5)
    scale, shift = torch.tensor([4.0, 0.1]), torch.tensor([1.0, -2.0])
    stack.absorb_output(scale, shift)
    torch.testing.assert_close(stack((x - torch.tensor([-1.0, 0.2, 5.0])) / torch.tensor([2.0, 0.5, 3.0])),
                               scale * before + shift, rtol=1e-4, atol=1e-5)  # fmt: skip


def test_the_normaliser_is_exact_even_far_from_zero_and_only_centres_what_never_varies():
    draw = torch.Generator().manual_seed(0)
    spread = torch.randn(4000, generator=draw)
    values = torch.stack(
        [3e-4 * spread, 1e5 + spread, torch.full_like(spread, 1000.1), torch.zeros_like(spread)], dim=1
    )
    normaliser = Normaliser(4)
    normaliser.fit(values)
    exact = values.double()
    torch.testing.assert_close(normaliser.mean.double(), exact.mean(0), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(normaliser.std[:2].double(), exact.std(0, correction=0)[:2], rtol=1e-5, atol=0)
    assert normaliser.varies.tolist() == [True, True, False, False]
    assert normaliser.std[2:].tolist() == [1.0, 1.0]
    assert float(normaliser(values)[:, 2:].abs().max()) == 0
    assert torch.equal(normaliser(torch.tensor([[0.0, 1e5, 1001.1, -2.0]]))[0, 2:], torch.tensor([1.0, -2.0]))


def test_a_pass_shows_each_member_every_one_of_its_rows_once_in_an_order_of_its_own():
    rows = torch.stack([torch.arange(12), torch.arange(12) + 100])
    stream = shuffled(rows, 4, torch.Generator().manual_seed(0))
    batches = [next(stream) for _ in range(6)]
    first, second = torch.cat(batches[:3], dim=1), torch.cat(batches[3:], dim=1)
    for shown in (first, second):
        assert torch.equal(shown.sort(dim=1).values, rows)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1] - 100)
    assert next(shuffled(rows[:, :3], 4, torch.Generator())).shape == (2, 3)  # fewer rows than a batch


def test_balanced_batches_hold_as_many_of_every_class_and_draw_each_row_of_a_class_equally_often():
    rare, common = torch.tensor([[0, 1], [2, 3]]), torch.arange(10, 50).expand(2, -1)
    stream = balanced([rare, common], 9, torch.Generator().manual_seed(0))
    batches = torch.cat([next(stream) for _ in range(2000)], dim=1)
    assert batches.shape == (2, 2000 * 8)  # four of each
    for member, known in enumerate(rare):
        counts = torch.bincount(batches[member], minlength=50)
        assert int(counts[known].sum()) == 8000
        assert int(counts[10:].sum()) == 8000
        torch.testing.assert_close(counts[known] / 8000, torch.full((2,), 0.5), rtol=0, atol=0.03)
        torch.testing.assert_close(counts[10:] / 8000, torch.full((40,), 1 / 40), rtol=0, atol=0.008)
    assert next(balanced([rare, common], 1, torch.Generator())).shape == (2, 2)  # one of each at least


def falling(config, turning_points, poisoned=None):
    """Members that all fall at Adam's pace through places where their held-out loss is least."""
    place = torch.nn.Parameter(torch.zeros(len(turning_points), 1))
    seen = []

    def held_out():
        seen.append(place.detach().clone().squeeze(1))
        result = (seen[-1] - torch.tensor(turning_points)).square()
        if poisoned is not None and len(seen) > 3:
            result[poisoned] = torch.nan
        return result

    rows = torch.arange(8).expand(len(turning_points), -1)
    progress = fit_members(
        [(place, 0.0)],
        lambda batch: 10 * place.squeeze(1) + 0 * batch.sum(1),
        held_out,
        shuffled(rows, config.batch_size, torch.Generator().manual_seed(0)),
        config,
    )
    return place.detach().squeeze(1), torch.stack(seen), progress


def test_each_member_keeps_the_weights_of_its_own_best_look_at_the_held_out_rows():
    turning_points = [-0.2, -0.45, -9.0, 0.5]
    kept, seen, progress = falling(FitConfig(updates=100, learning_rate=0.01, check_every=10), turning_points)
    for e, point in enumerate(turning_points):
        errors = (seen[:, e] - point).square()
        assert kept[e] == seen[errors.argmin(), e]
        assert progress.held_out[e] == errors.min()
    assert kept[3] == 0  # the weights at the start were its best
    assert progress.updates == 100
    assert not progress.stopped_early
    assert len(seen) == 11


def test_a_member_that_is_no_longer_finite_goes_back_to_its_last_good_weights():
    kept, seen, progress = falling(FitConfig(updates=100, learning_rate=0.01, check_every=10), [-9.0, -9.0], poisoned=1)
    assert kept[0] == seen[-1, 0]
    assert kept[1] == seen[2, 1]
    assert progress.held_out.isfinite().all()


def test_a_fit_ends_when_no_member_has_got_better_for_as_long_as_the_patience_lasts():
    config = FitConfig(updates=1000, learning_rate=0.01, check_every=10, patience=3, improvement=1e-4)
    _, seen, progress = falling(config, [-0.2, 0.5])
    assert progress.stopped_early
    best = (seen[:, 0] + 0.2).square().argmin()
    assert progress.updates == (int(best) + 3) * 10
    config = FitConfig(updates=1000, learning_rate=0.01, check_every=10, patience=3, improvement=0.1)
    _, seen, progress = falling(config, [-0.2])
    assert progress.updates == 30  # .04 less is no progress worth waiting for, though it is kept
    assert progress.held_out[0] < 0.02


@pytest.mark.parametrize(
    "wrong", [{"updates": 0}, {"held_out": 0.0}, {"held_out": 1.0}, {"learning_rate": 0.0}, {"patience": 0}]
)
def test_settings_outside_their_range_are_refused(wrong):
    with pytest.raises(HeedError, match=next(iter(wrong))):
        FitConfig(**wrong)
