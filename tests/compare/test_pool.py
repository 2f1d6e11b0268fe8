"""Several runs at once: what is finished stays, what was interrupted is gone on with, a branch is its trunk's child."""

import json
import multiprocessing
import os
import pickle
import shutil
import signal
from pathlib import Path

import pytest
import torch

from heed.align.run.apothecary import ApothecarySetup
from heed.align.run.job import split_settings
from heed.align.run.train import start, train
from heed.compare import align_runs, pool
from heed.compare.align_runs import prepare_world, trainer_of
from heed.compare.crews.processes import threads_of_each
from heed.compare.pool import Progress, folder_of_runs, recorded, run_all
from heed.compare.tasks import Task, is_finished
from heed.errors import HeedError, RunFailed, Stopped
from heed.runs.folder import RunFolder
from tiny_runs import contents, metrics, tiny_settings

TCHEBYCHEFF = {"method": "tchebycheff", "settle": 2, "cooldown_steps": 1, "steps": 4}


def task_of(folder: Path, trunk: Path | None = None, **changes) -> Task:
    return Task(folder.name, tiny_settings(**changes), folder, trunk)


def run_here(task: Task, until: int | None = None):
    """The task in this process, stopped after a round."""

    def on_step(step, _):
        if step == until:
            raise Stopped

    try:
        return train(trainer_of(task), on_step)
    except Stopped:
        return None


def killed(task: Task):
    """What a process that was killed after the task's second round leaves, a checkpoint and later lines."""
    run_here(task, until=3)
    shutil.rmtree(task.folder / "checkpoints" / "step-3")
    return metrics(task.folder)[-1]["step"]


