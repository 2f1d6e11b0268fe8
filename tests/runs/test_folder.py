import errno
import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import heed
from heed.errors import HeedError, RunFailed
from heed.runs import RunFolder, config_hash, read_lines, read_metrics
from heed.runs import folder as folder_module

CONFIG = {"method": "gapo", "weighting": {"p": 1}}


@pytest.fixture
def run(tmp_path):
    with RunFolder.create(tmp_path / "run", CONFIG, kind="align") as folder:
        yield folder


def test_a_new_run_says_what_it_is(run):
    assert run.read_summary() == {
        "kind": "align",
        "version": heed.__version__,
        "config_hash": config_hash(CONFIG),
        "completed": False,
    }
    assert (run.config, run.kind) == (CONFIG, "align")


def test_an_opened_run_is_the_one_that_was_made(run):
    run.close()
    with RunFolder.open(run.path) as again:
        assert (again.config, again.kind) == (CONFIG, "align")


def test_a_folder_that_holds_another_run_is_refused_with_the_way_out(run):
    with pytest.raises(HeedError, match=rf"holds another run \({run.path}\).*--resume {run.path}"):
        RunFolder.create(run.path, CONFIG, kind="align")


def test_a_folder_that_holds_something_else_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(HeedError, match="not empty"):
        RunFolder.create(tmp_path, CONFIG, kind="align")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_output_path_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(HeedError, match="not empty"):
        RunFolder.create(tmp_path / "a", CONFIG, kind="align")
    with pytest.raises(HeedError, match="cannot be made"):
        RunFolder.create(tmp_path / "a" / "b", CONFIG, kind="align")


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("full_at", ["summary.json", "config.yaml", "the lock"])
def test_a_folder_that_could_not_be_made_on_a_full_disk_can_be_made_when_there_is_room(
    tmp_path, monkeypatch, there, full_at
):
    if there:
        (tmp_path / "run").mkdir()
    with monkeypatch.context() as patch:
        if full_at == "the lock":
            patch.setattr(os, "pwrite", raise_full)
        else:
            write = folder_module.write_whole
            fill = lambda path, text: raise_full() if path.name == full_at else write(path, text)  # noqa: E731 - a line
            patch.setattr(folder_module, "write_whole", fill)
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(HeedError, match="cannot be made: No space left on device"):
            RunFolder.create(tmp_path / "run", CONFIG, kind="align")
        assert len(list(Path("/proc/self/fd").iterdir())) <= before  # an open lock would keep others out
    assert (tmp_path / "run").exists() is there
    with RunFolder.create(tmp_path / "run", CONFIG, kind="align") as run:
        assert run.config == CONFIG


def test_a_file_of_the_run_is_written_whole_or_stays_as_it_was(run, monkeypatch):
    run.write_json("front.json", {"names": ["help"]})
    monkeypatch.setattr(os, "fsync", raise_full)
    with pytest.raises(RunFailed, match=r"front\.json could not be written: No space left on device"):
        run.write_json("front.json", {"names": ["price"]})
    assert json.loads((run.path / "front.json").read_text()) == {"names": ["help"]}


def raise_full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_folder_without_a_run_cannot_be_opened(tmp_path):
    with pytest.raises(HeedError, match="holds no run"):
        RunFolder.open(tmp_path)


def test_metrics_are_on_disk_as_soon_as_they_are_logged(run):
    run.log(1, {"kl": 0.5, "rewards/help/mean": 1.25})
    assert read_metrics(run.path) == [{"step": 1, "kl": 0.5, "rewards/help/mean": 1.25}]


def test_metrics_reach_tensorboard_with_their_values(run):
    run.log(1, {"cosine/help~harmless": 0.5})
    run.log(2, {"cosine/help~harmless": -0.25})
    run.close()
    events = EventAccumulator(str(run.path))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("cosine/help~harmless")] == [(1, 0.5), (2, -0.25)]


def test_a_run_that_logs_nothing_writes_no_events(run):
    assert not list(run.path.glob("events*"))


def test_what_is_not_finite_is_logged_as_valid_json_and_reads_as_nan(run):
    run.log(1, {"kl": math.nan})
    assert (run.path / "metrics.jsonl").read_text() == '{"step": 1, "kl": null}\n'
    assert math.isnan(read_metrics(run.path)[0]["kl"])


def test_records_are_appended_by_name(run):
    run.append("balance", {"step": 1, "gram": [[1.0, 0.5], [0.5, 2.0]]})
    assert read_lines(run.path / "balance.jsonl") == [{"step": 1, "gram": [[1.0, 0.5], [0.5, 2.0]]}]


def test_the_summary_is_written_over_whole(run):
    run.write_summary({"steps": 3, "kl": math.inf, "completed": True})
    summary = run.read_summary()
    assert (summary["steps"], summary["kl"], summary["completed"]) == (3, None, True)
    assert (summary["kind"], summary["config_hash"]) == ("align", config_hash(CONFIG))


