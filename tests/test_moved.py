"""Every module of old, and every public name in it, is found where it is now, with a warning that says so."""

import importlib
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from heed import _moved

NAMES = dict(line.split(":") for line in (Path(__file__).parent / "names_of_old.txt").read_text().splitlines())
"""Modules as they were before the rooms were rebuilt, and the names that they showed."""
COMMANDS = "heed.cli"
"""Its modules are the command line's own: nobody imports names from them."""
DROPPED = {
    "heed.balance.classical": {"aligned_mtl", "cagrad", "upgrad"},  # now settings that build torchjd's classes
    "heed.balance.minnorm": {"ENUMERATED_UP_TO"},  # no supports are enumerated
    "heed.balance.registry": {"Vector"},
    "heed.compare.demo": {"OnRound"},  # both halves are followed by OnProgress
    "heed.guard.deciding": {"Decider", "logger"},  # its five questions are interventions
    "heed.guard.environment": {"known_point_hazard", "need_on_point_hazard"},  # a world's oracle answers
    "heed.guard.phases": {"Termination"},
    "heed.guard.settings": {"PARTS", "flat", "names_of"},  # sections come from the dataclasses themselves
    "heed.guard.thresholds": {"promised"},  # held-out blocks promise: `CalibratedBlockers.promised`
    "heed.guard.vector_guard": {"told_of_all"},
    "heed.oversight.browser": {"GLANCES", "KEPT"},
    "heed.oversight.compare_server": {"Unsafe"},
    "heed.oversight.gate": {"GREETING_S", "LARGEST", "MESSAGES", "MOST_ERRORS", "NOBODY", "PAGES"},  # heed.web.limits
    "heed.oversight.judgements_server": {"Told"},
    "heed.oversight.reading": {"Standing"},
    "heed.oversight.specs": {"base_of", "is_scripted"},  # an overseer declares its scope
    "heed.oversight.watch_server": {"DRAWING_S"},
    "heed.worlds.cliff_grid": {"ends"},
    "heed.worlds.presets": {"Observations"},
}
"""Internal names that nothing took the place of."""


@pytest.fixture
def found_anew(monkeypatch):
    """Modules that lost names are imported anew: doctests import files by their paths, past heed's own finder."""
    for name in _moved.LEFT:
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.fixture
def forgetful(monkeypatch):
    """As if no module of old had been imported yet."""
    for name in _moved.MOVED.keys() & sys.modules.keys():
        room, _, module = name.rpartition(".")
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.delitem(vars(sys.modules[room]), module, raising=False)  # a room answers for more than it has


@pytest.mark.parametrize("old", _moved.MOVED)
def test_a_module_that_moved_imports_and_says_here_where_it_is(old, forgetful):
    with pytest.warns(DeprecationWarning) as caught:
        importlib.import_module(old)
    said = [warning for warning in caught if str(warning.message).startswith(f"{old} moved to ")]
    assert len(said) == 1
    assert all(new in str(said[0].message) for new in _moved.MOVED[old])


def test_the_warning_points_to_the_line_that_imports(forgetful):
    with pytest.warns(DeprecationWarning, match=r"heed\.guard\.judges moved to heed\.guard\.models\.models") as caught:
        import heed.guard.judges  # noqa: F401
    assert caught[0].filename == __file__


@pytest.mark.parametrize("old", [name for name in NAMES if not name.startswith(COMMANDS)])
def test_every_public_name_of_a_module_of_old_is_found(old, found_anew):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = importlib.import_module(old)
        lost = {name for name in NAMES[old].split() if getattr(module, name, None) is None}
    assert lost == DROPPED.get(old, set())


def test_every_module_of_old_was_there_and_is_no_module_of_today():
    assert _moved.MOVED.keys() | _moved.LEFT.keys() <= NAMES.keys()
    assert not [old for old in _moved.MOVED if (Path(_moved.__file__).parents[1] / old.replace(".", "/")).exists()]


def test_every_new_name_is_that_of_something():
    homes = {new for places in (*_moved.MOVED.values(), *_moved.LEFT.values()) for new in places} | _moved.LEFT.keys()
    names = {name for home in homes for name in vars(importlib.import_module(home))}
    assert set(_moved.RENAMED.values()) <= names


def test_an_old_name_in_an_old_module_is_the_new_thing_itself():
    from heed.guard.models.models import Models

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from heed.guard.judges import Judges
    assert Judges is Models


def test_an_old_name_in_a_room_that_stayed_is_the_new_thing_with_a_warning(forgetful, found_anew):
    from heed.guard import Models
    from heed.oversight import fail_closed

    with pytest.warns(DeprecationWarning, match=r"heed\.guard\.Judges is heed\.guard\.Models now"):
        from heed.guard import Judges
    with pytest.warns(DeprecationWarning, match=r"heed\.oversight\.guarded is heed\.oversight\.fail_closed now"):
        from heed.oversight import guarded
    assert (Judges, guarded) == (Models, fail_closed)


def test_a_name_that_never_was_is_refused_with_the_place_of_the_module(forgetful):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with pytest.raises(ImportError, match=r"'Nothing' from 'heed\.guard\.judges' \(.*models/models\.py\)"):
            from heed.guard.judges import Nothing  # noqa: F401
        module = importlib.import_module("heed.guard.judges")
    with pytest.raises(
        AttributeError, match=r"heed\.guard\.judges moved to heed\.guard\.models\.models and .*unseen, and has no"
    ):
        module.Nothing  # noqa: B018
    with pytest.raises(AttributeError, match=r"module 'heed\.guard' has no attribute 'Nothing'"):
        importlib.import_module("heed.guard").Nothing  # noqa: B018


def test_what_was_pickled_under_an_old_name_is_read(forgetful):
    from heed.guard.models.models import Models

    with pytest.warns(DeprecationWarning, match="moved to"):
        assert pickle.loads(b"cheed.guard.judges\nJudges\n.") is Models


def test_a_program_of_old_runs_and_is_told_once_for_each_module():
    lines = "from heed.guard.searches import ICEM\nfrom heed.guard.searches import CEM\nprint(ICEM.__module__)"
    done = subprocess.run([sys.executable, "-W", "always", "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout == "heed.guard.planning.optimizers\n"
    assert done.stderr.count("heed.guard.searches moved to heed.guard.planning.optimizers") == 1
