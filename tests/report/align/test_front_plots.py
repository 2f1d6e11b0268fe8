"""Plots of families of policies: a stray value does not squeeze the others."""

import pytest

from heed.report.align.front_plots import crowd


def test_one_stray_value_does_not_squeeze_the_others():
    assert crowd([0.0, -0.5, -1.0, -2.0, -24.8]) == pytest.approx((-2.3, 0.3))
    assert crowd([0.0, -24.8]) is None
    assert crowd([1.0, 1.0, 1.0, 1.0]) is None
