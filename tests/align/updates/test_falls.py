"""A round after which every objective is worse: noticed by the next replies, undone, and gone on from gently."""

import math

import pytest
import torch
from tiny_trainers import tiny_trainer, vowels

from heed.align.updates.falls import FallCheck, by_prompt
from heed.errors import HeedError

NAN = math.nan


def check_with(values, max_fall=2.0):
    weight = torch.nn.Parameter(torch.zeros(1))
    check = FallCheck(torch.optim.AdamW([weight]), [weight], max_fall)
    check.keep(torch.tensor(values))
    return check


def test_a_fall_is_told_in_standard_errors_of_the_difference_of_the_means():
    before = [float(i % 4) for i in range(4_000)]  # mean 1.5, variance 5/4
    error = math.sqrt(2 * (5 / 4) / 4_000)
    check = check_with([before])
    for errors, falls in ((1.98, False), (2.02, True), (-5.0, False)):
        now = [value - errors * error for value in before]
        assert check.fell(torch.tensor([now])) is falls


@pytest.mark.parametrize("count", [2, 3, 8])
def test_of_few_prompts_as_many_rounds_are_taken_for_falls_as_of_many(count):
    """Where nothing changes, a bound of 2 is passed by chance in 2.3% of rounds; a normal quantile passes it in 9%."""
    generator = torch.Generator().manual_seed(0)
    fell = []
    for _ in range(4_000):
        check = check_with(torch.randn(1, count, generator=generator).tolist())
        fell.append(check.fell(torch.randn(1, count, generator=generator)))
    assert 0.006 < sum(fell) / len(fell) < 0.028  # Welch's test of two is on the careful side


def test_one_objective_that_gains_or_holds_lets_the_round_stand():
    check = check_with([[5.0, 6.0], [5.0, 6.0]])
    assert check.fell(torch.tensor([[-5.0, -6.0], [-5.0, -6.0]]))
    assert not check.fell(torch.tensor([[-5.0, -6.0], [5.0, 6.0]]))
    assert not check.fell(torch.tensor([[-5.0, -6.0], [15.0, 16.0]]))


def test_an_objective_that_is_not_scored_twice_in_both_rounds_has_no_say():
    check = check_with([[5.0, 6.0], [NAN, 6.0]])
    assert check.fell(torch.tensor([[-5.0, -6.0], [50.0, 60.0]]))
    assert not check_with([[NAN, 6.0]]).fell(torch.tensor([[-5.0, -6.0]]))
    assert not check_with([[5.0, 6.0]]).fell(torch.tensor([[NAN, -6.0]]))


def test_an_objective_that_is_the_same_constant_in_both_rounds_has_no_say():
    check = check_with([[500.0, 600.0], [1.0, 1.0]])
    assert check.fell(torch.tensor([[-500.0, -600.0], [1.0, 1.0]]))
    assert check.fell(torch.tensor([[-500.0, -600.0], [0.0, 0.0]]))
    assert not check.fell(torch.tensor([[-500.0, -600.0], [2.0, 2.0]]))
    assert not check_with([[1.0, 1.0]]).fell(torch.tensor([[1.0, 1.0]]))


def test_without_a_bound_or_a_round_before_nothing_falls():
    assert not check_with([[5.0, 6.0]], max_fall=0.0).fell(torch.tensor([[-5.0, -6.0]]))
    weight = torch.nn.Parameter(torch.zeros(1))
    assert not FallCheck(torch.optim.AdamW([weight]), [weight], 2.0).fell(torch.tensor([[-5.0, -6.0]]))


def test_going_back_brings_weights_and_moments_and_may_be_done_twice():
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.AdamW([weight], lr=0.1)

    def step():
        weight.grad = torch.randn(3, generator=generator)
        optimizer.step()

    step()
    check = FallCheck(optimizer, [weight], 2.0)
    check.keep(torch.ones(1, 2))
    kept = (weight.detach().clone(), {name: value.clone() for name, value in optimizer.state[weight].items()})
    for share in (0.5, 0.25):
        step()
        assert not torch.equal(weight, kept[0])
        check.go_back()
        assert torch.equal(weight, kept[0]) and check.share == share
        assert all(torch.equal(optimizer.state[weight][name], value) for name, value in kept[1].items())
    for share in (0.5, 1.0, 1.0):
        check.stands()
        assert check.share == share


def test_before_adams_first_step_there_are_no_moments_to_go_back_to():
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    check = FallCheck(optimizer, [weight], 2.0)
    check.keep(torch.ones(1, 2))
    weight.grad = torch.ones(3)
    optimizer.step()
    check.go_back()
    assert weight not in optimizer.state and torch.equal(weight, torch.zeros(3))


def test_values_are_means_of_a_prompts_completions():
    found = by_prompt(torch.tensor([[1.0, 3.0, NAN, NAN], [2.0, NAN, 0.0, 8.0]]), 2)
    torch.testing.assert_close(found, torch.tensor([[2.0, NAN], [2.0, 4.0]]), equal_nan=True)


def constant(completions, **_):
    return [1.0] * len(completions)


class Falling:
    """Rewards that are low in one rollout, whatever is said, and weights as they are when each is scored."""

    def __init__(self, low):
        self.low, self.rolls, self.trainer, self.seen = low, 0, None, []

    def score(self, completions, **_):
        self.rolls += 1
        self.seen.append([p.detach().clone() for p in self.trainer.policy.trainable().values()])
        base = -100.0 if self.rolls == self.low else 0.0
        return [base + len(said) for said in completions]


