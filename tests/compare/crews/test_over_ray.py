"""Runs by Ray are those of the local pool; a worker that is killed costs its run one more try; others go on."""

import os
import signal
from pathlib import Path

import psutil
import pytest
import ray
import torch

from heed.compare.crews import RayWorkers
from heed.compare.pool import run_all
from heed.compare.tasks import Task
from heed.errors import HeedError, Stopped
from tiny_runs import contents, metrics, tiny_settings

ONE = RayWorkers(count=2, cpus=1)


@pytest.fixture(scope="module", autouse=True)
def cluster(heed_cache):
    """Ray on this machine, with two cores; kept over the tests, as a cluster would be."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
    torch.set_num_threads(threads)


def task_of(folder, **changes):
    return Task(folder.name, tiny_settings(**changes), folder)


def workers():
    """Processes that make a run for Ray."""
    return [
        each for each in psutil.process_iter(["cmdline"]) if (each.info["cmdline"] or [""])[0].startswith("ray::_run")
    ]


def test_runs_by_ray_are_those_of_the_local_pool(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # folders are named from here, and a worker stands elsewhere
    methods, seen = ("gapo", "mgda", "linear"), []
    there = [task_of(Path("ray") / name, method=name) for name in methods]
    here = [task_of(Path("pool") / name, method=name) for name in methods]
    by_ray, by_pool = run_all(there, ONE, seen.append), run_all(here, 2)
    for one, other, mine, theirs in zip(by_ray, by_pool, there, here, strict=True):
        assert one["completed"] and one["objectives"] == other["objectives"]
        assert metrics(mine.folder) == metrics(theirs.folder)
        adapters = [next(t.folder.rglob("adapter_model.safetensors")).read_bytes() for t in (mine, theirs)]
        assert adapters[0] == adapters[1]
    assert seen[-1].done == 3 and seen[-1].steps == seen[-1].all_steps
    before = contents(Path("ray"))
    assert run_all(there, ONE) == by_ray and contents(Path("ray")) == before  # what is finished is not made again


def test_a_worker_that_is_killed_costs_its_own_run_one_more_try(tmp_path):
    tasks, killed = [task_of(tmp_path / "run", steps=60), task_of(tmp_path / "beside", seed=1, steps=60)], []

    def kill(found):
        if not killed and found.latest == "run" and found.metrics and (running := workers()):
            first = min(running, key=lambda each: each.create_time())
            killed.append(first.pid)
            os.kill(first.pid, signal.SIGKILL)

    summaries = run_all(tasks, ONE, kill)
    assert killed and all(each["completed"] for each in summaries)
    assert sorted("failed_once" in each for each in summaries) == [False, True]
    for task in tasks:
        assert [line["step"] for line in metrics(task.folder)] == list(range(61))


def test_a_stop_ends_each_run_with_its_round_and_a_checkpoint(tmp_path):
    tasks = [task_of(tmp_path / name, steps=5_000, seed=seed) for seed, name in enumerate(("one", "two"))]

    def stop(found):
        if len([task for task in tasks if list(task.folder.glob("checkpoints/step-*"))]) == 2:
            raise Stopped

    with pytest.raises(Stopped):
        run_all(tasks, ONE, stop)
    for task in tasks:
        newest = max(int(each.name.removeprefix("step-")) for each in task.folder.glob("checkpoints/step-*"))
        assert 0 < newest < 5_000 and metrics(task.folder)[-1]["step"] == newest
    assert workers() == []


def test_a_mistake_of_the_users_comes_back_whole(tmp_path):
    with pytest.raises(HeedError, match=r"there is no objective .nothing. .*choose from help, harmless"):
        run_all([task_of(tmp_path / "run", method="single:nothing")], ONE)


def test_what_no_machine_has_and_amounts_that_are_none_are_refused_before_a_run_waits_for_ever(tmp_path):
    with pytest.raises(HeedError, match=r"no machine of the cluster has 1 CPUs and 1 GPUs .*have 2 and 0"):
        run_all([task_of(tmp_path / "run")], RayWorkers(gpus=1))
    with pytest.raises(HeedError, match=r"has 99 CPUs and 0 GPUs \(--cpus-each, --gpus-each\): its machines have 2"):
        run_all([task_of(tmp_path / "run")], RayWorkers(cpus=99))
    for wrong, flag in (({"count": 0}, "--workers"), ({"cpus": 0}, "--cpus-each"), ({"gpus": -1}, "--gpus-each")):
        with pytest.raises(HeedError, match=flag):
            RayWorkers(**wrong)
    assert not (tmp_path / "run").exists()
