import subprocess
import sys

import pytest

import heed.guard


def test_every_public_name_is_there_and_no_other():
    for name in heed.guard.__all__:
        assert getattr(heed.guard, name).__name__ == name
    assert sorted(heed.guard._HOME_OF) == sorted(heed.guard.__all__) == dir(heed.guard)
    with pytest.raises(AttributeError, match="no attribute 'Gard'"):
        heed.guard.Gard  # noqa: B018 - asking is the test


def test_importing_the_guard_imports_none_of_its_parts():
    asks = "import sys, heed.guard; print({'torch', 'gymnasium', 'stable_baselines3', 'scipy'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
