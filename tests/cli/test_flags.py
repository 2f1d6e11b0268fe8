"""Flags are spelt with hyphens wherever people read them, and understood with underscores as well."""

import contextlib
import io
import re
from pathlib import Path

import pytest

import heed
from heed.cli import COMMANDS, main
from heed.cli.bench import BENCHMARKS
from heed.cli.bench import run as bench
from heed.cli.command import Command
from heed.cli.reward import run as reward
from heed.errors import HeedError

ROOT = Path(__file__).parents[2]
SOURCE = Path(heed.__file__).parent
WITH_UNDERSCORE = re.compile(r"(?<![\w-])--[a-z][\w.-]*_[\w.-]*")
ACCEPTED = "--some_flag"
"""In the one docstring that says that underscores are understood."""
KINDS = [["compare", "align"], ["compare", "guard"], *(["bench", name] for name in BENCHMARKS)]


@pytest.mark.parametrize("line", [*([name] for name in COMMANDS), *KINDS], ids=" ".join)
def test_a_help_shows_hyphens(line):
    with contextlib.redirect_stdout(io.StringIO()) as shown, pytest.raises(SystemExit):
        main([*line, "--help"])
    assert WITH_UNDERSCORE.findall(shown.getvalue()) == []


def test_the_source_and_the_pages_name_flags_with_hyphens():
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "Makefile"]
    pages += [*(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.py"), *(ROOT / "benchmarks").iterdir()]
    pages += [file for file in SOURCE.rglob("*") if file.suffix in (".py", ".js", ".html")]
    told = {(str(page), flag) for page in pages for flag in WITH_UNDERSCORE.findall(page.read_text())}
    assert {each for each in told if each[1] != ACCEPTED} == set()
    spelt = [file for file in SOURCE.rglob("*.py") if "--{" in file.read_text()]
    assert spelt == [SOURCE / "errors.py"]  # flag_of alone makes a flag of a setting's name


def test_underscores_mean_the_same():
    command = Command("demo", "A demo.")
    command.add("--guard-steps", type=int, default=1, help="steps")
    for flag in (["--guard-steps", "3"], ["--guard_steps", "3"], ["--guard_steps=3"]):
        assert command.parse(flag).guard_steps == 3


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--evaluation-episods", "1"], "did you mean --evaluation-episodes?"),
        (["--evaluation_episods", "1"], "(--evaluation-episods): did you mean --evaluation-episodes?"),
        (["--evaluation_episodes", "many"], "--evaluation-episodes cannot be 'many'"),
        (["--learner.learning_rat", "1"], "did you mean --learner.learning-rate?"),
        (["--learner.batch_size", "0"], "(--batch-size)"),
    ],
)
def test_a_refusal_spells_flags_with_hyphens(typed, said, capsys):
    with pytest.raises(SystemExit) as end:
        main(["guard", *typed])
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_what_has_to_be_given_is_asked_for_by_its_flag():
    for run, arguments, said in (
        (reward, ["told.jsonl"], "it needs --out (heed reward): see heed reward --help"),
        (reward, [], "it needs comparisons, --out (heed reward): see heed reward --help"),
        (bench, ["proposals"], "it needs --run (heed bench proposals): see heed bench proposals --help"),
    ):
        with pytest.raises(HeedError) as refused:
            run(arguments)
        assert str(refused.value) == said
