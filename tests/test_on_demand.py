"""Names of a package that are imported when they are first asked for."""

import pytest

import heed.align
import heed.balance
from heed._on_demand import on_demand
from heed.runs.importing import named


def test_a_name_on_demand_is_that_of_its_module_and_no_other_is_there():
    find = on_demand("heed.runs", {"importing": ["named"]})
    assert find("named") is named
    with pytest.raises(AttributeError, match=r"module 'heed\.runs' has no attribute 'users_errors'"):
        find("users_errors")


def test_a_package_lists_what_it_has_not_imported_yet():
    for package in (heed.align, heed.balance):
        assert set(package.__all__) <= set(dir(package))
