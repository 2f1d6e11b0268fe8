"""A run as one declares it: started, gone on with, and gone without a trace where it could not begin."""

import errno
import json
import sys
from types import SimpleNamespace

import pytest
import torch
import yaml

from heed.align.config import AlignConfig
from heed.align.run import train as job_module
from heed.align.run.apothecary import ApothecarySetup, prepare
from heed.align.run.job import AlignJob, defaults, split_settings
from heed.align.run.train import resume, start, train
from heed.balance import GAPO, PGAPO, Linear
from heed.balance.methods.fixed import LinearConfig
from heed.balance.methods.gapo import GAPOConfig, PGAPOConfig
from heed.balance.methods.tchebycheff import TchebycheffConfig
from heed.errors import HeedError, RunFailed, Stopped, flag_of
from heed.runs.folder import RunFolder
from heed.worlds.apothecary import Apothecary
from tiny_runs import TINY, metrics, tiny_settings, without_sections

NAMES = ("help", "harmless")
OWN = {"world": None, "rewards": "learnt", "model": "m", "data": "d.jsonl", "objectives": ["builtins:len"]}
TCHEBYCHEFF = {"method": "tchebycheff", "preference": [0.5, 0.5]}


def run_to(out, settings, on_step=None):
    return train(start(*split_settings(settings), out), on_step)


def stop_at(step):
    def on_step(now, _):
        if now == step:
            raise Stopped

    return on_step


@pytest.fixture(scope="module")
def straight(heed_cache, tmp_path_factory):
    """A whole run, uninterrupted."""
    out = tmp_path_factory.mktemp("straight") / "run"
    return out, run_to(out, tiny_settings())


def test_a_preset_s_settings_go_over_the_world_s_and_these_over_the_defaults():
    plain, modern = defaults(None, "paper"), defaults(None, "modern")
    assert plain["micro_batch"] == AlignConfig().micro_batch and plain["advantage"] == "gae"
    told = {"advantage": "group", "gram": "unbiased", "micro_batch": 8, "gram_memory": 0.9}
    told |= {"max_kl": 0.05, "clip_updates": True}
    assert {name: modern[name] for name in told} == told
    world, both = defaults("apothecary", "paper"), defaults("apothecary", "modern")
    assert (world["micro_batch"], world["minibatches"], world["learning_rate"]) == (0, 4, 1e-3)
    assert {name: both[name] for name in told} == told
    assert {name: value for name, value in both.items() if name not in told} == {
        name: value for name, value in world.items() if name not in told
    }
    assert defaults(None, "steady") == plain | {"max_kl": 0.05, "clip_updates": True}
    with pytest.raises(HeedError, match="there is no preset 'old'"):
        defaults(None, "old")


@pytest.mark.parametrize("world", [None, "apothecary"])
def test_the_modern_preset_has_enough_micro_batches_for_an_unbiased_gram(world):
    _, config = split_settings(defaults(world, "modern"))
    assert config.micro_batches >= 8 and config.micro_batch % config.completions_per_prompt == 0


def test_a_modern_run_on_the_world_makes_its_rounds(heed_cache, tmp_path):
    sizes = {"prompts_per_step": 16, "completions_per_prompt": 4, "minibatches": 2, "steps": 2}
    modern = defaults("apothecary", "modern") | {"world": "apothecary", "rewards": "gold"}
    small = {name: TINY[name] for name in ("max_completion_tokens", "lora_r", "lora_targets", "eval_prompts")}
    summary = run_to(tmp_path / "run", modern | small | sizes)
    assert summary["completed"] and summary["steps"] == 2
    lines = [json.loads(line) for line in (tmp_path / "run" / "balance.jsonl").read_text().splitlines()]
    assert [(line["step"], line["minibatch"]) for line in lines] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert all(share is not None for line in lines for share in line["signal"])  # told by micro-batches


def test_settings_split_into_job_and_config_and_an_unknown_one_is_named():
    job, config = split_settings({"method": "mgda", "steps": 7})
    assert (job.method, config.steps) == ("mgda", 7)
    with pytest.raises(HeedError, match="no setting is called 'stepz'"):
        split_settings({"stepz": 7})


