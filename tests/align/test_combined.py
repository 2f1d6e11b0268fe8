"""Methods that combine rewards, in a whole round: one gradient, that of the combined advantage."""

import json

import pytest
import torch
from tiny_rounds import Round, close
from tiny_trainers import FUNCTIONS, tiny_trainer

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


def test_no_critics_are_made_and_one_completion_a_prompt_is_refused():
    trainer = combined_trainer("gdpo", advantage="gae")
    assert "critic/error" not in trainer.round()
    with pytest.raises(HeedError, match="at least 2"):
        combined_trainer("gdpo", advantage="gae", completions_per_prompt=1)
