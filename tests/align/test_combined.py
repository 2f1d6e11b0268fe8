"""Methods that make one gradient of all rewards, in a whole round: of a combined advantage, or of a loss on pairs."""

import json

import pytest
import torch
from tiny_rounds import Round, close
from tiny_trainers import FUNCTIONS, HEAD_TOO, tiny_trainer

from heed.balance import weighting_from_name
from heed.errors import HeedError


def combined_trainer(name, functions=FUNCTIONS[:3], run=None, **settings):
    return tiny_trainer(functions, weighting=weighting_from_name(name, len(functions)), run=run, **settings)


@pytest.mark.parametrize("name", ["gdpo", "mo-grpo", "dvao", "gd2po"])
def test_the_gradient_is_that_of_one_advantage(name):
    round_ = Round(combined_trainer(name, kl_beta=0.0, prompts_per_step=4, completions_per_prompt=2))
    combined = weighting_from_name(name, 3).combine(round_.rewards, 2)
    part = ~combined.isnan()
    if name in ("gdpo", "gd2po"):
        kept = combined[part]
        combined = (combined - kept.mean()) / (kept.std() + 1e-4)
    combined = torch.where(part, combined, 0.0)
    logp = round_.logp()
    tokens = sum(len(row) for row in logp)
    objective = sum(a * row.sum() for a, row in zip(combined, logp, strict=True)) / tokens
    assert round_.total.shape[0] == 1
    assert close(round_.total[0], round_.gradient(objective))


def test_the_clip_follows_the_combined_advantage_alone():
    round_ = Round(combined_trainer("mo-grpo", surrogate="ppo", kl_beta=0.0, minibatches=2), drift=0.3)
    combined = weighting_from_name("mo-grpo", 3).combine(round_.rewards, 2)
    objective, tokens = torch.zeros(()), 0
    for b, row in enumerate(round_.logp()):
        ratio = (row - round_.scored.logp[b, : len(row)]).exp()
        objective = objective + torch.minimum(ratio * combined[b], ratio.clamp(0.8, 1.2) * combined[b]).sum()
        tokens += len(row)
    assert close(round_.total[0], round_.gradient(objective / tokens))


def test_a_run_with_the_kl_counted_once_tells_what_took_part(tmp_path):
    trainer = combined_trainer("gd2po", run=tmp_path / "run", kl_in="once", kl_beta=0.1)
    trainer.train()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(0 < line["combination/kept"] <= 1 for line in lines if "seconds/step" in line)
    balance = [json.loads(line) for line in (tmp_path / "run" / "balance.jsonl").read_text().splitlines()]
    assert balance[0]["names"] == ["combined"] and balance[0]["weights"] == [1.0]


def test_a_loss_on_pairs_has_the_gradient_that_autograd_takes_of_it():
    trainer = combined_trainer("modpo", surrogate="ppo", prompts_per_step=4, minibatches=2)
    round_ = Round(trainer, drift=0.3)  # at the policy as it is, and not at the one that drew
    said = torch.stack([row.sum() for row in round_.logp()])
    log_ratio = said - torch.stack([row.sum() for row in round_.reference()])
    beta, tokens, objective = trainer.config.kl_beta, sum(len(row) for row in round_.logp()), torch.zeros(())
    for i in range(0, len(said), 2):
        own, *others = (float(row[i] - row[i + 1]) for row in round_.rewards)
        z = (beta * (log_ratio[i] - log_ratio[i + 1]) - sum(others) / 3) / (1 / 3)
        wins = torch.sigmoid(torch.tensor(own))
        logsigmoid = torch.nn.functional.logsigmoid
        objective = objective + wins * logsigmoid(z) + (1 - wins) * logsigmoid(-z)
    assert round_.total.shape[0] == 1
    assert close(round_.total[0], round_.gradient(objective / (3 * beta * tokens)))


def test_a_loss_on_pairs_trains_towards_the_weighted_sum():
    trainer = combined_trainer("modpo", FUNCTIONS[:2], steps=20, kl_beta=0.02, adapter=HEAD_TOO, prompts_per_step=8)
    before = trainer.evaluate().rewards.mean()
    trainer.train()
    assert trainer.evaluate().rewards.mean() > before + 0.2


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"completions_per_prompt": 1, "advantage": "gae"}, "at least 2"),
        ({"kl_beta": 0.0}, "KL in its own loss"),
        ({"kl_place": "loss"}, "KL in its own loss"),
        ({"kl_in": "once"}, "KL in its own loss"),
        ({"micro_batch": 3, "advantage": "gae"}, "splits the 2 completions"),
    ],
)
def test_a_loss_on_pairs_refuses_settings_that_leave_it_without_pairs_or_kl(settings, says):
    with pytest.raises(HeedError, match=says):
        combined_trainer("modpo", **settings)


def test_no_critics_are_made_and_one_completion_a_prompt_is_refused():
    trainer = combined_trainer("gdpo", advantage="gae")
    assert "critic/error" not in trainer.round()
    with pytest.raises(HeedError, match="at least 2"):
        combined_trainer("gdpo", advantage="gae", completions_per_prompt=1)
