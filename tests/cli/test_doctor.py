"""heed doctor tries what it tells, names what to do, and fails where something that is installed does not work."""

import re
import socket
import sys

import pytest
import torch

from heed.balance import METHODS
from heed.cli.doctor import guarding
from heed.cli.doctor.guarding import SIMULATORS
from heed.cli.doctor.look import look

PYGAME, BOX2D, MUJOCO = SIMULATORS


@pytest.fixture
def trials(monkeypatch):
    """What each trial comes to, in place of the trial: lines that it prints, and what it failed of."""
    found = {"draw": (["steps", "600 x 400"], ""), "learn": (["30 steps"], ""), "look": (["50 looks"], "")}
    monkeypatch.setattr(guarding, "tried", lambda trial, *_: found[trial])
    return found


def test_doctor_tries_environments_learner_store_port_and_guard(heed, heed_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = heed("doctor")
    assert (code, err) == (0, "")
    assert f"torch {torch.__version__.partition('+')[0]}" in out and str(heed_cache) in out
    weightings = re.search(r"  weightings: (.*)", out)[1].split(", ")
    assert sorted(name.partition(" ")[0] for name in weightings) == sorted(METHODS) and "pgapo" in weightings
    assert "pip install 'heed[" not in out
    assert "\n  CartPole-v1 (pygame): steps, drawn 600 x 400\n" in out
    assert "\n  LunarLander-v3 (Box2D): steps, drawn 600 x 400\n" in out
    assert "\n  InvertedPendulum-v5 (mujoco): steps, " in out
    assert re.search(r"\n  stable-baselines3 [\d.]+ with gymnasium [\d.]+: learns \(gymnasium\S+\)\n", out)
    assert f"\n  judgements can be kept in {tmp_path} (SQLite " in out and list(tmp_path.iterdir()) == []
    assert re.search(r"\n  port 8000 (is free for pages|cannot be had \(.*\): .*--port.*)\n", out)
    told = re.search(r"\n  a guard's trial: 50 looks, (\d+) blocks, (\d+\.\d) ms each\n", out)
    assert 0 < int(told[1]) < 50 and float(told[2]) > 0


def test_doctor_says_of_each_room_what_is_there_and_how_to_install_what_is_not(heed, monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    monkeypatch.setitem(sys.modules, "pydantic", None)
    code, out, err = heed("doctor")
    assert (code, err) == (0, "")
    assert "\n  guard: not installed: pip install 'heed[guard]'\n" in out
    assert "\n  web: no pydantic: pip install 'heed[web]'\n" in out
    assert re.search(r"^  align: transformers \d+\.\d+\.\d+, peft ", out, flags=re.MULTILINE)


def test_doctor_fails_where_the_cache_cannot_be_written(heed, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HEED_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(guarding, "works", lambda: True)
    code, out, _ = heed("doctor")
    assert code == 1
    assert "set HEED_CACHE" in out


def test_the_trial_of_the_guard_blocks_before_the_wall_and_not_in_the_open():
    blocks = int(re.search(r"(\d+) blocks", look())[1])
    assert 20 <= blocks <= 34  # 26 of the 50 looks are from just before the wall


def test_what_is_not_installed_is_no_fault_and_how_to_install_it_is_told(monkeypatch, capsys):
    monkeypatch.setattr(guarding, "find_spec", lambda _: None)
    assert guarding.simulates(BOX2D)
    assert capsys.readouterr().out == "  LunarLander-v3 (Box2D): not installed: pip install 'gymnasium[box2d]'\n"


def test_an_environment_that_steps_and_is_not_drawn_is_no_fault_and_one_that_does_not_step_is(trials, capsys):
    trials["draw"] = (["steps"], "no OpenGL")
    assert guarding.simulates(MUJOCO)
    trials["draw"] = ([], "no library")
    assert not guarding.simulates(MUJOCO)
    assert capsys.readouterr().out.splitlines() == [
        "  InvertedPendulum-v5 (mujoco): steps, but is not drawn (no OpenGL): set MUJOCO_GL=egl (it needs libegl1)",
        "  InvertedPendulum-v5 (mujoco): does not step (no library): pip install 'gymnasium[mujoco]'",
    ]


@pytest.mark.parametrize(
    ("trial", "said"),
    [
        ("learn", ": does not learn (no such wrapper): pip install 'gymnasium<"),
        ("look", "a guard's trial fails: no such wrapper\n"),
    ],
)
def test_doctor_fails_where_what_is_installed_does_not_work(heed, heed_cache, trials, trial, said):
    trials[trial] = ([], "no such wrapper")
    code, out, _ = heed("doctor")
    assert code == 1 and said in out
    assert "port 8000" in out  # the rest is tried all the same


def test_a_folder_that_keeps_no_store_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert not guarding.keeps_judgements(tmp_path / "file")
    assert re.fullmatch(
        rf"  judgements cannot be kept in {tmp_path}/file \(.*\): go where .*--store\n", capsys.readouterr().out
    )


def test_a_port_that_is_taken_is_told_with_a_way_round(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        guarding.tell_port(port)
    guarding.tell_port(port)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"  port {port} cannot be had (Address already in use): give pages another by --port")
    assert said[1] == f"  port {port} is free for pages"


def test_a_trial_that_crashes_or_never_ends_is_told_in_a_few_words(monkeypatch, tmp_path):
    assert guarding.tried("draw", "NoSuch-v0")[1].startswith("gymnasium.error.NameNotFound: ")
    monkeypatch.setattr(guarding, "LONGEST_S", 0.01)
    assert guarding.tried("draw", "CartPole-v1") == ([], "nothing in 0.01 s")
    monkeypatch.setattr(guarding, "LONGEST_S", 60)
    crash = tmp_path / "crash"
    crash.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crash.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crash))
    assert guarding.tried("draw") == ([], "SIGSEGV")
