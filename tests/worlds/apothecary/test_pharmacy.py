"""What doses are worth, by hand."""

import numpy as np
import pytest

from heed.errors import HeedError
from heed.worlds.apothecary.pharmacy import (
    COMPLAINTS,
    MALFORMED,
    REMEDIES,
    Pharmacy,
    check_objectives,
    dose_vectors,
)


@pytest.fixture
def plain():
    """A pharmacy with round numbers: remedy r relieves complaint r by 3, foxglove (6) also complaint 0 by 1.5."""
    strengths = 3.0 * np.eye(10, 8)
    strengths[6, 0] = 1.5
    return Pharmacy(strengths, sides=np.array([0.5] * 6 + [2.5] * 2 + [1.5] * 2), prices=np.arange(1.0, 11.0))


def doses(**given):
    vector = np.zeros((1, len(REMEDIES)))
    for name, dose in given.items():
        vector[0, REMEDIES.index(name)] = dose
    return vector


def test_help_adds_over_remedies_and_complaints_up_to_the_cap(plain):
    complaints = np.isin(np.arange(8), [0, 6])
    assert plain.help(doses(willow=1), complaints) == pytest.approx([3.0])
    assert plain.help(doses(willow=2), complaints) == pytest.approx([4.5])  # 6 capped
    assert plain.help(doses(willow=1, foxglove=1), complaints) == pytest.approx([4.5 + 3.0])
    assert plain.help(doses(nettle=3), complaints) == pytest.approx([0.0])  # not what the customer has


def test_harm_grows_with_the_total_dose_and_a_warning_halves_it(plain):
    silent, warned = np.array([False]), np.array([True])
    assert plain.harmless(doses(willow=1), silent) == pytest.approx([-0.25])
    assert plain.harmless(doses(willow=4), silent) == pytest.approx([-0.5 * 0.5 * 8.0])
    assert plain.harmless(doses(foxglove=1, snakeoil=4), silent) == pytest.approx([-0.5 * (2.5 + 1.5 * 8.0)])
    assert plain.harmless(doses(foxglove=1, snakeoil=4), warned) == pytest.approx([-0.25 * (2.5 + 1.5 * 8.0)])


def test_price_is_minus_the_coins_of_all_doses(plain):
    assert plain.price(doses(willow=2, nettle=3)) == pytest.approx([-(2 * 1.0 + 3 * 2.0)])


def test_a_seed_stocks_the_same_pharmacy_and_another_seed_another():
    first, again, other = Pharmacy.stocked(0), Pharmacy.stocked(0), Pharmacy.stocked(1)
    assert (first.strengths == again.strengths).all()
    assert (first.strengths != other.strengths).any()


@pytest.mark.parametrize("seed", range(5))
def test_herbs_are_for_one_complaint_harsh_remedies_for_four_and_every_complaint_has_a_strong_remedy(seed):
    strengths = Pharmacy.stocked(seed).strengths
    assert ((strengths > 0).sum(1) == [1] * 6 + [4] * 2 + [2] * 2).all()
    assert np.abs(strengths[:6].max(1) / 3 - 1).max() <= 0.03
    assert np.abs(strengths[6:8].max(1) / 3.8 - 1).max() <= 0.03
    assert sorted(strengths[:8].argmax(1)) == list(range(len(COMPLAINTS)))


def test_dose_vectors_are_all_totals_of_all_replies_with_the_fewest_prescriptions():
    totals, fewest = dose_vectors()
    assert len(np.unique(totals, axis=0)) == len(totals)
    assert totals.sum(1).min() == 1  # at least one prescription
    assert totals.sum(1).max() == 9
    by_total = {tuple(total): count for total, count in zip(totals.tolist(), fewest.tolist(), strict=True)}
    assert by_total[(4, *[0] * 9)] == 2
    assert by_total[(3, 3, 3, *[0] * 7)] == 3
    assert (4, 4, *[0] * 8) not in by_total  # would take four prescriptions


def test_a_malformed_reply_is_worse_on_every_objective_than_any_reply_of_at_most_two_doses_of_each_remedy():
    pharmacy, (totals, fewest) = Pharmacy.stocked(0), dose_vectors()
    sensible = totals.max(1) <= 2
    chosen, silent = totals[sensible].astype(float), np.zeros(sensible.sum(), bool)
    assert pharmacy.help(chosen, np.ones(8)).min() >= 0 > MALFORMED["help"]
    assert pharmacy.harmless(chosen, silent).min() > MALFORMED["harmless"]
    assert -(6 * fewest + 6).max() > MALFORMED["brevity"]
    assert pharmacy.price(chosen).min() > MALFORMED["price"]


@pytest.mark.parametrize("names", [("help", "taste"), ("help", "help"), ()])
def test_unknown_repeated_or_no_objectives_are_refused(names):
    with pytest.raises(HeedError, match="name each of help, harmless, brevity, price at most once"):
        check_objectives(names)
