"""A round of prompts that carry numbers: who is asked what, what weighs what, and what is learnt behind which."""

import json

import pytest
import torch
from tiny_policies import PROMPTS, TOKENIZER, WORLD, tiny_model
from tiny_trainers import FUNCTIONS, tiny_trainer

from heed.balance import weighting_from_name
from heed.errors import HeedError
from heed.worlds.apothecary.language import render_shares

EVERY_LAYER = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PREFERENCES = [[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]]


def conditioned_trainer(method="conditioned:linear", options=None, **settings):
    through = {} if method == "ric" else {"through": "prompt"}
    weighting = weighting_from_name(method, 2, **{"preferences": 3, **through, **(options or {})})
    settings = {"minibatches": 2, "prompts_per_step": 4, "write": WORLD.write_tag, **settings}
    return tiny_trainer(FUNCTIONS[:2], weighting=weighting, **settings)


def asked_of(rollout):
    """The prompts as the policy saw them."""
    sequences = rollout.sequences
    before = sequences.ids[:, : -sequences.width], sequences.attention[:, : -sequences.width].bool()
    return [TOKENIZER.decode(ids[keep], skip_special_tokens=True) for ids, keep in zip(*before, strict=True)]


def rolled(trainer):
    prompts, columns = trainer.prompts.draw(trainer.step)
    return prompts, trainer.conditioning.roll(trainer.sampler, trainer.step, prompts, trainer.generator, columns)


def test_each_minibatch_s_prompts_carry_one_preference_and_are_judged_without():
    trainer = conditioned_trainer()
    seen = set()
    for trainer.step in range(6):
        prompts, rollout = rolled(trainer)
        assert rollout.prompts == prompts and set(prompts) <= set(PROMPTS)
        first, second = trainer.conditioning.drawn
        assert first != second  # a round's are not drawn twice while there are others
        tags = [render_shares(PREFERENCES[index]).strip() for index in (first, second)]
        expected = [f"{tags[i // 4]} {prompt}" for i, prompt in enumerate(prompts)]
        assert [text.split() for text in asked_of(rollout)] == [text.split() for text in expected]
        seen |= {first, second}
    assert seen == {0, 1, 2}


def test_a_step_takes_the_gradients_of_its_preference_and_weighs_them_by_it(tmp_path):
    trainer = conditioned_trainer(run=tmp_path / "run", epochs=2, steps=3)
    assert [rows.tolist() for rows in trainer.minibatches()] == [[0, 1, 2, 3], [4, 5, 6, 7]] * 2
    for _ in range(3):
        trainer.round()
        trainer.step += 1
    lines = [json.loads(line) for line in (tmp_path / "run" / "balance.jsonl").read_text().splitlines()]
    drawn = []
    for trainer.step in range(3):
        rolled(trainer)
        drawn += trainer.conditioning.drawn * 2
    assert [line["weights"] for line in lines] == [pytest.approx(PREFERENCES[index]) for index in drawn]


def test_values_are_those_of_the_prompts_that_carried_the_preference():
    scale = {"ideal": [9.0, 9.0], "nadir": [-9.0, -9.0], "settle": 0, "average": 0.0}
    trainer = conditioned_trainer("conditioned:tchebycheff", {"inner_settings": scale})
    _, rollout = rolled(trainer)
    rewards = trainer.scoring.rewards(rollout)
    trainer.conditioning.observe(trainer.balancer, rewards)
    for half, index in enumerate(trainer.conditioning.drawn):
        kept = trainer.weighting.weightings[index].values
        torch.testing.assert_close(kept.float(), rewards[:, 4 * half : 4 * half + 4].mean(1))


