"""A front of one policy that is told the preference: its points, their adapter, and what to put before a prompt."""

import copy
import json

import pytest
import torch
from peft import PeftModel

from heed.align.run.train import resume
from heed.compare import front as front_module
from heed.compare.front import FrontJob, run_front, spread_preferences
from heed.compare.one_policy import one_policy_settings
from heed.errors import HeedError
from heed.runs.folder import RunFolder
from heed.worlds.apothecary import Apothecary
from tiny_runs import run_all_here, tiny_settings

METHODS = ["conditioned:tchebycheff", "ric", "pgapo"]


def front_of(out, methods, **own):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(front_module, "run_all", run_all_here)
        sizes = {"eval_prompts": 20, "steps": 3, "learning_rate": 0.02, "advantage": "leave_one_out"}
        return out, run_front(FrontJob(methods, 3, 1, 1, tiny_settings(**sizes, **own)), out)


@pytest.fixture(scope="module")
def made(heed_cache, tmp_path_factory):
    out = tmp_path_factory.mktemp("one") / "front"
    return front_of(out, METHODS, mu=0.07, offline=1, floor=0.1)


@pytest.fixture(scope="module")
def told(heed_cache, tmp_path_factory):
    """A front of a policy whose prompts carry the preference."""
    return front_of(tmp_path_factory.mktemp("told") / "front", ["conditioned:linear"], through="prompt")


def test_all_points_of_one_policy_are_of_one_run(made):
    out, summary = made
    found = json.loads((out / "front.json").read_text())["adapters"]
    assert set(summary["methods"]) == set(METHODS)
    for method in METHODS[:2]:
        points = [point for point in found if point["method"] == method]
        assert [point["preference"] for point in points] == spread_preferences(3, 2)
        assert len({point["adapter"] for point in points}) == (1 if method == "ric" else 3)
        run = RunFolder.open(out / "runs" / f"{method.replace(':', '-')}-seed0", writable=False)
        along = run.read_summary()["along"]
        assert [point["values"] for point in points] == [[p["values"][n] for n in ("help", "harmless")] for p in along]
        assert sum(point["seconds"] for point in points) == pytest.approx(run.read_summary()["seconds"])
        assert (out / points[0]["adapter"]).is_dir()
    assert len({point["adapter"] for point in found if point["method"] == "pgapo"}) == 3


def test_each_method_s_settings_reach_it(made):
    out, _ = made
    conditioned, ric = (
        RunFolder.open(out / "runs" / name, writable=False).config["weighting"]
        for name in ("conditioned-tchebycheff-seed0", "ric-seed0")
    )
    assert conditioned["preferences"] == 3 and conditioned["inner_settings"] == {"mu": 0.07, "floor": 0.1}
    assert ric == {"preferences": 3, "offline": 1}


def test_inner_settings_reach_the_inner_method_and_a_flag_goes_over_them():
    settings = tiny_settings(inner_settings={"mu": 0.2, "floor": 0.3}, floor=0.1)
    own = one_policy_settings(settings, "conditioned:tchebycheff", 3)["weighting"]
    assert own["inner_settings"] == {"mu": 0.2, "floor": 0.1}


def test_a_point_s_adapter_is_the_policy_of_its_preference(made):
    out, _ = made
    points = [p for p in json.loads((out / "front.json").read_text())["adapters"] if "tchebycheff" in p["method"]]
    assert not any("tag" in point for point in points)
    trainer = resume(out / "runs" / "conditioned-tchebycheff-seed0")
    base, prompt = copy.deepcopy(trainer.policy.model).unload(), [Apothecary().prompts[3]]
    for point in points:
        values = trainer.journal.values_of(trainer.evaluate(point["preference"]))
        assert [values["help"], values["harmless"]] == point["values"]
        ids = torch.tensor([trainer.policy.tokenizer(prompt[0]).input_ids])
        alone = PeftModel.from_pretrained(copy.deepcopy(base), str(out / point["adapter"])).eval()
        with torch.no_grad(), trainer.conditioning.acting(point["preference"]):
            torch.testing.assert_close(alone(input_ids=ids).logits, trainer.policy.model(input_ids=ids).logits)
    trainer.journal.run.close()


def test_a_point_is_what_its_tag_asks_the_policy_for(made, told):
    out, _ = made
    found = json.loads((out / "front.json").read_text())["adapters"]
    found += json.loads((told[0] / "front.json").read_text())["adapters"]
    world = Apothecary()
    tags = {p["method"]: p["tag"] for p in found if p["preference"] == [0.1, 0.9] and "tag" in p}
    assert tags == {"conditioned:linear": world.write_tag((), [0.1, 0.9]), "ric": world.write_tag((), [1 / 9, 1.0])}
    assert len({point["adapter"] for point in found if point["method"] == "conditioned:linear"}) == 1
    trainer = resume(out / "runs" / "ric-seed0")
    prompt = world.prompts[3]
    assert trainer.conditioning.shown([prompt], [0.1, 0.9]) == [tags["ric"] + prompt]
    values = trainer.journal.values_of(trainer.evaluate([0.1, 0.9]))
    trainer.journal.run.close()
    kept = next(p["values"] for p in found if p["method"] == "ric" and p["preference"] == [0.1, 0.9])
    assert [values["help"], values["harmless"]] == kept


@pytest.mark.parametrize(
    ("methods", "changes", "says"),
    [
        (["ric"], {"eval_prompts": 0}, "judged by evaluation alone"),
        (["conditioned:mgda"], {}, "mgda follows no preference"),
        (["conditioned:pgapo"], {"mu": 0.1}, "have no mu"),
        (["conditioned:pgapo"], {}, "critics are not told the preference"),
        (["ric"], {"kl_in": "once"}, "learns by likelihood"),
        (["modpo"], {"kl_beta": 0.0}, "KL in its own loss"),
        (["mgda"], {}, "conditioned:NAME, ric, soups"),
    ],
)
def test_what_no_run_could_be_begun_with_is_refused(tmp_path, methods, changes, says):
    with pytest.raises(HeedError, match=says):
        run_front(FrontJob(methods, 3, 1, 1, tiny_settings(**changes)), tmp_path / "front")
    assert not (tmp_path / "front").exists()
