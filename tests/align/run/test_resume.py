"""A run stopped and gone on with equals the uninterrupted one, bit for bit."""

import json
import shutil

import pytest
import torch
from tiny_trainers import HEAD_TOO, MIDDLE, length, tiny_trainer, vowels

from heed.balance import GAPO, SmoothTchebycheff
from heed.balance.weightings.pcgrad import PCGrad
from heed.errors import HeedError
from heed.runs.folder import RunFolder

TIMES = ("seconds/", "tokens_per_second")


class KilledError(Exception):
    """The process went away."""


def some(completions, **_):
    return [None if "cough" in said else float(len(said)) for said in completions]


SETTINGS = {
    "critics, clip, minibatches": {
        "advantage": "gae",
        "surrogate": "ppo",
        "epochs": 2,
        "minibatches": 2,
        "critic_value_clip": 0.2,
        "critic_epochs": 2,
    },
    "the kl once, its own critic": {"advantage": "gae", "surrogate": "cispo", "kl_in": "once", "micro_batch": 3},
    "leave one out": {"evaluate": True},
    "a weighting and a gram with memories": {
        "weighting": lambda: SmoothTchebycheff([0.3, 0.7], ideal=[20.0, 5.0], nadir=[0.0, 0.0]),
        "gram_memory": 0.9,
        "gram": "unbiased",
        "micro_batch": 2,
        "advantage": "group",
    },
    "a weighting that draws": {"weighting": PCGrad, "functions": (vowels, length, some), "kl_place": "loss"},
    "adam's metric, scaled rewards": {"gram": "adam", "normalise_rewards": True, "adapter": HEAD_TOO},
    "rounds that are undone": {"max_fall": 0.05, "learning_rate": 0.1, "warmup_steps": 0},
    "all parameters": {"adapter": None, "advantage": "gae"},
    "transformers' generate": {"sampler": "generate", "epochs": 2},
}


def trainer_of(
    run, evaluate=False, weighting=lambda: GAPO(p=1), functions=(vowels, length), adapter=MIDDLE, **settings
):
    evaluations = {"eval_every": 2} if evaluate else {"eval_prompts": 0}
    settings = {"steps": 6, "checkpoint_every": 3, **evaluations, **settings}
    return tiny_trainer(functions, weighting(), run=run, adapter=adapter, **settings)


def killed_after(step):
    def on_step(now, _):
        if now == step:
            raise KilledError

    return on_step


def lines(run, name):
    found = [json.loads(line) for line in (run / name).read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith(TIMES)} for line in found]


def resumed(run, **settings):
    again = trainer_of(run, **settings)
    again.restore(again.journal.last_checkpoint())
    return again


@pytest.mark.parametrize("name", SETTINGS)
def test_a_resumed_run_equals_the_uninterrupted_one(name, tmp_path):
    settings = SETTINGS[name]
    straight = trainer_of(tmp_path / "straight", **settings)
    summary = straight.train()
    stopped = trainer_of(tmp_path / "stopped", **settings)
    with pytest.raises(KilledError):
        stopped.train(killed_after(5))  # two rounds after the checkpoint, which have to be done again
    stopped.journal.run.close()
    torch.manual_seed(99)  # a new process is anywhere
    again = resumed(tmp_path / "stopped", **settings)
    assert again.step == 3
    found = again.train()
    for one, other in ((straight, again),):
        for name_, parameter in one.policy.trainable().items():
            assert torch.equal(other.policy.trainable()[name_], parameter), name_
        expected, state = one.optimizer.state_dict()["state"], other.optimizer.state_dict()["state"]
        assert expected.keys() == state.keys()
        for key, entry in expected.items():
            assert all(torch.equal(value, state[key][part]) for part, value in entry.items())
    assert lines(tmp_path / "stopped", "metrics.jsonl") == lines(tmp_path / "straight", "metrics.jsonl")
    bytes_ = [(tmp_path / run / "balance.jsonl").read_bytes() for run in ("straight", "stopped")]
    minibatches = straight.config.epochs * straight.config.minibatches
    assert bytes_[0] == bytes_[1] and bytes_[0].count(b"\n") == 6 * minibatches
    assert found["objectives"] == summary["objectives"] and found["kl"] == summary["kl"]


def test_a_run_stopped_after_its_first_evaluation_does_not_log_it_twice(tmp_path):
    straight = trainer_of(tmp_path / "straight", evaluate=True)
    straight.train()
    stopped = trainer_of(tmp_path / "stopped", evaluate=True)
    with pytest.raises(KilledError):
        stopped.train(killed_after(1))
    stopped.journal.run.close()
    again = resumed(tmp_path / "stopped", evaluate=True)
    assert again.step == 0
    again.train()
    assert lines(tmp_path / "stopped", "metrics.jsonl") == lines(tmp_path / "straight", "metrics.jsonl")


def test_a_checkpoint_that_was_killed_halfway_is_ignored(tmp_path):
    run = tmp_path / "run"
    trainer = trainer_of(run)
    trainer.train()
    trainer.journal.run.close()
    torn = run / "checkpoints" / "step-6"
    shutil.copytree(torn, run / "checkpoints" / ".step-9.tmp")
    (torn / "trainer.pt").write_bytes((torn / "trainer.pt").read_bytes()[:100])
    again = resumed(run)
    assert again.step == 3
    again.train()
    assert RunFolder.open(run, writable=False).latest_checkpoint().name == "step-6"
    assert all(
        torch.equal(a, b)
        for a, b in zip(trainer.policy.trainable().values(), again.policy.trainable().values(), strict=True)
    )


def test_a_finished_run_that_is_resumed_has_nothing_to_do(tmp_path):
    trainer = trainer_of(tmp_path / "run")
    summary = trainer.train()
    trainer.journal.run.close()
    again = resumed(tmp_path / "run")
    found = again.train(killed_after(0))
    assert found == summary


def test_a_checkpoint_of_another_number_of_processes_is_refused(tmp_path):
    trainer = trainer_of(tmp_path / "run")
    trainer.train()
    file = trainer.journal.last_checkpoint() / "trainer.pt"
    state = torch.load(file, weights_only=True)
    torch.save({**state, "processes": state["processes"] * 2}, file)
    with pytest.raises(HeedError, match="is of 2 processes, not 1"):
        trainer.restore(file.parent)
