import math

import pytest
import torch

from heed.errors import HeedError
from heed.guard.models.blockers import Blockers, KnownBlockers, combined, reliability_curve
from heed.guard.models.config import FitConfig

QUICK = FitConfig(updates=300, learning_rate=5e-3, weight_decay=1e-4)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def walled(count, seed=0, distance=0.9):
    """States [N, 3] in a box, blocked where the first variable is beyond a distance; the others are noise."""
    states = torch.rand(count, 3, generator=seeded(seed)) * 2 - 1
    return states, states[:, 0] > distance


@pytest.fixture(scope="module")
def learnt():
    blockers = Blockers(state_size=3, members=5, hidden=32)
    return blockers, blockers.fit(*walled(2000), seeded(), QUICK)


def test_a_rare_wall_is_learnt_with_one_half_as_the_natural_threshold(learnt):
    blockers, report = learnt
    states, blocked = walled(4000, seed=9)
    danger = blockers.danger_of(states)
    assert (danger[blocked] >= 0.5).float().mean() > 0.95
    assert (danger[~blocked] >= 0.5).float().mean() < 0.08
    assert float(report.loss.max()) < 0.15
    assert report.positives == int(walled(2000)[1].sum())


def test_blocks_weigh_one_less_their_share_over_their_share(learnt):
    # 19 where 5% are positive. With labels that do not depend on the input, the fitted log-odds tell the weight:
    # sigmoid(logit) = w q / (w q + 1 - q), which is one half for w = (1 - q) / q.
    labels = torch.zeros(2000, dtype=torch.bool)
    labels[::20] = True
    blockers = Blockers(state_size=1, members=5, hidden=4)
    report = blockers.fit(torch.zeros(2000, 1), labels, seeded(), QUICK)
    assert report.positive_weight == pytest.approx(19.0)
    assert float(blockers.positive_weight) == pytest.approx(19.0)
    assert blockers.probability(torch.zeros(1, 1)).flatten().tolist() == pytest.approx([0.5] * 5, abs=0.05)
    assert report.loss.tolist() == pytest.approx([math.log(2)] * 5, abs=0.01)
    _, walled_report = learnt
    share = float(walled(2000)[1].float().mean())
    assert walled_report.positive_weight == pytest.approx((1 - share) / share)


def test_every_row_is_judged_by_the_one_member_that_has_not_learnt_from_it():
    """Labels of coins, each row's its own: whoever has seen a row knows it by heart, whoever has not can only guess."""
    states, coins = torch.eye(60), torch.rand(60, generator=seeded()) < 0.5
    folds = torch.arange(60) // 12
    blockers = Blockers(state_size=60, members=5, hidden=64)
    report = blockers.fit(states, coins, seeded(), FitConfig(updates=400, learning_rate=1e-2, bootstrap=False), folds)
    danger = blockers.probability(states).detach()
    unseen = torch.arange(5)[:, None] == folds
    torch.testing.assert_close(report.unseen, danger.gather(0, folds[None])[0])
    right = torch.where(coins, danger, 1 - danger)
    assert float(right[~unseen].min()) > 0.9
    assert 0.3 < float(right[unseen].mean()) < 0.7
    losses = [
        (-right[m, unseen[m] & coins].log().mean() - right[m, unseen[m] & ~coins].log().mean()) / 2 for m in range(5)
    ]
    torch.testing.assert_close(report.loss, torch.stack(losses), rtol=1e-3, atol=1e-4)


