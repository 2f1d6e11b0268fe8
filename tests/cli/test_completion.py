"""What bash completes is what the commands take; the scripts of zsh and fish hold the same."""

import re
import shutil
import subprocess

import pytest

from heed.balance import METHODS
from heed.cli import COMMANDS, EVERYWHERE, main
from heed.cli.bench import BENCHMARKS
from heed.cli.completion.tree import NAMES, SHELLS
from heed.guard.run.methods import METHODS as GUARDS

ASKS = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_shtab_heed
printf "%s\\n" "${COMPREPLY[@]}"
"""
"""What bash does where Tab is pressed after the last of the words."""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """Each shell's script, as the command prints it, in a file."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        with pytest.MonkeyPatch.context() as patch, (folder / shell).open("w") as file:
            patch.setattr("sys.stdout", file)
            main(["completion", shell])
    return folder


@pytest.fixture
def completed(scripts, tmp_path):
    """What bash offers for the last of the words, in a folder with a file and a folder in it."""
    (tmp_path / "settings.yaml").touch()
    (tmp_path / "judges").mkdir()

    def ask(*words):
        line = ["bash", "-c", ASKS, "bash", scripts / "bash", "heed", *words]
        ran = subprocess.run(line, capture_output=True, text=True, check=True, cwd=tmp_path)
        assert ran.stderr == ""
        return ran.stdout.split()

    return ask


def test_bash_completes_commands_and_kinds(completed):
    assert set(completed("")) >= set(COMMANDS)
    assert completed("gu") == ["guard"]
    assert completed("bench", "s") == ["step", "startup"]
    assert set(completed("bench", "")) == set(BENCHMARKS)
    assert completed("compare", "") == ["align", "guard"]
    assert completed("completion", "") == ["bash", "zsh", "fish"]


def test_bash_completes_flags_of_the_command_at_hand(completed):
    assert completed("guard", "--evaluation") == ["--evaluation-episodes"]
    assert completed("guard", "--learner.") == ["--learner.learner"]
    assert completed("compare", "guard", "--see") == ["--seeds", "--seed"]
    assert completed("guard", "--see") == ["--seed"]
    assert completed("doctor", "--") == ["--help", *EVERYWHERE]
    assert completed("align", "--preset", "modern", "--quie") == ["--quiet"]


def test_bash_completes_choices_names_and_files(completed):
    assert completed("guard", "--mode", "") == ["replace", "penalty", "block", "shadow"]
    assert completed("guard", "settings.yaml", "--block-ends", "t") == ["true"]
    assert completed("align", "--preset", "m") == ["modern"]
    assert completed("compare", "align", "--method", "gap") == [name for name in METHODS if name.startswith("gap")]
    assert set(completed("oversee", "--method", "")) == set(GUARDS)
    assert completed("guard", "--env", "heed/P") == ["heed/PointHazard-v0"]
    assert completed("align", "--model", "j") == ["judges"]
    assert completed("align", "--objectives", "a=judges", "j") == ["judges"]
    assert completed("guard", "s") == ["settings.yaml"]
    assert completed("guard", "--steps", "s") == []


def test_each_name_that_is_completed_is_one_of_a_flag_that_there_is(completed):
    for line, tables in NAMES.items():
        for flag in tables:
            assert flag in completed(*line.split(), flag)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_zsh_and_fish_hold_the_same_and_are_read_where_they_are_installed(scripts, shell):
    text = (scripts / shell).read_text()
    for word in (*COMMANDS, *BENCHMARKS, "evaluation-episodes", "learner.learner", "pessimism", "quiet", "shadow"):
        assert re.search(rf"(?<!\w){re.escape(word)}(?![\w-])", text), word
    if shutil.which(shell):
        subprocess.run([shell, "--no-execute", scripts / shell], check=True)


@pytest.mark.parametrize("typed", [[], ["bsh"], ["bash", "zsh"]])
def test_another_shell_is_refused(typed, capsys):
    with pytest.raises(SystemExit) as end:
        main(["completion", *typed])
    assert end.value.code == 2
    assert "for which shell? (heed completion" in capsys.readouterr().err
