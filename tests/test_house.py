"""The house holds: import direction, small files, no prints in the library, balance free of text and agents."""

import ast
import functools
import logging.config
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter import cli as import_linter

import heed
from heed import _extras
from house_table import House

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src" / "heed").rglob("*.py"))
BALANCE = [path for path in SOURCES if "balance" in path.parts]
MOST_LINES = 400
KNOWN_TO_BALANCE = {"torch", "scipy", "torchjd", "heed"}
MOST_FILES = 16
HOUSE = House.read(ROOT / "src")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HEAVY_FOR_BALANCE = {"transformers", "peft", "datasets", "accelerate", "gymnasium", "stable_baselines3"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported_modules(tree: ast.Module) -> Iterator[str]:
    """Every module that is imported anywhere in a file, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the room that they come from"
            yield node.module or ""


def test_every_room_imports_only_from_the_rooms_below_it(capsys, monkeypatch):
    monkeypatch.setattr(logging.config, "dictConfig", lambda _: None)  # it would switch off all loggers that there are
    kept = import_linter.lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert kept == import_linter.EXIT_STATUS_SUCCESS, capsys.readouterr().out


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_of_the_package_stays_small_and_prints_only_if_it_is_a_command(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    prints = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert not prints or "cli" in path.relative_to(ROOT / "src" / "heed").parts


@pytest.mark.parametrize("path", BALANCE, ids=name_of)
def test_balance_knows_nothing_but_what_its_installation_brings(path):
    modules = set(imported_modules(ast.parse(path.read_text())))
    packages = {module.partition(".")[0] for module in modules}
    third_party = packages - set(sys.stdlib_module_names)
    assert third_party <= KNOWN_TO_BALANCE
    assert {module for module in modules if module.startswith("heed.")} <= {
        module for module in modules if module.startswith(("heed.balance", "heed.errors", "heed._on_demand"))
    }


def test_importing_balance_imports_no_text_and_no_agents():
    asks = f"import sys, heed.balance; print({HEAVY_FOR_BALANCE} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


def names(requirements: list[str]) -> set[str]:
    """The packages that requirements name, without heed itself."""
    return {re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in requirements} - {"heed"}


def imported(packages: set[str]) -> set[str]:
    return {_extras.imported_as(package) for package in packages}


@functools.cache
def brought_by(*extras: str) -> set[str]:
    """What pyproject.toml says that heed with these extras brings, as it is imported."""
    found = imported(names(PROJECT["dependencies"]))
    for extra in filter(None, extras):
        lines = PROJECT["optional-dependencies"][extra]
        below = re.findall(r"heed\[([\w,]+)\]", " ".join(lines))
        found |= imported(names(lines)) | brought_by(*",".join(below).split(","))
    return found


def test_the_tables_of_extras_say_what_pyproject_says():
    for extra, packages in _extras.EXTRAS.items():
        declared = PROJECT["optional-dependencies"].get(extra, PROJECT["dependencies"])
        assert set(packages) == names(declared), extra
        assert imported(set(_extras.packages_of(extra))) == brought_by(extra), extra


def test_the_extra_all_brings_what_all_rooms_take_but_for_what_stands_beside_them():
    assert brought_by("all") == brought_by(*(extra for extra in _extras.EXTRAS if extra not in _extras.BESIDE))
    assert all(package not in brought_by("all") for extra in _extras.BESIDE for package in _extras.EXTRAS[extra])


@pytest.mark.parametrize("module", HOUSE.files)
def test_importing_a_module_takes_no_packages_but_those_of_its_extras(module):
    taken = {package: name for name in HOUSE.loaded_with(module) for package in HOUSE.packages_of(name)}
    beyond = taken.keys() - set(sys.stdlib_module_names) - brought_by(*_extras.needs(module))
    assert {package: taken[package] for package in beyond} == {}


LATER = {
    *(("heed.compare.demo", extra) for extra in ("align", "guard")),
    *(("heed.cli.demo", extra) for extra in ("align", "guard")),
    ("heed.cli.doctor", _extras.BASE),
    *(("heed.cli.label", extra) for extra in ("align", "web")),
    *(("heed.cli.label_pairs", extra) for extra in ("align", "oversight")),
    *(("heed.cli.oversee", extra) for extra in ("guard", "web")),
}
"""Room and extra, where it is a room's functions, or the processes that it starts, which take the extra's packages."""


@pytest.mark.parametrize("room", _extras.NEEDS)
def test_a_room_asks_for_no_extra_of_which_it_takes_nothing(room):
    loaded = set().union(*(HOUSE.loaded_with(name) for name in HOUSE.files if f"{name}.".startswith(f"{room}.")))
    taken = {package for name in loaded for package in HOUSE.packages_of(name)}
    for extra in _extras.NEEDS[room]:
        others = [other for other in _extras.NEEDS[room] if other != extra]
        alone = imported(set(_extras.packages_of(extra))) - (brought_by(*others) if others else set())
        assert taken & alone or (room, extra) in LATER, extra


@pytest.mark.parametrize("room", HOUSE.rooms)
def test_no_modules_of_a_room_import_each_other_in_a_circle(room):
    assert HOUSE.circles(room) == []


def test_a_folder_holds_no_more_files_than_can_be_taken_in():
    counts = Counter(name_of(path.parent) for path in SOURCES if path.name != "__init__.py")
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES} == {}


def test_the_changelog_begins_with_this_version():
    head = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert head is not None
    assert head[1] == heed.__version__
