"""Every option that a refusal names is one of the command that refuses."""

import ast
import contextlib
import io
import re
from pathlib import Path

import pytest

import heed
from heed import cli
from heed.cli import main
from heed.errors import HeedError
from heed.runs.folder import RESUMED, RunFolder

SOURCE = Path(heed.__file__).parent
GUARDED, ALIGNED = ("guard", "oversee"), ("align", "front")
ROOMS = {
    "align/dry_run": ("align",),
    "align/labelling": ("label",),
    "align/run/reward.py": ("reward",),
    "align": ALIGNED,
    "balance": ALIGNED,
    "bench/coverage.py": ("bench coverage",),
    "bench/options.py": ("bench gradients", "bench step", "bench generate"),
    "bench/pages/oversight.py": ("bench oversight",),
    "bench/startup.py": ("bench startup",),
    "bench/proposals.py": ("bench proposals",),
    "bench/generate.py": ("bench generate",),
    "bench/shapes.py": ("bench gradients", "bench step", "bench generate"),
    "bench/step.py": ("bench step",),
    "bench/pages/kills.py": ("bench kills",),
    "bench": ("bench gradients",),
    "cli/bench.py": ("bench gradients", "bench step", "bench generate"),
    "cli/compare.py": ("compare align", "compare guard"),
    "cli/demo.py": ("demo",),
    "cli/judgements.py": ("judgements",),
    "cli/label.py": ("label",),
    "cli/label_pairs.py": ("label",),
    "cli/pick": ("pick",),
    "cli/report.py": ("report",),
    "cli/settings.py": ALIGNED,
    "compare/picking": ("pick",),
    "compare/real": ("demo",),
    "compare": ("compare align", "front"),
    "guard": GUARDED,
    "oversight/comparisons": ("label", "judgements"),
    "oversight/overseers": GUARDED,
    "oversight/store/demonstrations.py": ("judgements",),
    "report": ("report",),
    "trl": (),
    "runs": ("align", "front", "guard", "oversee", "demo"),
    "web": ("label", "oversee", "report", "judgements"),
}
"""Which commands a room's refusals come out of; the longest beginning of a file's path counts."""
EVERYWHERE = ("--help", *cli.EVERYWHERE)
COMMANDS = sorted({command for commands in ROOMS.values() for command in commands})


def commands_of(path):
    rooms = [room for room in ROOMS if path == room or path.startswith(f"{room}/")]
    name = path.removeprefix("cli/").removesuffix(".py")
    return ROOMS[max(rooms, key=len)] if rooms else (name,) if path.startswith("cli/") else ()


def named_options():
    """Files and the options that their refusals name, but for those whose command is named before them."""
    for file in sorted(SOURCE.rglob("*.py")):
        path = file.relative_to(SOURCE).as_posix()
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("HeedError", "RunFailed"):
                texts = [c.value for c in ast.walk(call) if isinstance(c, ast.Constant) and isinstance(c.value, str)]
                for text in texts:
                    for option in re.findall(r"--[a-z][\w-]*", re.sub(r"heed \w+ --[\w-]+", "", text)):
                        yield path, option


@pytest.fixture(scope="module")
def options():
    """Of each command, those that its --help lists."""
    found = {}
    patch = pytest.MonkeyPatch()
    patch.setenv("COLUMNS", "200")
    for command in COMMANDS:
        with contextlib.redirect_stdout(io.StringIO()) as shown, pytest.raises(SystemExit):
            main([*command.split(), "--help"])
        listed = set(re.findall(r"--[a-z][\w.-]*", shown.getvalue()))
        found[command] = listed | {f"--{name.rpartition('.')[2]}" for name in listed if "." in name}  # an end will do
    patch.undo()
    return found


def test_each_option_that_a_refusal_names_is_there(options):
    missing = set()
    for path, option in named_options():
        commands = commands_of(path)
        assert commands, f"{path} names {option}: say in ROOMS which commands it speaks in"
        if option not in EVERYWHERE and not any(option in options[command] for command in commands):
            missing.add((path, option, commands))
    assert not missing
    assert sum(1 for _ in named_options()) > 100


@pytest.mark.parametrize("kind", ["align", "front", "compare", "demo", "guard"])
def test_a_folder_that_is_taken_is_gone_on_with_only_where_the_command_can(tmp_path, options, kind):
    RunFolder.create(tmp_path / "run", {}, kind).close()
    with pytest.raises(HeedError) as refused:
        RunFolder.create(tmp_path / "run", {}, kind)
    command = {"compare": "compare align"}.get(kind, kind)
    assert ("--resume" in refused.value.fix) == (kind in RESUMED) == ("--resume" in options[command])