def test_a_round_that_fell_is_undone_its_replies_drawn_anew_and_the_next_steps_are_half_as_long():
    rewards = Falling(low=2)
    settings = {"max_fall": 3.0, "steps": 3, "warmup_steps": 0, "eval_prompts": 0, "learning_rate": 0.01}
    trainer = rewards.trainer = tiny_trainer([rewards.score], **settings)
    first = trainer.round()
    trainer.step += 1
    assert first["rounds_undone"] == 0 and trainer.optimizer.param_groups[0]["lr"] == 0.01
    second = trainer.round()
    trainer.step += 1
    start, fallen, again = rewards.seen
    assert second["rounds_undone"] == 1 and trainer.optimizer.param_groups[0]["lr"] == 0.005
    assert any(not torch.equal(a, b) for a, b in zip(start, fallen, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(start, again, strict=True))
    assert second["rewards/score/mean"] > 0  # of the replies that were learnt from
    third = trainer.round()
    assert third["rounds_undone"] == 0 and trainer.optimizer.param_groups[0]["lr"] == 0.01


def test_what_was_undone_is_counted_in_the_summary():
    rewards = Falling(low=3)
    settings = {"max_fall": 3.0, "steps": 4, "eval_prompts": 0}
    trainer = rewards.trainer = tiny_trainer([rewards.score], **settings)
    assert trainer.train()["rounds_undone"] == 1 and rewards.rolls == 6  # four rounds, one anew, and a last look


def test_the_last_round_is_looked_at_too():
    rewards = Falling(low=3)
    trainer = rewards.trainer = tiny_trainer([rewards.score], max_fall=3.0, steps=2, eval_prompts=0)
    assert trainer.train()["rounds_undone"] == 1
    before, after = rewards.seen[1], trainer.policy.trainable().values()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_what_a_checkpoint_kept_is_gone_back_to(tmp_path):
    rewards = Falling(low=3)
    settings = {"max_fall": 3.0, "steps": 4, "checkpoint_every": 2, "eval_prompts": 0}
    whole = rewards.trainer = tiny_trainer([rewards.score], run=tmp_path / "run", **settings)
    assert whole.train()["rounds_undone"] == 1
    again = Falling(low=1)  # the first that is drawn after the checkpoint, as it was
    resumed = again.trainer = tiny_trainer([again.score], **settings)
    resumed.restore(tmp_path / "run" / "checkpoints" / "step-2")
    resumed.train()
    for a, b in zip(whole.policy.trainable().values(), resumed.policy.trainable().values(), strict=True):
        assert torch.equal(a, b)


def test_moments_out_of_a_checkpoint_lie_where_their_parameter_does():
    weight = torch.nn.Parameter(torch.zeros(3, device="meta"))
    check = FallCheck(torch.optim.AdamW([weight]), [weight], 2.0)
    moments = {"step": torch.tensor(1.0), "exp_avg": torch.zeros(3)}
    check.restore({"share": 1.0, "kept": {"values": torch.ones(1, 2), "weights": [weight], "moments": [moments]}})
    check.go_back()
    state = check.optimizer.state[weight]
    assert (state["step"].device.type, state["exp_avg"].device.type) == ("cpu", "meta")


def test_where_nothing_falls_the_check_changes_nothing():
    with_check, without = (tiny_trainer(max_fall=bound, steps=3) for bound in (1e6, 0.0))
    for trainer in (with_check, without):
        trainer.train()
    for a, b in zip(with_check.policy.trainable().values(), without.policy.trainable().values(), strict=True):
        assert torch.equal(a, b)


def test_the_kl_counts_so_that_a_policy_that_comes_back_to_its_reference_is_not_held_up():
    """Rewards fall by less than the KL's weight gives back: what is trained rises."""
    trainer = tiny_trainer([constant], kl_beta=1.0)
    replies = trainer.draw(*trainer.prompts.draw(0))
    scored = replies.scored
    scored.logp = scored.reference_logp + 2.0 * scored.sequences.mask
    lengths = scored.sequences.mask.sum(1)
    expected = (1.0 - 2.0 * lengths).unflatten(0, (-1, trainer.config.completions_per_prompt)).mean(1)
    torch.testing.assert_close(trainer.scoring.worth(scored), expected[None])
    trainer.config.normalise_rewards, trainer.scoring.scale.value = True, torch.tensor([3.0])
    torch.testing.assert_close(trainer.scoring.worth(scored), 3 * expected[None])


def test_worth_is_in_the_units_of_the_rewards():
    trainer = tiny_trainer([vowels], normalise_rewards=True)
    replies = trainer.draw(*trainer.prompts.draw(0))
    replies.scored.logp = replies.scored.reference_logp
    expected = replies.rewards.unflatten(1, (-1, trainer.config.completions_per_prompt)).mean(2)
    torch.testing.assert_close(trainer.scoring.worth(replies.scored), expected)


def test_a_negative_bound_is_refused():
    with pytest.raises(HeedError, match="--max-fall"):
        tiny_trainer(max_fall=-1.0)
    with pytest.raises(HeedError, match="one prompt tells no fall from chance"):
        tiny_trainer(max_fall=3.0, prompts_per_step=1)