def test_without_folds_each_class_is_dealt_out_evenly_and_every_member_sees_both(monkeypatch):
    seen = []
    learnt = Blockers._learnt
    monkeypatch.setattr(Blockers, "_learnt", lambda self, rows, folds, *rest: seen.append((rows, folds)) or learnt(
        self, rows, folds, *rest))  # fmt: skip
    states, blocked = walled(2000)
    Blockers(state_size=3, members=5, hidden=4).fit(states, blocked, seeded(), FitConfig(updates=1))
    for rows, folds in seen:
        counts = torch.bincount(folds[rows], minlength=5)
        assert int(counts.max() - counts.min()) <= 1 and int(counts.sum()) == len(rows)
    few = torch.arange(2000) < 2
    Blockers(state_size=3, members=5, hidden=4).fit(states, few, seeded(), FitConfig(updates=1))
    with pytest.raises(HeedError, match="one fold"):
        Blockers(state_size=3, hidden=4).fit(states, few, seeded(), FitConfig(updates=1), torch.arange(2000) // 10 % 5)


def test_every_member_learns_from_blocks_however_few_there_are():
    states = torch.cat([torch.zeros(500, 1), torch.full((3, 1), 10.0)])
    labels = torch.arange(503) >= 500
    blockers = Blockers(state_size=1, members=5, hidden=16)
    blockers.fit(states, labels, seeded(), QUICK)
    assert (blockers.probability(torch.tensor([[10.0]])) > 0.9).all()
    assert (blockers.probability(torch.tensor([[0.0]])) < 0.1).all()


def test_members_disagree_at_the_border_and_agree_far_from_it(learnt):
    blockers, _ = learnt
    states, _ = walled(5000, seed=3)
    result = blockers.disagreement(states)
    border = (states[:, 0] - 0.9).abs() < 0.05
    assert result[border].mean() > 20 * result[states[:, 0] < 0.5].mean()
    by_hand = torch.stack([member - blockers.probability(states).mean(0) for member in blockers.probability(states)])
    torch.testing.assert_close(result, by_hand.square().mean(0).sqrt())


def test_only_the_label_keys_are_seen_and_actions_where_they_are_judged():
    generator = seeded()
    for inputs, given in (("next_state", "c"), ("state", "a"), ("state_action", "ab")):
        blockers = Blockers(state_size=3, action_size=2, members=2, hidden=8, inputs=inputs, label_keys=(2, 0))
        parts = {"a": torch.randn(4, 3), "b": torch.randn(4, 2), "c": torch.randn(4, 3)}
        before = blockers.danger(*parts.values())
        for name, part in parts.items():
            for column in range(part.shape[1]):
                changed = {key: value.clone() for key, value in parts.items()}
                changed[name][:, column] += torch.randn(4, generator=generator)
                matters = name in given and not (name in "ac" and column == 1)
                assert torch.equal(blockers.danger(*changed.values()), before) is not matters


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_never_called_safe_even_in_a_column_that_no_label_depends_on(poison):
    blockers = Blockers(state_size=3, members=3, hidden=8, label_keys=(0,))
    blockers.fit(*walled(300), seeded(), FitConfig(updates=20))
    states = torch.zeros(4, 2, 3)
    states[1, 0, 0] = poison
    states[2, 1, 2] = poison
    sick = torch.zeros(4, 2, dtype=torch.bool)
    sick[1, 0] = sick[2, 1] = True
    for result in (blockers.danger_of(states), blockers.disagreement(states), *blockers.logits(states)):
        assert torch.equal(result.isnan(), sick)
    known = KnownBlockers(lambda states: states[..., 1] > 0)
    assert torch.equal(known.danger(states, states, states).isnan(), sick)


def test_a_refit_forgets_what_was_before_it_and_repeats_with_the_generator(learnt):
    blockers, _ = learnt
    again = Blockers(state_size=3, members=5, hidden=32, seed=77)
    again.fit(*walled(400, seed=5, distance=0.0), seeded(3), QUICK)
    report = again.fit(*walled(2000), seeded(), QUICK)
    states, _ = walled(50, seed=6)
    assert torch.equal(again.logits(states), blockers.logits(states))
    assert report.unseen.isfinite().all()


def test_rows_that_are_not_finite_are_left_out_and_counted():
    states, blocked = walled(300)
    states[:7] = math.nan
    report = Blockers(state_size=3, hidden=8).fit(states, blocked, seeded(), FitConfig(updates=20))
    assert report.left_out == 7
    assert report.rows == 293
    assert report.unseen[:7].isnan().all() and report.unseen[7:].isfinite().all()
    assert report.loss.isfinite().all()


def test_hirl_s_vote_is_the_second_largest_probability():
    probabilities = torch.rand(5, 1000, generator=seeded())
    second = combined(probabilities, votes=2)
    assert torch.equal(second > 0.5, (probabilities > 0.5).sum(0) >= 2)
    torch.testing.assert_close(combined(probabilities, None), probabilities.mean(0))
    assert combined(torch.tensor([[0.1], [math.nan], [0.2]]), votes=2).isnan().all()
    voting, blockers = (Blockers(state_size=3, members=5, hidden=8, votes=votes) for votes in (2, None))
    states, _ = walled(20)
    torch.testing.assert_close(voting.danger_of(states), voting.probability(states).topk(2, dim=0).values[1])
    torch.testing.assert_close(blockers.danger_of(states), blockers.probability(states).mean(0))


def test_the_reliability_curve_of_honest_probabilities_is_the_diagonal_under_the_fit_s_weights():
    draw = seeded()
    natural = torch.rand(200_000, generator=draw) * 0.2  # blocks are rare
    labels = torch.rand(200_000, generator=draw) < natural
    weight = 9.0
    balanced = weight * natural / (weight * natural + 1 - natural)
    curve = reliability_curve(balanced, labels, 10, weight)
    filled = curve.count > 2000
    torch.testing.assert_close(curve.predicted[filled], curve.observed[filled], rtol=0, atol=0.02)
    assert curve.gap < 0.01
    assert int(curve.count.sum()) == 200_000
    assert curve.predicted[8:].isnan().all()  # .69 is the most
    boastful = reliability_curve(balanced.clamp(max=0.35), labels, 10, weight)
    assert boastful.gap > 0.1


def test_too_few_of_either_kind_are_refused_with_the_numbers():
    states, _ = walled(50)
    for count, words in (
        (0, "0 blocks and 50 other"),
        (1, "1 blocks and 49"),
        (49, "49 blocks and 1"),
        (50, "50 blocks"),
    ):
        labels = torch.arange(50) < count
        with pytest.raises(HeedError, match=words):
            Blockers(state_size=3).fit(states, labels, seeded())
    states[0] = math.nan
    with pytest.raises(HeedError, match="1 blocks and 48"):
        Blockers(state_size=3).fit(states, torch.arange(50) < 2, seeded())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"inputs": "pixels"}, "pixels"),
        ({"label_keys": (3,)}, "label_keys"),
        ({"label_keys": ()}, "label_keys"),
        ({"label_keys": (0, 0)}, "label_keys"),
        ({"votes": 6}, "6 votes of 5"),
        ({"inputs": "state_action"}, "action_size"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, words):
    with pytest.raises(HeedError, match=words):
        Blockers(**{"state_size": 3, **wrong})
