"""The house holds: import direction, small files, no prints in the library, balance free of text and agents."""

import ast
import logging.config
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter import cli as import_linter

import heed

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src" / "heed").rglob("*.py"))
BALANCE = [path for path in SOURCES if "balance" in path.parts]
MOST_LINES = 400
KNOWN_TO_BALANCE = {"torch", "torchjd", "heed"}
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
def test_balance_knows_nothing_but_torch_and_torchjd(path):
    modules = set(imported_modules(ast.parse(path.read_text())))
    packages = {module.partition(".")[0] for module in modules}
    third_party = packages - set(sys.stdlib_module_names)
    assert third_party <= KNOWN_TO_BALANCE
    assert {module for module in modules if module.startswith("heed.")} <= {
        module for module in modules if module.startswith(("heed.balance", "heed.errors"))
    }


def test_importing_balance_imports_no_text_and_no_agents():
    asks = f"import sys, heed.balance; print({HEAVY_FOR_BALANCE} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


def test_the_changelog_begins_with_this_version():
    head = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert head is not None
    assert head[1] == heed.__version__
