import errno
import os
import shutil
import subprocess

import pytest
import torch
from safetensors.torch import save_file

from heed.errors import RunFailed
from heed.runs.checkpoints import Checkpoints


def write(text):
    return lambda folder: _write(folder, text)


def _write(folder, text):
    (folder / "inner").mkdir()
    (folder / "inner" / "weights.txt").write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def content(checkpoint):
    return (checkpoint / "inner" / "weights.txt").read_text()


def fill_the_disk(folder):
    (folder / "half.txt").write_text("half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_last_two_checkpoints_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (9, 10, 100):
        checkpoints.save(step, write(f"at {step}"))
    assert names(tmp_path) == ["step-10", "step-100"]
    assert checkpoints.latest() == tmp_path / "step-100"
    assert content(checkpoints.latest()) == "at 100"


def test_no_checkpoint_is_none(tmp_path):
    assert Checkpoints(tmp_path / "absent").latest() is None


def test_a_full_disk_leaves_the_last_checkpoint_and_names_it(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, write("one"))
    with pytest.raises(RunFailed, match=r"No space left.*last checkpoint is .*step-1") as caught:
        checkpoints.save(2, fill_the_disk)
    assert caught.value.checkpoint == tmp_path / "step-1"
    assert names(tmp_path) == ["step-1"]
    assert content(tmp_path / "step-1") == "one"


def test_a_full_disk_before_any_checkpoint_says_that_there_is_none(tmp_path):
    with pytest.raises(RunFailed, match="no checkpoint was written yet"):
        Checkpoints(tmp_path).save(1, fill_the_disk)
    assert names(tmp_path) == []


def test_a_full_disk_while_a_step_is_saved_again_keeps_its_first_version(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, write("first"))
    with pytest.raises(RunFailed):
        checkpoints.save(1, fill_the_disk)
    assert content(checkpoints.latest()) == "first"


@pytest.mark.parametrize("fault", [KeyboardInterrupt, ZeroDivisionError])
def test_what_the_writer_raises_comes_through_and_leaves_nothing(tmp_path, fault):
    def interrupted(folder):
        (folder / "half.txt").write_text("half")
        raise fault

    with pytest.raises(fault):
        Checkpoints(tmp_path).save(1, interrupted)
    assert names(tmp_path) == []


def test_a_step_saved_again_replaces_the_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, write("first"))
    checkpoints.save(1, write("second"))
    assert names(tmp_path) == ["step-1"]
    assert content(tmp_path / "step-1") == "second"


@pytest.mark.parametrize("harm", ["torn", "absent", "no manifest", "torn manifest"])
def test_a_checkpoint_with_a_file_torn_or_gone_is_never_the_latest(tmp_path, harm):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, write("one"))
    hurt = checkpoints.save(2, write("two"))
    if harm == "torn":
        os.truncate(hurt / "inner" / "weights.txt", 1)
    elif harm == "absent":
        (hurt / "inner" / "weights.txt").unlink()
    elif harm == "no manifest":
        (hurt / "manifest.json").unlink()
    else:
        os.truncate(hurt / "manifest.json", 9)
    assert checkpoints.latest() == tmp_path / "step-1"


def test_what_a_crash_left_is_cleared_away(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, write("one"))
    for name in (".step-2.tmp", ".step-0.gone", ".step-1.old"):
        shutil.copytree(tmp_path / "step-1", tmp_path / name)
    checkpoints.tidy()
    assert names(tmp_path) == ["step-1"]


def test_a_checkpoint_that_was_being_replaced_comes_back(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, write("one")).rename(tmp_path / ".step-1.old")
    checkpoints.tidy()
    assert checkpoints.latest() == tmp_path / "step-1"
    assert content(tmp_path / "step-1") == "one"


@pytest.fixture
def tiny_disk(tmp_path):
    """Mount a disk of one mebibyte, where the system lets us."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or unmount is None:
        pytest.skip("mounting a tiny disk needs root")
    command = [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("this system does not let us mount a disk")
    yield folder
    # lazily, for torch keeps the half-written file open as long as its traceback lives
    subprocess.run([unmount, "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("library", ["torch", "safetensors", "text"])
def test_a_truly_full_disk_leaves_the_last_checkpoint(tiny_disk, library):
    def write_much(folder):
        much = torch.zeros(1 << 19)
        if library == "torch":
            torch.save(much, folder / "weights.pt")
        elif library == "safetensors":
            save_file({"weights": much}, folder / "weights.safetensors")
        else:
            (folder / "weights.txt").write_text("0" * (1 << 21))

    checkpoints = Checkpoints(tiny_disk / "checkpoints")
    checkpoints.save(1, write("one"))
    with pytest.raises(RunFailed) as caught:
        checkpoints.save(2, write_much)
    assert caught.value.checkpoint == tiny_disk / "checkpoints" / "step-1"
    assert names(tiny_disk / "checkpoints") == ["step-1"]
    assert content(checkpoints.latest()) == "one"
