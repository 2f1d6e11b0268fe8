"""The command line as an engineer meets it: their own model, and each mistake in one line."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from engineers_models import FLAGS, bring

from heed.cli import main
from heed.runs import checkpoints


@pytest.fixture(scope="module")
def brought(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engineer")
    bring(folder)
    return folder


@pytest.fixture(autouse=True)
def at_home(brought, tmp_path, monkeypatch):
    monkeypatch.chdir(brought)
    monkeypatch.syspath_prepend(str(brought))
    monkeypatch.setenv("HEED_CACHE", str(tmp_path / "cache"))


def heed(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code)


def align(out: Path, *changes: str, objectives: tuple[str, ...] = ("short=engineers_rewards:brevity", "liked=judge")):
    given = ["--model", "model", "--data", "prompts.jsonl", "--objectives", *objectives, "--out", str(out)]
    return ["align", *given, *FLAGS, *changes]


def said_in_one_line(capsys, *parts: str) -> None:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("heed: error:")]
    assert len(lines) == 1
    for part in parts:
        assert part in lines[0]


def test_an_engineers_model_trains_resumes_and_reports(tmp_path, capsys):
    main(align(tmp_path / "run"))
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["completed"] and summary["steps"] == 2 and set(summary["objectives"]) == {"short", "liked"}
    assert summary["objectives"]["short"]["gold"] is None and summary["objectives"]["short"]["proxy"] <= 0
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) == 3
    main(["align", "--resume", str(tmp_path / "run")])
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) == 3
    main(["report", str(tmp_path / "run")])
    assert str(tmp_path / "run/report.html") in capsys.readouterr().out
    assert "liked" in (tmp_path / "run/report.html").read_text()


def test_yaml_holds_settings_and_flags_go_over_it(tmp_path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"method": "gapo", "p": 2.0, "kl_beta": 0.5}))
    main([*align(tmp_path / "run"), str(tmp_path / "run.yaml"), "--p", "0.5"])
    config = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert (config["p"], config["kl_beta"]) == (0.5, 0.5)


def test_a_preset_may_stand_in_the_yaml_and_a_flag_goes_over_it(tmp_path):
    (tmp_path / "run.yaml").write_text("preset: modern\n")
    few = ["--micro-batch", "2"]
    main([*align(tmp_path / "modern", *few), str(tmp_path / "run.yaml")])
    main([*align(tmp_path / "paper", *few), str(tmp_path / "run.yaml"), "--preset", "paper"])
    chosen = [yaml.safe_load((tmp_path / name / "config.yaml").read_text()) for name in ("modern", "paper")]
    assert [(c["advantage"], c["gram"]) for c in chosen] == [("group", "unbiased"), ("gae", "plain")]


def test_one_objective_is_plain_ppo_and_said(tmp_path, caplog):
    with caplog.at_level("WARNING"):
        main(align(tmp_path / "run", objectives=("short=engineers_rewards:brevity",)))
    assert "K = 1: plain PPO on short" in caplog.text


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (["--model", "nowhere/to/be/found"], ["nowhere/to/be/found"]),
        (["--data", "missing.jsonl"], ["missing.jsonl"]),
        (["--p", "-1"], ["p is -1", "--p"]),
        (["--method", "pgapo", "--preference", ".5,.6"], ["sums to 1.1", "--preference"]),
        (["--method", "pgapo", "--preference", ".5,.3,.2"], ["--preference"]),
        (["--method", "pgapo"], ["needs a preference"]),
        (["--method", "gappo"], ["gappo", "--method"]),
        (["--preset", "papers"], ["papers", "--preset"]),
        (["--steps", "none"], ["steps", "none"]),
        (["--stepps", "3"], ["--stepps"]),
        (["--max-completion-tokens", "60"], ["prompt 0", "context of 64"]),
        (["--advantage", "group", "--completions-per-prompt", "1"], ["two completions"]),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_run(tmp_path, capsys, changes, parts):
    assert heed(*align(tmp_path / "run", *changes)) == 2
    said_in_one_line(capsys, *parts)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["no rows"]),
        ('{"prompt": "fever ?"}\n{"prompt": \n', [":2"]),
        ('{"question": "fever ?"}\n', ["prompt", "question"]),
    ],
)
def test_bad_prompts_are_told_by_file_and_line(tmp_path, capsys, content, parts):
    (tmp_path / "bad.jsonl").write_text(content)
    assert heed(*align(tmp_path / "run", "--data", str(tmp_path / "bad.jsonl"))) == 2
    said_in_one_line(capsys, "bad.jsonl", *parts)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("function", "parts"),
    [
        ("raises", ["KeyError"]),
        ("too_few", ["1"]),
        ("nan", ["nan", "completion"]),
        ("inf", ["inf", "completion"]),
        ("silent", ["scored none of 4 completions"]),
    ],
)
def test_a_reward_function_that_fails_stops_before_the_step(tmp_path, capsys, function, parts):
    objectives = (f"odd=engineers_rewards:{function}", "short=engineers_rewards:brevity")
    assert heed(*align(tmp_path / "run", "--eval-prompts", "0", objectives=objectives)) == 2
    said_in_one_line(capsys, "odd", *parts)
    assert [p.name for p in (tmp_path / "run/checkpoints").iterdir()] == ["step-0"]


def test_two_objectives_of_one_name_are_refused(tmp_path, capsys):
    objectives = ("short=engineers_rewards:brevity", "short=engineers_rewards:letters")
    assert heed(*align(tmp_path / "run", objectives=objectives)) == 2
    said_in_one_line(capsys, "2 objectives are called 'short'")


def test_another_runs_folder_and_changed_settings_are_refused(tmp_path, capsys):
    main(align(tmp_path / "run"))
    kept = (tmp_path / "run/metrics.jsonl").read_bytes()
    assert heed(*align(tmp_path / "run")) == 2
    said_in_one_line(capsys, "holds another run", "--resume")
    assert heed("align", "--resume", str(tmp_path / "run"), "--kl-beta", "0.7") == 2
    said_in_one_line(capsys, "kl_beta: 0.02 -> 0.7")
    assert (tmp_path / "run/metrics.jsonl").read_bytes() == kept


def test_a_full_disk_names_the_checkpoint_that_survives(tmp_path, capsys, monkeypatch):
    whole = checkpoints.Checkpoints.save

    def save(self, step, write):
        def full(folder):
            write(folder)
            raise OSError(28, "No space left on device")

        return whole(self, step, full if step == 2 else write)

    monkeypatch.setattr(checkpoints.Checkpoints, "save", save)
    assert heed(*align(tmp_path / "run")) == 1
    said_in_one_line(capsys, "No space left", "step-1")
    monkeypatch.undo()
    sys.path.insert(0, str(Path.cwd()))
    assert sorted(p.name for p in (tmp_path / "run/checkpoints").iterdir()) == ["step-0", "step-1"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["algin"], ["no command 'algin'"]),
        (["bench", "everything"], ["heed bench gradients"]),
        (["compare"], ["heed compare align"]),
        (["report", "nowhere"], ["nowhere"]),
        (["bench", "gradients", "--k", "two"], ["--k"]),
        (["front", "--world", "apothecary", "--methods", "gapo"], ["gapo follows no preference"]),
    ],
)
def test_other_commands_mistakes_are_one_line_too(tmp_path, monkeypatch, capsys, arguments, parts):
    monkeypatch.chdir(tmp_path)
    assert heed(*arguments) == 2
    said_in_one_line(capsys, *parts)


def test_debug_shows_the_traceback(capsys):
    assert heed("algin", "--debug") == 2
    assert "Traceback" in capsys.readouterr().err


def test_doctor_names_what_is_installed(capsys):
    main(["doctor"])
    told = capsys.readouterr().out
    assert "transformers" in told and "gapo" in told and "prepared worlds are kept in" in told
