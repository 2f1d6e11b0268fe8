"""Names of a package that are imported when they are first asked for."""

import pytest

from heed.runs.importing import named
from heed.runs.on_demand import on_demand


def test_a_name_on_demand_is_that_of_its_module_and_no_other_is_there():
    find = on_demand("heed.runs", {"importing": ["named"]})
    assert find("named") is named
    with pytest.raises(AttributeError, match=r"module 'heed\.runs' has no attribute 'users_errors'"):
        find("users_errors")
