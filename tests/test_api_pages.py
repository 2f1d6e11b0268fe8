"""The API reference shows every public name of each package on the package's page, and nothing else."""

import importlib
import re
from pathlib import Path

import pytest

API = Path(__file__).parent.parent / "docs" / "api"
PAGES = {
    "align": ("heed.align", "heed.align.labelling", "heed.align.conditioning"),
    "balance": ("heed.balance",),
    "bench": ("heed.bench",),
    "compare": ("heed.compare",),
    "guard": ("heed.guard",),
    "oversight": ("heed.oversight",),
    "preferences": ("heed.align.preferences",),
    "report": ("heed.report",),
    "runs": ("heed.runs", "heed.errors"),
    "trl": ("heed.trl",),
    "web": ("heed.web",),
    "worlds": ("heed.worlds", "heed.worlds.apothecary", "heed.worlds.point_hazard", "heed.worlds.cliff_grid"),
}


def public_names(package):
    """Names of ``__all__``, or the classes that a module without it defines."""
    module = importlib.import_module(package)
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == package]
    return vars(module).get("__all__", [name for name in own if not name.startswith("_")])


def test_every_package_has_its_page():
    assert {page.stem for page in API.glob("*.md")} == set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_lists_each_public_name_once_and_nothing_else(page):
    listed = re.findall(r"^::: (\S+)$", (API / f"{page}.md").read_text(), flags=re.MULTILINE)
    assert len(listed) == len(set(listed))
    named = {f"{package}.{name}" for package in PAGES[page] for name in public_names(package)}
    once = {}  # a name that two packages of a page share is listed at the first of them
    for package in PAGES[page]:
        for name in public_names(package):
            once.setdefault(name, f"{package}.{name}")
    assert set(listed) <= named, f"not public: {sorted(set(listed) - named)}"
    assert set(listed) >= set(once.values()), f"missing: {sorted(set(once.values()) - set(listed))}"


@pytest.mark.parametrize("package", [package for packages in PAGES.values() for package in packages])
def test_every_public_name_is_there(package):
    module = importlib.import_module(package)
    assert [name for name in public_names(package) if getattr(module, name, None) is None] == []
