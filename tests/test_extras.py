"""What each installation of heed can do, and the one line that it says of what it cannot: simulated, and in fresh ones.

The fresh ones are slow and need a package index: ``pytest -m slow tests/test_extras.py``.
"""

import json
import os
import pickle
import re
import subprocess
import sys
import venv
from pathlib import Path
from urllib.request import urlopen

import pytest

from heed import _extras
from heed.errors import HeedError, MissingPackageError

ROOT = Path(__file__).parent.parent
ROOMS = [
    *(
        "balance",
        "runs",
        "report",
        "oversight",
        "align",
        "align.labelling",
        "guard",
        "guard.learners",
        "web",
        "oversight.agreement",
    ),
    *("worlds", "worlds.apothecary", "worlds.point_hazard", "compare", "compare.front", "compare.guards"),
]
COMMANDS = [
    *("align", "front", "reward", "guard", "oversee", "label", "judgements", "report", "demo", "doctor"),
    *("compare align", "compare guard", "bench gradients", "bench plan"),
]
MISSING = {
    "": {
        "heed.runs": ("pyyaml", "runs"),
        "heed.report": ("pyyaml", "runs"),
        "heed.oversight": ("sqlalchemy", "oversight"),
        "heed.align": ("transformers", "align"),
        "heed.align.labelling": ("transformers", "align"),
        "heed.guard": ("sqlalchemy", "oversight"),
        "heed.guard.learners": ("sqlalchemy", "oversight"),
        "heed.web": ("fastapi", "web"),
        "heed.oversight.agreement": ("sqlalchemy", "oversight"),
        "heed.worlds": ("gymnasium", "worlds"),
        "heed.worlds.apothecary": ("gymnasium", "worlds"),
        "heed.worlds.point_hazard": ("gymnasium", "worlds"),
        "heed.compare": ("pyyaml", "runs"),
        "heed.compare.front": ("pyyaml", "runs"),
        "heed.compare.guards": ("pyyaml", "runs"),
        "heed align": ("transformers", "align"),
        "heed front": ("transformers", "align"),
        "heed reward": ("transformers", "align"),
        "heed guard": ("stable-baselines3", "guard"),
        "heed oversee": ("stable-baselines3", "guard,web"),
        "heed label": ("transformers", "align,web"),
        "heed judgements": ("fastapi", "web"),
        "heed report": ("pyyaml", "runs"),
        "heed demo": ("transformers", "align,guard"),
        "heed compare align": ("pyyaml", "runs"),
        "heed compare guard": ("pyyaml", "runs"),
        "heed bench gradients": ("pyyaml", "runs"),
        "heed bench plan": ("pyyaml", "runs"),
    },
    "align": {
        "heed.oversight": ("sqlalchemy", "oversight"),
        "heed.align.labelling": ("sqlalchemy", "oversight"),
        "heed.guard": ("sqlalchemy", "oversight"),
        "heed.guard.learners": ("sqlalchemy", "oversight"),
        "heed.web": ("fastapi", "web"),
        "heed.oversight.agreement": ("sqlalchemy", "oversight"),
        "heed.compare.guards": ("stable-baselines3", "guard"),
        "heed guard": ("stable-baselines3", "guard"),
        "heed oversee": ("stable-baselines3", "guard,web"),
        "heed label": ("fastapi", "web"),
        "heed judgements": ("fastapi", "web"),
        "heed demo": ("stable-baselines3", "guard"),
        "heed compare guard": ("stable-baselines3", "guard"),
    },
    "guard": {
        "heed.align": ("transformers", "align"),
        "heed.align.labelling": ("transformers", "align"),
        "heed.web": ("fastapi", "web"),
        "heed.oversight.agreement": ("fastapi", "web"),
        "heed.worlds.apothecary": ("transformers", "align"),
        "heed.compare.front": ("transformers", "align"),
        "heed align": ("transformers", "align"),
        "heed front": ("transformers", "align"),
        "heed reward": ("transformers", "align"),
        "heed oversee": ("fastapi", "web"),
        "heed label": ("transformers", "align,web"),
        "heed judgements": ("fastapi", "web"),
        "heed demo": ("transformers", "align"),
        "heed compare align": ("transformers", "align"),
    },
    "web": {
        "heed.align": ("transformers", "align"),
        "heed.align.labelling": ("transformers", "align"),
        "heed.guard.learners": ("stable-baselines3", "guard"),
        "heed.worlds.apothecary": ("transformers", "align"),
        "heed.compare.front": ("transformers", "align"),
        "heed.compare.guards": ("stable-baselines3", "guard"),
        "heed align": ("transformers", "align"),
        "heed front": ("transformers", "align"),
        "heed reward": ("transformers", "align"),
        "heed guard": ("stable-baselines3", "guard"),
        "heed oversee": ("stable-baselines3", "guard"),
        "heed label": ("transformers", "align"),
        "heed demo": ("transformers", "align,guard"),
        "heed compare align": ("transformers", "align"),
        "heed compare guard": ("stable-baselines3", "guard"),
    },
}
"""By what was installed: the package that is missed, and the extras to install. What is not named here works."""

BROUGHT_BY_OTHERS = ("jinja2", "markupsafe", "pillow")
"""Always there: torch brings the templates, matplotlib the pictures."""

