"""--quiet leaves results, warnings and errors; --verbose tells steps and the libraries' warnings; no result differs."""

import json
import logging
import re
import warnings

import pytest

from heed.cli import main
from heed.cli.console import Bar, say
from heed.errors import HeedError
from heed.oversight.store.store import Store

LENGTH = ("--method", "none", "--steps", "60", "--learning-starts", "100", "--evaluation-episodes", "0")
"""Of an unguarded run of a second."""


@pytest.fixture
def told(capsys):
    """Exit code, standard output and standard error of a command."""

    def tell(*arguments):
        capsys.readouterr()
        try:
            main(list(arguments))
            code = 0
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return tell


def test_a_run_tells_its_result_alone_or_with_its_steps(told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert told("guard", *LENGTH, "--out", "a", "--quiet") == (0, "a/report.html\n", "")
    code, out, err = told("guard", *LENGTH, "--out", "b")
    assert (code, out) == (0, "b/report.html\n")
    assert "guard: 60/60" in err and "60 steps: 0 catastrophes in oversight" in err
    code, out, err = told("--verbose", "guard", *LENGTH, "--out", "c")
    assert (code, out) == (0, "c/report.html\n")
    assert "guard: 60/60" in err and "60 steps: 0 catastrophes in oversight" in err
    summaries = [json.loads((tmp_path / name / "summary.json").read_text()) for name in "abc"]
    results = [{key: each[key] for key in ("env_steps", "catastrophes", "goals", "episodes")} for each in summaries]
    assert results[0] == results[1] == results[2]


def test_an_error_and_the_address_of_a_page_are_told_all_the_same(told, tmp_path, monkeypatch):
    assert told("guard", "--horizn", "3", "--quiet")[::2] == (
        2,
        "heed: error: no setting is called 'horizn' (--horizn): did you mean --horizon?\n",
    )
    monkeypatch.setattr("heed.cli.report.wait_until_stopped", lambda *_: None)
    code, out, err = told("report", str(tmp_path), "--serve", "--port", "0", "--quiet")
    assert (code, out) == (0, "")
    assert re.fullmatch(rf"viewer watches {tmp_path} at http://127\.0\.0\.1:\d+/run#token=\S+\n", err)


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
@pytest.mark.parametrize(
    ("command", "fix"),
    [
        (("report", "run", "--serve"), "put TLS in front"),
        (("judgements", "judgements.db", "--serve"), "put TLS in front"),
        (
            ("label", "--pairs", "pairs.jsonl", "--objectives", "help"),
            "give --tls-cert and --tls-key, or put TLS in front",
        ),
        (("oversee", "--out", "run"), "give --tls-cert and --tls-key, or put TLS in front"),
    ],
)
def test_what_is_at_stake_is_told_wherever_others_reach_a_page(told, tmp_path, monkeypatch, command, fix, quiet):
    def refuse(*_):
        raise HeedError("enough is seen", "here", "look")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "?", "completions": ["a", "b"]}\n')
    Store("sqlite:///judgements.db").close()
    for module in ("report", "judgements", "label"):
        monkeypatch.setattr(f"heed.cli.{module}.wait_until_stopped", lambda *_: None)
    monkeypatch.setattr("heed.cli.oversee.trained", refuse)
    said = "tokens, texts and pictures cross the network in the clear, and whoever reads a token judges in its name: "
    for host, wanted in (("0.0.0.0", 1), ("127.0.0.1", 0)):
        _, _, err = told(*command, "--host", host, "--port", "0", *quiet)
        assert err.splitlines().count(said + fix) == wanted and "#token=" in err


def test_less_and_more_at_once_are_refused(told):
    said = "heed: error: one silences what the other tells (--quiet, --verbose): give one of them\n"
    assert told("--verbose", "doctor", "--quiet") == (2, "", said)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), ["an info", "a warning", "a line", "stage: 1/1", "UserWarning: a"]),
        (("--quiet",), ["a warning"]),
        (
            ("--verbose",),
            ["a detail", "an info", "a warning", "a line", "stage: 1/1", "FutureWarning: soon", "UserWarning: a"],
        ),
    ],
)
def test_how_much_is_told(told, monkeypatch, caplog, flags, said):
    def command(_):
        from heed.cli.console import quiet_libraries

        quiet_libraries()
        log = logging.getLogger("heed.demo")
        log.debug("a detail")
        log.info("an info")
        log.warning("a warning")
        say("a line")
        with Bar("demo") as bar:
            bar.show("stage", 1, 1)
        warnings.warn("soon", FutureWarning, stacklevel=1)
        warnings.warn("a library's", UserWarning, stacklevel=1)

    shown = []
    monkeypatch.setattr("warnings.showwarning", lambda message, kind, *_: shown.append(f"{kind.__name__}: {message}"))
    monkeypatch.setattr("heed.cli.doctor.run", command)
    level = logging.getLogger("heed").level
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, out, err = told("doctor", *flags)
    everything = ["a detail", "an info", "a warning", "a line", "stage: 1/1", "FutureWarning: soon", "UserWarning: a"]
    heard = "\n".join([*caplog.messages, err, *shown])
    assert (code, out) == (0, "")
    assert [each for each in everything if each in heard] == said
    assert logging.getLogger("heed").level == level
