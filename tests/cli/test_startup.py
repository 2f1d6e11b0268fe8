"""Help, refusals and small queries come without waiting for what only trains."""

import json
import subprocess
import sys

import pytest

from heed.bench import startup
from heed.cli import COMMANDS, main
from heed.cli.bench import BENCHMARKS
from heed.oversight.store.store import Judgement, Store

HEAVY = ("torch", "torchjd", "transformers", "peft", "datasets", "pandas", "sklearn", "scipy", "numpy", "pyarrow")
HEAVY += ("gymnasium", "stable_baselines3", "fastapi", "uvicorn", "matplotlib", "moocore", "PIL")

LOOKS = """
import contextlib, io, json, sys
from heed.cli import main
found = {}
for line in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            main(line)
            code = 0
        except SystemExit as end:
            code = end.code
    there = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
    found[" ".join(line)] = [code, there]
print(json.dumps(found))
"""


def answers(*lines):
    """Exit codes and heavy packages that were imported, by what was typed, in one fresh process."""
    asked = [sys.executable, "-c", LOOKS, json.dumps(lines), json.dumps(HEAVY)]
    return json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)


def test_no_help_waits_for_what_only_trains():
    kinds = [["compare", "align"], ["compare", "guard"], *(["bench", name] for name in BENCHMARKS)]
    lines = [[], *([name] for name in COMMANDS), *kinds]
    found = answers(*([*line, "--help"] for line in lines))
    assert len(found) == len(COMMANDS) + len(kinds) + 1
    assert all(answer == [0, []] for answer in found.values()), found


def test_no_refusal_and_no_list_of_judgements_does_either(tmp_path):
    with_one = tmp_path / "judgements.db"
    store = Store(f"sqlite:///{with_one}")
    store.add(Judgement("block", "ada", shown={"x": 1.0}, verdict={"block": True}))
    store.close()
    typos = [line.split() for line in startup.TYPOS]
    assert all(answer == [2, []] for answer in answers(*typos).values())
    assert list(answers(["judgements", str(with_one), "--verify"]).values()) == [[0, []]]


def test_the_benchmark_times_every_commands_help(monkeypatch, capsys):
    assert {line.split()[0] for line in startup.HELP if line} == set(COMMANDS)
    monkeypatch.setattr(startup, "HELP", ("doctor",))
    monkeypatch.setattr(startup, "TYPOS", ("lable",))
    main(["bench", "startup", "--repeats", "1", "--json"])
    result = json.loads(capsys.readouterr().out)
    plain, *others = result["rows"]
    assert plain["name"] == startup.PLAIN
    assert [row["name"] for row in others] == ["heed doctor --help", "heed lable", "heed judgements STORE"]
    assert all(row["seconds"] > plain["seconds"] > 0 for row in others)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["lable"], "did you mean heed label?"),
        (["bench", "stratup"], "did you mean heed bench startup?"),
        (["compare", "gaurd"], "did you mean heed compare guard?"),
        (["bench", "startup", "--repeats", "0"], "0 repeats measure nothing"),
    ],
)
def test_what_is_mistyped_is_told_with_what_is_meant(typed, said, capsys):
    with pytest.raises(SystemExit) as end:
        main(typed)
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_an_overview_lists_the_kinds(capsys):
    with pytest.raises(SystemExit) as end:
        main(["bench", "--help"])
    told = capsys.readouterr().out
    assert end.value.code == 0
    assert all(f"  {name} " in told for name in BENCHMARKS)


def test_help_says_types_in_words(capsys):
    with pytest.raises(SystemExit):
        main(["label", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "(whole number, default: 8000)" in told and "type:" not in told and "null" not in told


def test_whoever_reads_no_further_is_no_fault_and_a_broken_pipe_of_a_run_is_one(monkeypatch):
    command = [sys.executable, "-m", "heed", "bench", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # as head does, here before anything is written
        said = process.stderr.read()
    assert (process.returncode, said) == (141, b"")

    def broken(_):
        raise BrokenPipeError("a worker is gone")

    monkeypatch.setattr("heed.cli.doctor.run", broken)
    with pytest.raises(BrokenPipeError, match="a worker is gone"):
        main(["doctor"])