def test_a_run_folder_holds_what_the_contract_names(straight):
    out, summary = straight
    assert yaml.safe_load((out / "config.yaml").read_text()) == tiny_settings() | {
        "weighting": {"p": 1.0, "floor": 0.0, "keep_scale": False}
    }
    written = json.loads((out / "summary.json").read_text())
    assert {"kind", "method", "seed", "steps", "seconds", "version", "config_hash", "completed"} <= set(written)
    assert (written["kind"], written["method"], written["steps"], written["completed"]) == ("align", "gapo", 4, True)
    assert set(written["objectives"]) == set(NAMES)
    for name in NAMES:  # these rewards are the exact values themselves
        found = written["objectives"][name]
        assert found["gold"] == pytest.approx(found["proxy"], abs=1e-5) and found["start"] is not None
    assert written["objectives"] == summary["objectives"]
    front = Apothecary().front()
    exact = json.loads((out / "exact.json").read_text())
    assert exact["ideal"] == front.ideal.tolist() and exact["vertices"] == front.vertices.tolist()
    assert [line["step"] for line in metrics(out)] == [0, 1, 2, 3, 4]
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["step-2", "step-4"]
    assert (out / "completions" / "before.parquet").exists() and (out / "completions" / "after.parquet").exists()


def test_a_run_of_the_version_before_the_sections_is_gone_on_with_exactly(straight, tmp_path):
    out, summary = straight
    with pytest.raises(Stopped):
        run_to(tmp_path / "run", tiny_settings(), stop_at(3))
    without_sections(tmp_path / "run" / "config.yaml")
    with pytest.raises(HeedError, match=r"weighting\.p: 1\.0 -> 2"):
        resume(tmp_path / "run", {"weighting": {"p": 2}})
    assert train(resume(tmp_path / "run", {"weighting": {"p": 1}}))["objectives"] == summary["objectives"]
    assert metrics(tmp_path / "run") == metrics(out)


@pytest.mark.parametrize("step", [1, 3])
def test_a_run_that_was_stopped_and_gone_on_with_equals_the_uninterrupted_one(straight, tmp_path, step):
    out, summary = straight
    with pytest.raises(Stopped):
        run_to(tmp_path / "run", tiny_settings(), stop_at(step))
    assert RunFolder.open(tmp_path / "run").latest_checkpoint().name == f"step-{step}"
    torch.manual_seed(99)  # a new process is anywhere
    found = train(resume(tmp_path / "run", {"steps": 4}))
    assert metrics(tmp_path / "run") == metrics(out)
    assert found["objectives"] == summary["objectives"] and found["kl"] == summary["kl"]
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        same = [(run / "checkpoints" / "step-4" / file).read_bytes() for run in (out, tmp_path / "run")]
        assert same[0] == same[1]


def test_going_on_with_other_settings_is_refused_and_the_difference_said(straight):
    out, _ = straight
    with pytest.raises(HeedError, match="steps: 4 -> 9") as told:
        resume(out, {"steps": 9, "seed": 0})
    assert "seed" not in str(told.value)
    with RunFolder.open(out):  # nobody holds it
        pass


