"""A synthetic run folder of each kind."""

import pytest
from synthetic_runs import make_align_run, make_compare_run, make_demo_run, make_front_run


@pytest.fixture
def align_run(tmp_path):
    return make_align_run(tmp_path / "gapo")


@pytest.fixture
def demo_run(tmp_path):
    return make_demo_run(tmp_path / "demo")


@pytest.fixture
def front_run(tmp_path):
    return make_front_run(tmp_path / "front")


@pytest.fixture
def compare_run(tmp_path):
    return make_compare_run(tmp_path / "compare")
