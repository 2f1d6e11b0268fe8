"""What is named as module:name: found where it lies, refused with the option that named it."""

import sys

import pytest

from heed.errors import HeedError
from heed.runs.importing import named


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder that holds the module ``of_the_folder`` and one whose code fails."""
    (tmp_path / "of_the_folder.py").write_text("class Judge:\n    LIMIT = 3\n")
    (tmp_path / "that_fails.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("of_the_folder", "that_fails"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_module_of_the_current_folder_is_found_and_names_may_have_dots(here):
    assert named("of_the_folder:Judge.LIMIT", "--x") == 3


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nothing", r"'nothing' is not of the form module:name \(--x\)"),
        (":name", "is not of the form"),
        ("no_such_module:f", r"cannot import 'no_such_module'.*\(--x\)"),
        ("that_fails:f", "importing 'that_fails' raised ZeroDivisionError: division by zero in that_fails.py, line 1"),
        ("of_the_folder:Judge.MOST", "module 'of_the_folder' has no 'Judge.MOST'"),
    ],
)
def test_what_cannot_be_found_is_refused(here, target, message):
    with pytest.raises(HeedError, match=message):
        named(target, "--x")