TRIED = """
import contextlib, importlib, io, json, sys
absent, rooms, commands = json.loads(sys.argv[1])
for name in absent:
    sys.modules[name] = None  # the import of it fails, as if it were not installed
said = {}
for room in rooms:
    try:
        importlib.import_module(f"heed.{room}")
    except ImportError as error:
        said[f"heed.{room}"] = str(error)
from heed.cli import main
for command in ["--help", *commands]:
    shown, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(told):
        try:
            main([*command.split(), "--help"])
        except SystemExit as end:
            code = end.code
    if code != 0:
        assert code == 2 and shown.getvalue() == "", (command, code, shown.getvalue())
        said[f"heed {command}"] = told.getvalue().strip()
print(json.dumps(said))
"""


def lines_expected(extra: str) -> dict[str, str]:
    def line(who: str, package: str, extras: str) -> str:
        told = f"{who} needs {package}, which is not installed; pip install 'heed[{extras}]'"
        return f"heed: error: {told}" if " " in who else told.replace(f"{who} ", f"{refused_first(who, extra)} ", 1)

    return {who: line(who, *found) for who, found in MISSING[extra].items()}


def refused_first(module: str, extra: str) -> str:
    """The package around a module that is refused before the module is looked at, or the module itself."""
    parts = module.split(".")
    around = [".".join(parts[:count]) for count in range(2, len(parts))]
    return next((package for package in around if package in MISSING[extra]), module)


def tried(python: Path | str, absent: list[str], **environment: str) -> dict[str, str]:
    """What an installation says of the rooms and commands that it lacks packages for."""
    given = json.dumps([absent, ROOMS, COMMANDS])
    done = subprocess.run(
        [python, "-c", TRIED, given], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("extra", MISSING)
def test_without_the_other_extras_each_room_and_command_works_or_says_in_one_line_what_it_needs(extra):
    everything = {package for other in _extras.EXTRAS for package in _extras.packages_of(other)}
    absent = [_extras.imported_as(name) for name in everything - {*_extras.packages_of(extra), *BROUGHT_BY_OTHERS}]
    said = tried(sys.executable, absent)
    assert said == lines_expected(extra)


def test_a_missing_package_is_the_users_to_mend_and_an_import_error():
    error = MissingPackageError("heed.guard", "stable-baselines3", ["guard"])
    assert isinstance(error, HeedError) and isinstance(error, ModuleNotFoundError)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.extras) == (MissingPackageError, str(error), ("guard",))


def test_a_base_installation_that_is_broken_is_to_be_installed_again(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchjd", None)
    with pytest.raises(
        MissingPackageError, match=r"heed\.balance needs torchjd, which is not installed; pip install heed$"
    ):
        _extras.require("heed.balance")


TWO_LOSSES = """
import torch
from heed.balance import GAPO
torch.manual_seed(0)
inputs = torch.randn(256, 3)
targets = inputs @ torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
weights = torch.zeros(3, 2, requires_grad=True)
weighting = GAPO(p=1)
for step in range(400):
    losses = (inputs @ weights - targets).square().mean(0)
    rows = torch.stack([torch.autograd.grad(loss, weights, retain_graph=True)[0].flatten() for loss in losses])
    with torch.no_grad():
        weights -= 0.3 * (weighting(rows @ rows.T) @ rows).view_as(weights)
assert (losses < 0.01 * targets.square().mean(0)).all(), losses
"""


def a_regression(bin_: Path, folder: Path) -> None:
    subprocess.run([bin_ / "python", "-c", TWO_LOSSES], check=True)


def an_alignment(bin_: Path, folder: Path) -> None:
    subprocess.run([bin_ / "heed", "align", "--world", "apothecary", "--quick", "--out", folder / "run"], check=True)
    assert json.loads((folder / "run" / "summary.json").read_text())["completed"]
    assert (folder / "run" / "report.html").exists()


def a_guarded_run(bin_: Path, folder: Path) -> None:
    subprocess.run([bin_ / "heed", "guard", "--quick", "--out", folder / "run"], check=True)
    assert json.loads((folder / "run" / "summary.json").read_text())["completed"]
    assert (folder / "run" / "report.html").exists()


def a_page(bin_: Path, folder: Path) -> None:
    store = folder / "judgements.db"
    made = 'import sys; from heed.oversight import open_store; open_store(sys.argv[1], "--store").close()'
    subprocess.run([bin_ / "python", "-c", made, store], check=True)
    serve = [bin_ / "heed", "judgements", store, "--serve", "--port", "0"]
    with subprocess.Popen(serve, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            address = re.search(r"http://[\d.]+:\d+", server.stderr.readline())
            assert address is not None
            with urlopen(f"{address[0]}/health", timeout=30) as answer:
                assert answer.status == 200
        finally:
            server.terminate()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, ROOT], check=True)
    return next(folder.glob("heed-*.whl"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("extra", "does"), [("", a_regression), ("align", an_alignment), ("guard", a_guarded_run), ("web", a_page)]
)
def test_a_fresh_installation_does_its_own_and_names_what_it_lacks(extra, does, wheel, tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("HEED_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    wanted = f"{wheel}[{extra}]" if extra else str(wheel)
    subprocess.run([python, "-m", "pip", "install", "-c", ROOT / "constraints.txt", wanted], check=True)
    assert tried(python, []) == lines_expected(extra)
    does(python.parent, tmp_path)