@pytest.fixture(scope="module")
def one_thread():
    """Sums, and so runs, depend on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def two_runs(heed_cache, one_thread, tmp_path_factory):
    """A finished run and one that was killed, both run to the end by the pool; and the same runs uninterrupted."""
    folder = tmp_path_factory.mktemp("pool")
    tasks = [task_of(folder / "one"), task_of(folder / "two", method="mgda")]
    run_here(tasks[0])
    assert killed(tasks[1]) == 3
    finished, seen = contents(folder / "one"), []
    summaries = run_all(tasks, workers=os.cpu_count(), on_progress=seen.append)  # one thread each, as here
    plain = task_of(folder / "plain", method="mgda")
    run_here(plain)
    return folder, tasks, summaries, finished, seen


def test_a_finished_run_is_left_as_it_is(two_runs):
    folder, _, _, finished, _ = two_runs
    assert contents(folder / "one") == finished


def test_an_interrupted_run_is_gone_on_with_and_equals_the_uninterrupted_one(two_runs):
    folder, _, _, _, _ = two_runs
    assert metrics(folder / "two") == metrics(folder / "plain")
    files = [folder / run / "checkpoints" / "step-4" / "adapter_model.safetensors" for run in ("two", "plain")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_summaries_come_in_the_order_of_the_tasks(two_runs):
    _, tasks, summaries, _, _ = two_runs
    assert [summary["method"] for summary in summaries] == ["gapo", "mgda"]
    assert summaries == [json.loads((task.folder / "summary.json").read_text()) for task in tasks]


def test_progress_counts_runs_and_rounds_over_all_runs(two_runs):
    _, _, _, _, seen = two_runs
    assert all(isinstance(found, Progress) and (found.total, found.all_steps) == (2, 8) for found in seen)
    assert seen[0].done == 1 and seen[0].steps >= 4
    assert (seen[-1].done, seen[-1].steps, seen[-1].latest) == (2, 8, "two")
    assert seen[-1].metrics["kl"] == metrics(two_runs[0] / "two")[-1]["kl"]  # the latest run's last round
    assert [found.steps for found in seen] == sorted(found.steps for found in seen)


def test_a_folder_with_other_settings_is_refused(two_runs):
    folder, _, _, _, _ = two_runs
    with pytest.raises(HeedError, match='holds a run with other settings: method: "gapo" -> "mgda"'):
        is_finished(task_of(folder / "one", method="mgda"))
    with pytest.raises(HeedError, match="holds a run with other settings: steps: 4 -> 5"):
        run_all([task_of(folder / "one", steps=5)], workers=1)


def test_nothing_is_waiting_for_a_folder_that_is_not_there(two_runs, tmp_path):
    _, tasks, _, _, _ = two_runs
    assert [is_finished(task) for task in tasks] == [True, True]
    assert not is_finished(task_of(tmp_path / "nowhere"))


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(heed_cache, tmp_path, two_runs):
    folder, _, _, _, _ = two_runs
    task = task_of(tmp_path / "run", method="mgda")
    RunFolder.create(task.folder, task.settings, kind="align").close()
    run_here(task)
    assert metrics(task.folder) == metrics(folder / "plain")


@pytest.fixture(scope="module")
def branched(heed_cache, one_thread, tmp_path_factory):
    folder = tmp_path_factory.mktemp("branched")
    settings = {**TCHEBYCHEFF, "preference": [0.9, 0.1]}
    trunk = task_of(folder / "trunk", **{**settings, "preference": [0.5, 0.5], "steps": 2, "cooldown_steps": 0})
    run_here(trunk)
    before = contents(trunk.folder)
    branch = task_of(folder / "branch", trunk.folder, **settings)
    trainer = trainer_of(branch)
    began_at = trainer.step
    train(trainer)
    alone = task_of(folder / "alone", **settings)
    run_here(alone)
    return folder, before, began_at


def test_a_branch_goes_on_at_the_trunk_s_last_step_and_leaves_the_trunk_alone(branched):
    folder, before, began_at = branched
    assert began_at == 2
    assert contents(folder / "trunk") == before
    assert [line["step"] for line in metrics(folder / "branch")] == [0, 1, 2, 3, 4]
    assert metrics(folder / "branch")[:3] == metrics(folder / "trunk")
    assert (folder / "branch" / "completions" / "before.parquet").exists()


def test_a_branch_has_the_weights_of_the_run_that_went_the_whole_way_alone(branched):
    folder, _, _ = branched
    files = [folder / run / "checkpoints" / "step-4" / "adapter_model.safetensors" for run in ("branch", "alone")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert metrics(folder / "branch")[3:] == metrics(folder / "alone")[3:]


def test_while_it_settles_tchebycheff_gives_every_objective_the_same_share_whatever_the_preference(branched):
    folder, _, _ = branched
    lines = [json.loads(line) for line in (folder / "alone" / "balance.jsonl").read_text().splitlines()]
    shares = {False: [], True: []}
    for line in lines:
        share = [weight * norm for weight, norm in zip(line["weights"], line["norms"], strict=True)]
        shares[line["step"] > 2].append(share)
    assert len(shares[False]) == len(shares[True]) == 8  # four minibatches a round
    assert all(share[0] == pytest.approx(share[1], rel=1e-4) for share in shares[False])
    assert not any(share[0] == pytest.approx(share[1], rel=1e-2) for share in shares[True])


def test_a_trunk_without_a_checkpoint_has_no_branches(tmp_path):
    RunFolder.create(tmp_path / "trunk", tiny_settings(), kind="align").close()
    with pytest.raises(HeedError, match="no checkpoint to branch from"):
        trainer_of(task_of(tmp_path / "branch", tmp_path / "trunk"))
    assert not (tmp_path / "branch").exists()


def test_a_half_made_branch_is_made_again(branched, tmp_path):
    folder, _, _ = branched
    branch = task_of(tmp_path / "branch", folder / "trunk", **TCHEBYCHEFF, preference=[0.9, 0.1])
    RunFolder.create(branch.folder, branch.settings, kind="align").close()
    trainer = trainer_of(branch)
    assert trainer.step == 2
    trainer.journal.run.close()


def test_a_new_folder_in_which_no_run_got_to_a_checkpoint_is_removed(heed_cache, tmp_path):
    with pytest.raises(HeedError), folder_of_runs(tmp_path / "a", {"steps": 1}, "front", resumed=False):
        raise HeedError("wrong")
    assert not (tmp_path / "a").exists()
    with pytest.raises(HeedError), folder_of_runs(tmp_path / "b", {"steps": 1}, "front", resumed=False):
        (tmp_path / "b" / "runs" / "one" / "checkpoints" / "step-2").mkdir(parents=True)
        raise HeedError("wrong")
    with pytest.raises(HeedError, match="wrong"), folder_of_runs(tmp_path / "b", {}, "front", resumed=True):
        raise HeedError("wrong")
    assert (tmp_path / "b" / "config.yaml").exists()


@pytest.mark.parametrize(("rewards", "judges"), [("learnt", True), ("gold", False)])
def test_a_world_is_prepared_as_its_runs_need_it_unless_they_are_all_done(tmp_path, monkeypatch, rewards, judges):
    asked = []
    monkeypatch.setattr(align_runs, "prepare", lambda *given, **more: asked.append((*given, more)))
    settings = tiny_settings(rewards=rewards, world_objectives=["help", "price"], world_seed=3)
    with RunFolder.create(tmp_path / "run", settings, kind="front") as run:
        prepare_world(settings, run)
        assert asked == [(ApothecarySetup(("help", "price"), 3), {"judges": judges, "on_stage": None})]
        run.write_summary({"completed": True})
        prepare_world(settings, run)
    assert len(asked) == 1


def test_what_is_recorded_must_be_what_is_asked_for_and_of_the_kind(tmp_path):
    RunFolder.create(tmp_path / "run", {"steps": 4, "seeds": 2}, kind="front").close()
    assert recorded(tmp_path / "run", "front", {"seeds": 2, "workers": 9}) == {"steps": 4, "seeds": 2}
    with pytest.raises(HeedError, match="seeds: 2 -> 3"):
        recorded(tmp_path / "run", "front", {"seeds": 3})
    with pytest.raises(HeedError, match="a run of kind front"):
        recorded(tmp_path / "run", "compare", {})


def test_errors_cross_processes_whole(tmp_path):
    mistake = pickle.loads(pickle.dumps(HeedError("what", "where", "fix")))
    assert (mistake.what, mistake.where, mistake.fix, str(mistake)) == ("what", "where", "fix", "what (where): fix")
    failure = pickle.loads(pickle.dumps(RunFailed("full", tmp_path)))
    assert (failure.reason, failure.checkpoint, str(failure)) == (
        "full",
        tmp_path,
        f"full; the last checkpoint is {tmp_path}",
    )


def test_processes_take_no_more_threads_than_this_one_was_given(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert [threads_of_each(workers) for workers in (1, 2, 3, 16)] == [8, 4, 2, 1]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # as OMP_NUM_THREADS=1 has it
    assert threads_of_each(1) == 1


def test_runs_at_once_are_at_least_one(tmp_path):
    with pytest.raises(HeedError, match="--workers"):
        run_all([task_of(tmp_path / "one")], workers=0)


def test_a_run_in_the_pool_is_the_run_of_heed_align(heed_cache, two_runs, tmp_path):
    folder, _, _, _, _ = two_runs
    train(start(*split_settings(tiny_settings()), tmp_path / "run"))
    assert metrics(tmp_path / "run") == metrics(folder / "one")


def test_a_run_whose_process_is_killed_is_tried_once_more_and_says_so_and_others_are_not_blamed(
    heed_cache, tmp_path, caplog
):
    tasks = [task_of(tmp_path / "run", steps=100), task_of(tmp_path / "bystander", seed=1)]
    killed, told = [], []

    def kill_the_first(found):
        if not killed and found.metrics:  # its first rounds are made, many are to come, and the other run waits
            children = [child for child in multiprocessing.active_children() if "SpawnProcess" in child.name]
            killed.append(found.latest)
            os.kill(children[0].pid, signal.SIGKILL)

    summary, other = run_all(tasks, 1, kill_the_first, lambda *found: told.append(found))
    assert killed == ["run"]
    assert summary["failed_once"] == "its process, or one beside it, died (killed, or out of memory)"
    assert other["completed"] and "failed_once" not in other
    assert told == [(tasks[1], other), (tasks[0], summary)]
    assert "run failed: its process" in caplog.text
    assert [line["step"] for line in metrics(tasks[0].folder)] == list(range(101))
    assert run_all(tasks, 1) == [summary, other]  # and still says so


def test_a_run_that_fails_twice_ends_the_comparison_after_the_others_and_names_its_checkpoint(
    heed_cache, tmp_path, monkeypatch
):
    tasks, asked = [task_of(tmp_path / name) for name in ("one", "two")], []

    def fail_the_second(self, waiting):
        asked.append([task.label for task in waiting])
        return {"two": RunFailed("the disk is full", tmp_path / "step-2")}

    monkeypatch.setattr(pool._Pool, "run", fail_the_second)
    with pytest.raises(RunFailed, match=r"two failed twice: the disk is full; the last checkpoint is .*step-2"):
        run_all(tasks, 1)
    assert asked == [["one", "two"], ["two"]]


def test_a_pool_whose_processes_die_before_they_begin_ends(tmp_path, monkeypatch):
    def breaks(self, waiting, failed):
        failed |= {task.label: RunFailed("died") for task in waiting}
        return []

    monkeypatch.setattr(pool._Pool, "_run_until_broken", breaks)
    with pytest.raises(RunFailed, match="one failed twice: died"):
        run_all([task_of(tmp_path / "runs" / "one")], 1)