def test_truncation_drops_the_lines_of_later_steps_everywhere(run):
    for step in (1, 2, 3):
        run.log(step, {"kl": step / 10})
        run.append("balance", {"step": step})
    run.append("notes", {"text": "no step"})
    run.truncate_after(2)
    run.log(3, {"kl": 0.7})
    assert [line["kl"] for line in read_metrics(run.path)] == [0.1, 0.2, 0.7]
    assert read_lines(run.path / "balance.jsonl") == [{"step": 1}, {"step": 2}]
    assert read_lines(run.path / "notes.jsonl") == [{"text": "no step"}]


def test_steps_logged_again_after_a_resume_show_once_in_tensorboard(run):
    for step in (1, 2, 3):
        run.log(step, {"kl": step / 10})
    run.close()
    # Event files are read in the order of their names, which begin with the second in which they were made: a resume
    # within the same second, as only a test does, would be ordered by a counter as text (10 before 9).
    for events in run.path.glob("events.out.tfevents.*"):
        second = events.name.split(".")[3]
        events.rename(events.with_name(events.name.replace(second, f"{int(second) - 10:010d}")))
    with RunFolder.open(run.path) as resumed:
        resumed.truncate_after(2)
        resumed.log(3, {"kl": 0.75})
    events = EventAccumulator(str(run.path))
    events.Reload()
    assert [(e.step, pytest.approx(e.value)) for e in events.Scalars("kl")] == [(1, 0.1), (2, 0.2), (3, 0.75)]


def test_opening_clears_away_what_a_crash_left(run):
    run.log(1, {"kl": 0.1})
    run.save_checkpoint(1, lambda folder: (folder / "a").write_text("a"))
    run.close()
    (run.path / "checkpoints" / ".step-2.tmp").mkdir()
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "k')
    with RunFolder.open(run.path) as again:
        again.log(2, {"kl": 0.2})
        assert again.latest_checkpoint() == run.path / "checkpoints" / "step-1"
    assert [line["kl"] for line in read_metrics(run.path)] == [0.1, 0.2]
    assert [path.name for path in (run.path / "checkpoints").iterdir()] == ["step-1"]


def test_a_full_disk_while_logging_fails_the_run_and_names_the_checkpoint(run, monkeypatch):
    checkpoint = run.save_checkpoint(5, lambda folder: (folder / "a").write_text("a"))

    def full(path, record):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("heed.runs.folder.append_line", full)
    with pytest.raises(RunFailed, match="No space left on device") as caught:
        run.log(6, {"kl": 0.1})
    assert caught.value.checkpoint == checkpoint


def test_a_run_opened_for_reading_writes_nothing(run):
    run.close()
    reader = RunFolder.open(run.path, writable=False)
    with pytest.raises(HeedError, match="reading only"):
        reader.log(1, {"kl": 0.1})
    with pytest.raises(HeedError, match="reading only"):
        reader.save_checkpoint(1, lambda folder: None)
    assert read_metrics(run.path) == []


OTHER_WRITER = """
import fcntl, os, sys
file = open(sys.argv[1], "r+")
fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
file.truncate(0); file.write(str(os.getpid())); file.flush()
print("locked", flush=True)
sys.stdin.read()
"""


def test_two_processes_do_not_write_the_same_run(run):
    run.close()
    command = [sys.executable, "-c", OTHER_WRITER, str(run.path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(HeedError, match=rf"another process \(pid {other.pid}\) is writing this run"):
            RunFolder.open(run.path)
        assert RunFolder.open(run.path, writable=False).config == CONFIG
        other.communicate("")
    RunFolder.open(run.path).close()


def test_without_posix_locks_modules_import_and_a_run_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    monkeypatch.delitem(sys.modules, "heed.runs.lock")
    lock = importlib.import_module("heed.runs.lock")
    with pytest.raises(HeedError, match=r"no POSIX file locks .*: run heed on Linux, on macOS, or in WSL"):
        lock.RunLock(tmp_path)


def test_an_open_run_keeps_other_processes_out_until_the_last_holder_closes_it(run):
    again = RunFolder.open(run.path)
    run.close()
    command = [sys.executable, "-c", OTHER_WRITER, str(run.path / ".lock")]
    refused = subprocess.run(command, input="", capture_output=True, text=True)
    assert "BlockingIOError" in refused.stderr
    again.close()
    allowed = subprocess.run(command, input="", capture_output=True, text=True)
    assert (allowed.returncode, allowed.stdout) == (0, "locked\n")


def test_the_summary_is_valid_json_for_any_reader(run):
    run.write_summary({"objectives": {"help": {"gold": math.nan}}})
    text = (run.path / "summary.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["objectives"] == {"help": {"gold": None}}
