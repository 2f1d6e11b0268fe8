"""What each room stands on beyond the base installation, and what to install where it is not there.

`pip install heed` brings what `heed.balance` needs and nothing else. Importing `heed` puts a finder in place that
looks, before a room is imported, whether the packages of its extras are there; so what is missing is named in one line.
`tests/test_house.py` holds these tables to pyproject.toml and to what the rooms import.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from typing import Any

from heed.errors import MissingPackageError

BASE = ""
"""Stands for the base installation, which no extra needs to be named for."""

EXTRAS: dict[str, tuple[str, ...]] = {
    BASE: ("torch", "torchjd", "numpy", "scipy"),
    "runs": (
        *("pyyaml", "safetensors", "tensorboard", "jsonargparse", "rich", "shtab"),
        *("pyarrow", "matplotlib", "jinja2", "markupsafe"),
    ),
    "worlds": ("gymnasium",),
    "oversight": ("sqlalchemy", "pillow"),
    "align": (
        *("transformers", "peft", "datasets", "accelerate", "huggingface_hub", "tokenizers"),
        *("moocore", "requests", "urllib3", "platformdirs", "scikit-learn"),
    ),
    "guard": ("stable-baselines3",),
    "trl": ("trl",),
    "ray": ("ray",),
    "web": ("fastapi", "uvicorn", "websockets", "pydantic", "krippendorff", "scikit-learn", "markdown-it-py"),
}
"""Extra: the packages that it brings by itself, the most telling first."""

BESIDE = ("trl", "ray")
"""Extras that ``heed[all]`` does not bring: they stand on somebody's trainer or cluster, and ray alone takes 240 MB."""

BUILT_ON = {
    "runs": BASE,
    "worlds": "runs",
    "oversight": "worlds",
    "align": "worlds",
    "guard": "oversight",
    "trl": BASE,
    "ray": "runs",
    "web": "oversight",
}
"""Extra: the one that it brings along."""

NEEDS: dict[str, tuple[str, ...]] = {
    "heed.balance": (BASE,),
    "heed.runs": ("runs",),
    "heed.worlds": ("worlds",),
    "heed.worlds.apothecary": ("align",),
    "heed.oversight": ("oversight",),
    "heed.oversight.agreement": ("web",),
    "heed.align": ("align",),
    "heed.align.labelling": ("align", "oversight"),
    "heed.guard": ("oversight",),
    "heed.guard.learners": ("guard",),
    "heed.guard.run": ("guard",),
    "heed.report": ("runs",),
    "heed.report.demo_page": ("guard",),
    "heed.report.guard": ("guard",),
    "heed.trl": ("trl",),
    "heed.web": ("web",),
    "heed.compare": ("runs",),
    "heed.compare.align_runs": ("align",),
    "heed.compare.crews.over_ray": ("ray",),
    "heed.compare.demo": ("align", "guard"),
    "heed.compare.demo_guard": ("guard",),
    "heed.compare.front": ("align",),
    "heed.compare.front_measures": ("align",),
    "heed.compare.efficiency": ("guard",),
    "heed.compare.guards": ("guard",),
    "heed.compare.methods": ("align",),
    "heed.compare.rounds": ("align",),
    "heed.compare.own_model": ("align",),
    "heed.compare.picking": ("align",),
    "heed.compare.real": ("align",),
    "heed.compare.one_policy": ("align",),
    "heed.compare.soups": ("align",),
    "heed.bench": ("runs",),
    "heed.bench.coverage": ("guard",),
    "heed.bench.gradient_model": ("align",),
    "heed.bench.generate": ("align",),
    "heed.bench.gradients": ("align",),
    "heed.bench.pages.killed_pages": ("web",),
    "heed.bench.pages.killed_servers": ("web",),
    "heed.bench.pages.kills": ("web",),
    "heed.bench.pages.oversight": ("guard", "web"),
    "heed.bench.plan": ("guard",),
    "heed.bench.proposals": ("guard",),
    "heed.bench.shapes": ("align",),
    "heed.bench.startup": ("oversight",),
    "heed.bench.step": ("align",),
    "heed.bench.trl_step": ("align",),
    "heed.bench.pages.watching_pages": ("web",),
    "heed.cli.align": ("align",),
    "heed.cli.bench": ("runs",),
    "heed.cli.command": ("runs",),
    "heed.cli.compare": ("runs",),
    "heed.cli.completion": ("runs",),
    "heed.cli.console": ("runs",),
    "heed.cli.demo": ("align", "guard"),
    "heed.cli.doctor": (BASE,),
    "heed.cli.doctor.draw": ("worlds",),
    "heed.cli.doctor.guarding": ("guard",),
    "heed.cli.doctor.learn": ("guard",),
    "heed.cli.doctor.look": ("oversight",),
    "heed.cli.front": ("align",),
    "heed.cli.guard": ("guard",),
    "heed.cli.judgements": ("web",),
    "heed.cli.label": ("align", "web"),
    "heed.cli.label_pairs": ("align", "oversight"),
    "heed.cli.oversee": ("guard", "web"),
    "heed.cli.pick": ("align",),
    "heed.cli.report": ("runs",),
    "heed.cli.reward": ("align",),
    "heed.cli.settings": ("align",),
}
"""Package or module: the extras that it stands on, and all within it; what is not named needs nothing but Python."""

_IMPORTED_AS = {"markdown-it-py": "markdown_it", "pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn"}


def imported_as(package: str) -> str:
    """The name by which Python imports a package that pip installs.

    >>> imported_as("scikit-learn"), imported_as("stable-baselines3")
    ('sklearn', 'stable_baselines3')
    """
    return _IMPORTED_AS.get(package, package.replace("-", "_"))


def packages_of(extra: str) -> tuple[str, ...]:
    """All packages that an extra brings: its own first, then those of the one that it is built on.

    >>> packages_of("guard")[:2]
    ('stable-baselines3', 'sqlalchemy')
    """
    return EXTRAS[extra] + (packages_of(BUILT_ON[extra]) if extra in BUILT_ON else ())


def missing_from(extra: str) -> list[str]:
    """The packages of an extra that are not installed here."""
    return [package for package in packages_of(extra) if find_spec(imported_as(package)) is None]


def needs(module: str) -> tuple[str, ...]:
    """The extras that a module stands on.

    >>> needs("heed.align.trainer"), needs("heed.errors")
    (('align',), ())
    """
    while module not in NEEDS and module:
        module = module.rpartition(".")[0]
    return NEEDS.get(module, ())


def require(module: str) -> None:
    """Refuse a module whose packages are not all installed.

    Raises:
        MissingPackageError: names the first package that is missing, and the extras that bring all that is.
    """
    missing = {extra: packages for extra in NEEDS.get(module, ()) if (packages := missing_from(extra))}
    if missing:
        raise MissingPackageError(module, next(iter(missing.values()))[0], list(missing))


class _Finder(MetaPathFinder):
    """Finds nothing; looks, before a room is looked for, whether what it stands on is there."""

    def find_spec(self, fullname: str, *_: Any) -> None:
        """Leave the finding to others, once nothing is missing."""
        if fullname in NEEDS:
            require(fullname)


def name_missing_packages() -> None:
    """Put the finder in place, once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