def test_going_on_needs_an_alignment_run_with_a_checkpoint(tmp_path):
    RunFolder.create(tmp_path / "front", tiny_settings(), kind="front").close()
    with pytest.raises(HeedError, match="a run of kind front"):
        resume(tmp_path / "front")
    RunFolder.create(tmp_path / "align", tiny_settings(), kind="align").close()
    with pytest.raises(HeedError, match="no checkpoint to go on from"):
        resume(tmp_path / "align")
    with pytest.raises(HeedError, match="holds no run"):
        resume(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"p": -1.0}, "p is -1"),
        ({"p": float("nan")}, "p is nan"),
        ({"method": "gappo"}, "did you mean gapo"),
        ({"method": "pgapo"}, "needs a preference"),
        ({"method": "pgapo", "preference": [0.7, 0.7]}, "sums to 1.4"),
        ({"method": "pgapo", "preference": [1.0]}, "1 weights for 2 objectives"),
        ({"method": "linear", "preference": [1.5, -0.5]}, "negative weight"),
        (
            {"method": "mgda", "preference": [0.5, 0.5]},
            "mgda has no preference .--preference.: take --method",
        ),
        ({"method": "single:price"}, "no objective 'price'"),
        ({"method": "tchebycheff", "preference": [0.5, 0.5], "rewards": "learnt"}, "best and worst value"),
        ({"world_objectives": ["help", "help"]}, "help"),
        ({"lora_targets": "no_such_layer"}, "no_such_layer"),
        ({"lora_r": -1}, "a rank of -1 .--lora-r"),
        ({"lora_alpha": 0}, "scale 0 learns nothing .--lora-alpha"),
        ({"world": None}, "there is nothing to train"),
        (OWN | {"data": "no-such.jsonl"}, "no-such.jsonl"),
        (OWN | {"rewards": "gold"}, "only a world has this setting .--rewards"),
        (OWN | {"world_objectives": ["help"]}, "--world-objectives"),
        (OWN | {"judges": "j"}, "only a world has this setting .--judges"),
        ({"judges": "j"}, "gold needs no judges .--judges"),
        (OWN | {"ensemble": 2}, "only a world has this setting .--ensemble"),
        ({"ensemble": 2}, "gold needs no judges .--ensemble"),
        ({"ensemble": 0}, "0 judges are none"),
        ({"rewards": "learnt", "judges": "j", "ensemble": 2}, "the judges are given, and so are not made"),
        ({"rewards": "learnt", "ensemble": 2, "pessimism": -1.0}, "a pessimism of -1.0 .--pessimism"),
        ({"rewards": "learnt", "pessimism": 2.0}, "one judge disagrees with nobody .--pessimism"),
        *(
            ({name: value}, f"a world brings its own model, prompts and objectives .{flag_of(name)}")
            for name, value in (*OWN.items(), ("split", "train"), ("eval_data", "p.jsonl"))
            if name in ("model", "data", "objectives", "split", "eval_data")
        ),
        ({"method": "linear", "weights": [1.0, 2.0], "preference": [0.5, 0.5]}, "both weights and a preference"),
        ({"method": "gapo", "weights": [1.0, 2.0]}, "gapo has no weights .--weights.: take --method linear"),
        ({"method": "mgda", "p": 2.0}, "mgda has no p .--p.: take --method gapo"),
        ({"method": "gapo", "mu": 0.1}, "gapo has no mu"),
        ({"method": "linear", "settle": 5}, "linear has no settle"),
        ({"method": "single:help", "share_floor": 0.0}, "single has no share_floor"),
        ({"method": "pgapo", "preference": [0.5, 0.5], "ideal": [1.0, 1.0]}, "pgapo has no ideal"),
        ({"method": "gapo", "nadir": [1.0, 1.0]}, "gapo has no nadir"),
        ({**TCHEBYCHEFF, "ideal": [12.0, 0.0]}, "there is --ideal but no --nadir"),
        ({**TCHEBYCHEFF, "nadir": [3.0, -2.0]}, "there is --nadir but no --ideal"),
    ],
)
def test_a_run_that_cannot_begin_leaves_no_folder(heed_cache, tmp_path, changes, said):
    with pytest.raises(HeedError, match=said):
        start(*split_settings(tiny_settings(**changes)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_mistakes_of_the_weighting_show_before_the_world_is_prepared(tmp_path, monkeypatch):
    monkeypatch.setattr(job_module, "prepare", lambda *_, **__: pytest.fail("prepared"))
    with pytest.raises(HeedError, match="p is -1"):
        start(*split_settings(tiny_settings(p=-1.0)), tmp_path / "run")


def test_a_preparation_that_is_interrupted_leaves_no_folder(tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(job_module, "prepare", interrupt)
    with pytest.raises(KeyboardInterrupt):
        start(*split_settings(tiny_settings()), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def failing(trainer, from_call, error):
    """Let an objective fail from some call on."""
    calls, score = [], trainer.objectives.score

    def scored(*arguments):
        calls.append(1)
        if len(calls) >= from_call:
            raise error
        return score(*arguments)

    trainer.objectives.score = scored
    return trainer


def test_an_objective_that_fails_at_first_leaves_no_folder(heed_cache, tmp_path):
    trainer = start(*split_settings(tiny_settings()), tmp_path / "run")
    with pytest.raises(HeedError, match="broken"):
        train(failing(trainer, 1, HeedError("broken", "here", "mend it")))
    assert not (tmp_path / "run").exists()


def test_an_objective_that_fails_later_leaves_the_last_checkpoint_and_the_policy_as_they_were(heed_cache, tmp_path):
    trainer = start(*split_settings(tiny_settings()), tmp_path / "run")
    before = []
    with pytest.raises(HeedError, match=r"broken \(here\): mend it; the last checkpoint, .*step-2, stands"):
        train(
            failing(trainer, 5, HeedError("broken", "here", "mend it")),  # the start and three rounds were scored
            lambda *_: before.append([p.detach().clone() for p in trainer.policy.trainable().values()]),
        )
    assert len(before) == 3 and [line["step"] for line in metrics(tmp_path / "run")] == [0, 1, 2, 3]
    assert all(torch.equal(a, b) for a, b in zip(before[-1], trainer.policy.trainable().values(), strict=True))


def test_a_full_disk_fails_the_run_and_names_the_checkpoint_that_survives(heed_cache, tmp_path, monkeypatch, straight):
    trainer = start(*split_settings(tiny_settings()), tmp_path / "run")
    save = torch.save

    def fill(state, file):
        if state["step"] == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(state, file)

    monkeypatch.setattr(torch, "save", fill)
    with pytest.raises(RunFailed, match=r"No space left on device; the last checkpoint is .*step-2") as told:
        train(trainer)
    assert told.value.checkpoint == tmp_path / "run" / "checkpoints" / "step-2"
    monkeypatch.undo()
    monkeypatch.setenv("HEED_CACHE", str(heed_cache))
    train(resume(tmp_path / "run"))
    assert metrics(tmp_path / "run") == metrics(straight[0])


class SolverError(Exception):
    """As cvxpy's SolverError, it is of none of Python's own kinds."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate"), "OutOfMemoryError: CUDA out of memory."),
        (ValueError("the observed values are not finite"), "ValueError: the observed values are not finite"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (MemoryError(), "MemoryError: no reason was given"),
        (SolverError("Solver 'ECOS' failed."), "SolverError: Solver 'ECOS' failed."),
    ],
)
def test_a_fault_in_a_round_fails_the_run_and_names_the_checkpoint(heed_cache, tmp_path, monkeypatch, error, said):
    monkeypatch.setitem(sys.modules, "cvxpy.error", SimpleNamespace(SolverError=SolverError))
    trainer = start(*split_settings(tiny_settings()), tmp_path / "run")
    kept = tmp_path / "run" / "checkpoints" / "step-2"
    with pytest.raises(RunFailed) as told:
        train(failing(trainer, 5, error))
    assert (told.value.reason, told.value.checkpoint) == (said, kept) and told.value.__cause__ is error
    with RunFolder.open(tmp_path / "run"):  # nobody holds it
        pass


def test_evaluations_take_the_first_prompts_of_their_own_data(heed_cache, tmp_path):
    world = Apothecary()
    for name, prompts in (("train", world.prompts[:3]), ("held-out", world.prompts[40:44])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"prompt": p}) + "\n" for p in prompts))
    prepared = prepare(ApothecarySetup(), judges=False)
    own = {"model": str(prepared.policy), "data": str(tmp_path / "train.jsonl"), "objectives": ["builtins:len"]}
    changes = OWN | own | {"eval_data": str(tmp_path / "held-out.jsonl")}
    trainer = start(*split_settings(tiny_settings(**changes, eval_prompts=3)), None)
    assert [row["prompt"] for row in trainer.eval_rows] == world.prompts[40:43]
    assert [row["prompt"] for row in trainer.prompts.rows] == world.prompts[:3]
    trainer = start(*split_settings(tiny_settings(**changes | {"eval_data": None}, eval_prompts=2)), None)
    assert [row["prompt"] for row in trainer.eval_rows] == world.prompts[:2]


def test_one_objective_is_plain_ppo_and_that_is_said(heed_cache, tmp_path, caplog):
    summary = run_to(tmp_path / "run", tiny_settings(world_objectives=["help"], steps=1))
    assert "K = 1: plain PPO on help" in caplog.text
    assert list(summary["objectives"]) == ["help"]
    assert metrics(tmp_path / "run")[-1]["weights/help"] == 1.0


def test_each_method_takes_the_settings_that_are_its_own():
    one = AlignJob(method="gapo", weighting=GAPOConfig(p=2.0)).build_weighting(NAMES)
    assert isinstance(one, GAPO) and one.p == 2.0
    gram = torch.tensor([[4.0, 0.0], [0.0, 1.0]])
    preferred = AlignJob(method="pgapo", weighting=PGAPOConfig([0.8, 0.2])).build_weighting(NAMES)
    assert isinstance(preferred, PGAPO) and preferred(gram).tolist() == pytest.approx([0.4, 0.2])
    raw = AlignJob(method="linear", weighting=LinearConfig(weights=[3.0, 5.0])).build_weighting(NAMES)
    assert isinstance(raw, Linear) and raw(gram).tolist() == pytest.approx([3.0, 5.0])
    only = AlignJob(method="single:harmless").build_weighting(NAMES)
    assert only(gram).tolist() == [0.0, 1.0]


def test_tchebycheff_knows_a_gold_world_s_best_and_worst_values():
    world = Apothecary()
    job = AlignJob(method="tchebycheff", weighting=TchebycheffConfig([0.5, 0.5]), rewards="gold")
    weighting = job.build_weighting(NAMES, world)
    assert weighting.ideal.tolist() == world.front().ideal.tolist()
    assert weighting.nadir.tolist() == world.front().nadir.tolist()
    with pytest.raises(HeedError, match="needs each objective's best and worst value"):
        AlignJob(method="tchebycheff", weighting=TchebycheffConfig([0.5, 0.5])).build_weighting(NAMES, world)
