"""From ``module:name`` to what it names, and each way in which that can go wrong, by its line."""

import sys

import pytest

from heed.errors import HeedError
from heed.runs.importing import named, users_errors

MODULE = """
class Robot:
    arms = 2
    def wave(self): return "hello"
    class Hand: fingers = 5

def raises(): raise KeyError("no such joint")
"""
BROKEN = {
    "breaks": 'wheels = 4\nraise ValueError("no GPU here\\nnor there")\n',
    "lacks": "import no_such_dependency\n",
    "half": "from collections import no_such_name\n",
    "leaves": "import sys\nsys.exit(3)\n",
    "odd": "def f(:\n",
    "silent": "assert False\n",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of a user's modules, where they work."""
    modules = {"robots": MODULE, **BROKEN}
    for name, text in modules.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    yield tmp_path
    for name in modules:
        sys.modules.pop(name, None)


def test_a_module_of_the_current_folder_is_found(here):
    assert named("robots:Robot", "--env").arms == 2
    assert named("robots:Robot.Hand", "--env").fingers == 5
    assert sys.path[-1] == str(here) and sys.path.count(str(here)) == 1


def test_what_is_installed_is_not_hidden_by_a_file_of_the_current_folder(here):
    (here / "fractions.py").write_text("Fraction = None\n")
    assert named("fractions:Fraction", "--env")(1, 2) == 0.5


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("robots", "'robots' is not of the form module:name (--env X): give module:name, such as mine:Robot"),
        ("robots:", "'robots:' is not of the form module:name (--env X): give module:name, such as mine:Robot"),
        (":Robot", "':Robot' is not of the form module:name (--env X): give module:name, such as mine:Robot"),
        (".a:B", "'.a:B' is not of the form module:name (--env X): give module:name, such as mine:Robot"),
        (
            "nowhere:Robot",
            "cannot import 'nowhere': there is no such module (--env X): run where the module lies, or install it",
        ),
        (
            "robots.arms:Robot",
            "cannot import 'robots.arms': there is no such module (--env X): run where the module lies, or install it",
        ),
        ("robots:Robbot", "module 'robots' has no 'Robbot' (--env X): did you mean robots:Robot?"),
        ("robots:Robot.wav", "module 'robots' has no 'Robot.wav' (--env X): did you mean robots:Robot.wave?"),
        ("robots:xyz", "module 'robots' has no 'xyz' (--env X): give a name that {here}/robots.py has"),
        (
            "breaks:wheels",
            "importing 'breaks' raised ValueError: no GPU here in breaks.py, line 2 (--env X): "
            "mend that code, or what it is given",
        ),
        (
            "lacks:f",
            "importing 'lacks' raised ModuleNotFoundError: No module named 'no_such_dependency' in lacks.py, line 1 "
            "(--env X): mend that code, or what it is given",
        ),
        (
            "leaves:f",
            "importing 'leaves' raised SystemExit: 3 in leaves.py, line 2 (--env X): "
            "mend that code, or what it is given",
        ),
        (
            "odd:f",
            "importing 'odd' raised SyntaxError: invalid syntax (odd.py, line 1) (--env X): "
            "mend that code, or what it is given",
        ),
        (
            "silent:f",
            "importing 'silent' raised AssertionError in silent.py, line 1 (--env X): "
            "mend that code, or what it is given",
        ),
    ],
)
def test_whatever_is_wrong_is_one_line_that_says_what_where_and_what_to_do(here, spec, line):
    with pytest.raises(HeedError) as refused:
        named(spec, "--env X")
    assert str(refused.value) == line.format(here=here)


def test_a_name_that_a_users_import_lacks_is_their_fault(here):
    with pytest.raises(HeedError, match=r"^importing 'half' raised ImportError: cannot import name 'no_such_name'"):
        named("half:f", "--env X")


def test_what_the_users_code_raises_when_it_is_called_is_told_with_its_line(here):
    raises = named("robots:raises", "--env X")
    with pytest.raises(HeedError) as refused, users_errors("making robots:raises", "--env X"):
        raises()
    assert refused.value.what == "making robots:raises raised KeyError: 'no such joint' in robots.py, line 7"
    assert isinstance(refused.value.__cause__, KeyError)


def test_wrong_arguments_have_no_line_in_the_users_code(here):
    robot = named("robots:Robot", "--env X")
    with pytest.raises(HeedError) as refused, users_errors("making robots:Robot", "--env X"):
        robot(wind=3)
    assert refused.value.what == "making robots:Robot raised TypeError: Robot() takes no arguments"


def test_an_error_of_the_users_own_making_goes_through_as_it_is():
    with pytest.raises(HeedError) as refused, users_errors("making mine:Robot", "--env X"):
        raise HeedError("no wind", "wind", "give one")
    assert str(refused.value) == "no wind (wind): give one"