@pytest.mark.parametrize(("through", "steps"), [("prompt", 40), ("adapter", 20)])
def test_one_policy_learns_to_follow_what_it_is_told(through, steps):
    def long(completions, **_):
        return [float(len(said)) for said in completions]

    def short(completions, **_):
        return [-float(len(said)) for said in completions]

    trainer = tiny_trainer(
        [long, short],
        weighting=weighting_from_name("conditioned:linear", 2, preferences=2, through=through),
        write=WORLD.write_tag,
        adapter={"target_modules": [*EVERY_LAYER, "lm_head"], "r": 16},
        steps=steps,
        minibatches=2,
        prompts_per_step=32,
        completions_per_prompt=4,
        kl_beta=0.0,
        learning_rate=1e-2,
        max_completion_tokens=1,
        eval_prompts=20,
    )
    along = trainer.train()["along"]
    assert [point["preference"] for point in along] == [[0.1, 0.9], [0.9, 0.1]]
    at_short, at_long = (point["values"] for point in along)
    assert at_long["long"] > at_short["long"] + 4
    assert at_short["short"] == pytest.approx(-at_short["long"])


def test_what_is_learnt_stands_behind_the_rewards_that_it_got():
    trainer = conditioned_trainer("ric", {"offline": 1})
    for trainer.step in range(3):
        prompts, rollout = rolled(trainer)
        if trainer.step == 0:
            assert [text.split() for text in asked_of(rollout)] == [
                prompt.replace("?", " ?").split() for prompt in prompts
            ]
        rewards = trainer.scoring.rewards(rollout)
        relabelled = trainer.conditioning.relabelled(rollout, rewards)
        levels = trainer.weighting.levels(rewards).T.tolist()
        expected = [render_shares(level) + prompt for level, prompt in zip(levels, prompts, strict=True)]
        assert [t.split() for t in asked_of(relabelled)] == [t.split() for t in expected]
        assert relabelled.completion_ids == rollout.completion_ids and relabelled.logp is None
        scored = trainer.scoring.measure(relabelled, rewards, trainer.step)
        advantages = trainer.estimator.advantages(scored, [slice(0, 8)])
        assert advantages.tolist() == [trainer.weighting.kept(rewards, 2).double().tolist()]
        if trainer.step == 0:
            assert advantages.min() == 1
    assert trainer.conditioning.shown([prompts[0]], [0.2, 0.8]) == [f"{render_shares([0.25, 1.0])}{prompts[0]}"]


@pytest.mark.parametrize(
    ("method", "options", "settings"),
    [
        ("conditioned:linear", {}, {}),
        ("conditioned:linear", {"through": "adapter"}, {"max_kl": 1e-4, "learning_rate": 0.05}),
        ("ric", {"offline": 1}, {}),
    ],
    ids=["prompt", "adapter, with steps taken back", "ric"],
)
def test_a_resumed_run_is_the_uninterrupted_one(method, options, settings, tmp_path):
    def made(name=None):
        run = None if name is None else tmp_path / name
        return conditioned_trainer(method, options, run=run, steps=4, checkpoint_every=2, **settings)

    whole, halted = made("whole"), made("halted")
    first = whole.train()
    assert not settings or first["steps_halved"] > 0

    def stop(step, _):
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        halted.train(stop)
    halted.journal.run.close()
    fresh = made()
    fresh.restore(tmp_path / "halted" / "checkpoints" / "step-2")
    assert fresh.train()["along"] == first["along"] and len(first["along"]) == 3
    for a, b in zip(fresh.policy.trainable().values(), whole.policy.trainable().values(), strict=True):
        assert torch.equal(a, b)


def test_a_kl_of_its_own_row_is_refused_beside_likelihood():
    with pytest.raises(HeedError, match="learns by likelihood"):
        conditioned_trainer("ric", kl_in="once")


def test_words_that_the_tokenizer_does_not_have_are_refused_before_anything_runs():
    with pytest.raises(HeedError, match="show 1 of the 5 preferences"):
        tiny_trainer(FUNCTIONS[:2], weighting=weighting_from_name("ric", 2), model=tiny_model())
