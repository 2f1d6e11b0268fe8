"""Reward models on the device: the scores of the CPU, alone and as objectives of a run."""

import pytest
import torch
from tiny_policies import PROMPTS, TOKENIZER, tiny_model
from tiny_trainers import tiny_trainer, vowels
from transformers import AutoModelForSequenceClassification

from heed.align.objectives.reward_functions import RewardFunction
from heed.align.objectives.reward_models import RewardModel

pytestmark = pytest.mark.gpu
ASKED, SAID = list(PROMPTS[:5]), ["mint 1 .", "sage", "rest . mint 2 .", "", "mint mint mint"]


@pytest.fixture
def judge(tmp_path):
    """A folder with a random judge of two heads, whose scores are spread."""
    config = tiny_model().config
    config.num_labels, config.pad_token_id = 2, TOKENIZER.pad_token_id
    torch.manual_seed(4)
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        model.score.weight.mul_(20)
    model.save_pretrained(tmp_path / "judge")
    TOKENIZER.save_pretrained(tmp_path / "judge")
    return str(tmp_path / "judge")


@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-4), ("bfloat16", 0.1)])
def test_scores_are_those_of_the_cpu(device, judge, dtype, most):
    expected = RewardModel(judge, head=0, dtype="float32", device="cpu").score(ASKED, SAID, {})
    found = RewardModel(judge, head=0, dtype=dtype, device=device, batch_size=2).score(ASKED, SAID, {})
    assert float(expected.std()) > 0.2
    assert found.device.type == "cpu" and float((found - expected).abs().max()) < most


def test_a_run_is_scored_on_the_device_beside_a_function(device, judge):
    objectives = [RewardModel(judge, "judge", head=1, device=device), RewardFunction(vowels)]
    trainer = tiny_trainer(objectives, model=tiny_model().to(device), eval_prompts=0)
    prompts, columns = trainer.prompts.draw(0)
    rollout = trainer.sampler.roll(prompts, trainer.generator, columns)
    rewards = trainer.scoring.rewards(rollout)
    alone = RewardModel(judge, "judge", head=1, device="cpu").score(rollout.prompts, rollout.completions, {})
    assert torch.allclose(rewards[0].cpu(), alone[:, 0], atol=1e-4)
    scored = trainer.scoring.measure(rollout, rewards, trainer.step)
    assert scored.rewards.device.type == scored.logp.device.type == device.type
