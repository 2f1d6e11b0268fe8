"""Rewarded soups: the mixture is exact, and stands in a front beside what was trained along the preferences."""

import json

import pytest
import torch
from peft import PeftModel
from tiny_policies import tiny_model
from tiny_trainers import length, tiny_trainer, vowels
from transformers import AutoModelForCausalLM

from heed.align.models.policy import POLICY_ADAPTER
from heed.align.run.train import resume
from heed.compare import front as front_module
from heed.compare import soups as soups_module
from heed.compare.front import FrontJob, run_front
from heed.compare.soups import MIXED, mix
from heed.errors import HeedError
from tiny_runs import run_all_here, tiny_settings


def deltas(model, adapter):
    """What an adapter adds to every layer that it is on."""
    return {
        name: module.get_delta_weight(adapter)
        for name, module in model.named_modules()
        if adapter in getattr(module, "lora_A", {})
    }


@pytest.fixture(scope="module")
def made(heed_cache, tmp_path_factory):
    out = tmp_path_factory.mktemp("soups") / "front"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(front_module, "run_all", run_all_here)
        patch.setattr(soups_module, "run_all", run_all_here)
        job = FrontJob(["linear", "soups"], 2, 1, 1, tiny_settings(eval_prompts=20, steps=3, learning_rate=0.01))
        summary = run_front(job, out)
    return out, summary


def test_a_mixture_adds_up_the_changes_of_the_weights_exactly(made):
    out, _ = made
    runs = [out / "runs" / f"soups-{name}-seed0" for name in ("help", "harmless")]
    trainer = resume(runs[0])
    mix(trainer, runs[1:], [0.3, 0.7])
    model = trainer.policy.model
    first, second, mixed = (deltas(model, name) for name in (POLICY_ADAPTER, "other1", MIXED))
    trainer.journal.run.close()
    assert mixed.keys() == first.keys() == second.keys() and len(mixed) == 3
    for name in mixed:
        torch.testing.assert_close(mixed[name], 0.3 * first[name] + 0.7 * second[name], rtol=1e-4, atol=1e-7)
    assert max(float((first[name] - second[name]).abs().max()) for name in mixed) > 1e-4


def test_all_of_one_policy_is_that_policy(made):
    out, _ = made
    runs = [out / "runs" / f"soups-{name}-seed0" for name in ("help", "harmless")]
    trainer = resume(runs[0])
    alone = trainer.evaluate()
    mix(trainer, runs[1:], [1.0, 0.0])
    mixed = trainer.evaluate()
    assert trainer.sampler.method == "continuous"  # whose first rollout is compared with the model it draws from
    second = resume(runs[1])
    other = second.evaluate()
    for each in (trainer, second):
        each.journal.run.close()
    assert mixed.completions == alone.completions != other.completions
    assert torch.equal(mixed.rewards, alone.rewards)


def test_a_front_of_mixtures_lies_beside_one_that_was_trained(made):
    out, summary = made
    found = json.loads((out / "front.json").read_text())
    points = [point for point in found["adapters"] if point["method"] == "soups"]
    assert [point["preference"] for point in points] == [[0.1, 0.9], [0.9, 0.1]]
    assert set(summary["methods"]) == {"linear", "soups"}
    for point in points:
        kept = json.loads((out / point["adapter"]).parent.joinpath("values.json").read_text())
        assert point["values"] == [kept["help"], kept["harmless"]]
    base = AutoModelForCausalLM.from_pretrained(
        json.loads((out / points[0]["adapter"] / "adapter_config.json").read_text())["base_model_name_or_path"]
    )
    loaded = PeftModel.from_pretrained(base, str(out / points[0]["adapter"]))
    assert loaded.peft_config["default"].r == 2 * tiny_settings()["lora_r"]


def test_on_a_base_in_half_precision_the_mixture_is_as_exact(tmp_path):
    def trained(function, place):
        trainer = tiny_trainer([function], run=place, model=tiny_model().to(torch.bfloat16), learning_rate=0.05)
        trainer.train()
        return trainer

    first = trained(vowels, tmp_path / "first")
    other = trained(length, tmp_path / "other")
    other.journal.run.close()
    mix(first, [tmp_path / "other"], [0.3, 0.7])
    model = first.policy.model
    whole = {name: deltas(model, name) for name in (POLICY_ADAPTER, "other1", MIXED)}
    for name, mixed in whole[MIXED].items():
        assert mixed.dtype == torch.float32
        expected = 0.3 * whole[POLICY_ADAPTER][name] + 0.7 * whole["other1"][name]
        torch.testing.assert_close(mixed, expected, rtol=1e-5, atol=1e-8)
        assert float((whole[POLICY_ADAPTER][name] - whole["other1"][name]).abs().max()) > 1e-4


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lora_r": 0}, "soups mix adapters"),
        ({"eval_prompts": 0}, "judged by evaluation alone"),
        ({"learning_rate": -1.0}, "not positive"),
        ({"model": "m"}, "a world brings its own"),
        ({"p": 2.0}, "soups has no p"),
    ],
)
def test_what_cannot_be_mixed_or_judged_is_refused_before_anything_runs(changes, says, tmp_path):
    with pytest.raises(HeedError, match=says):
        run_front(FrontJob(["soups"], 2, 1, 1, tiny_settings(**changes)), tmp_path / "front")
    assert not (tmp_path / "front").exists()
