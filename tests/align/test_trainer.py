"""One round against the same round written out with autograd; what training does; what stops it, and what stays."""

import copy
import json
import logging
import math

import datasets
import pytest
import torch
from peft import IA3Config, LoHaConfig, PrefixTuningConfig, PromptTuningConfig, VeraConfig
from tiny_policies import PROMPTS, TOKENIZER, a_batch, lora, tiny_model
from tiny_rounds import Round, close
from tiny_trainers import FUNCTIONS, HEAD_TOO, QUICK, length, tiny_trainer, vowels
from transformers import AutoModelForCausalLM, MixtralConfig

from heed.align.config import AlignConfig
from heed.align.models.policy import Policy
from heed.align.objectives.base import ObjectiveSet
from heed.align.objectives.reward_functions import RewardFunction
from heed.align.trainer import AlignTrainer
from heed.balance import GAPO, Linear, SmoothTchebycheff
from heed.balance.cotangents import Cotangents, Term
from heed.errors import HeedError, RunFailed

MIXTURE = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "num_experts_per_tok": 2,
}


class TestTheGradientsAreThoseOfTheLossesWrittenOut:
    @pytest.mark.parametrize("K", [1, 2, 4])
    @pytest.mark.parametrize("micro_batch", [0, 4])
    def test_leave_one_out_and_the_plain_surrogate(self, K, micro_batch):
        round_ = Round(tiny_trainer(FUNCTIONS[:K], micro_batch=micro_batch, temperature=0.8))
        logp, reference = round_.logp(), round_.reference()
        tokens = sum(len(row) for row in logp)
        for k in range(K):
            kl = [(row - ref).sum().detach() for row, ref in zip(logp, reference, strict=True)]
            advantages = round_.against_the_other([round_.rewards[k, b] - 0.1 * kl[b] for b in range(8)])
            objective = sum(a * row.sum() for a, row in zip(advantages, logp, strict=True)) / tokens
            assert close(round_.total[k], round_.gradient(objective))

    def test_a_mean_over_sequences_divides_by_their_number(self):
        round_ = Round(tiny_trainer(average_over="sequences", kl_beta=0.0))
        advantages = round_.against_the_other(round_.rewards[1])
        objective = sum(a * row.sum() for a, row in zip(advantages, round_.logp(), strict=True)) / 8
        assert close(round_.total[1], round_.gradient(objective))

    @pytest.mark.parametrize("surrogate", ["ppo", "cispo"])
    @pytest.mark.parametrize("path", ["factored", "sequential"])
    def test_off_policy_ratios_are_clipped(self, surrogate, path):
        settings = {"surrogate": surrogate, "epochs": 2, "jacobian_path": path, "kl_beta": 0.0}
        round_ = Round(tiny_trainer(FUNCTIONS[:3], **settings), drift=0.3)
        logp, tokens = round_.logp(), int(round_.rollout.sequences.mask.sum())
        clipped = 0
        for k in range(3):
            objective = 0.0
            for b, advantage in enumerate(round_.against_the_other(round_.rewards[k])):
                ratio = (logp[b] - round_.scored.logp[b, : len(logp[b])]).exp()
                held = ratio.clamp(0.8, 1.2)
                clipped += int((held != ratio).sum())
                if surrogate == "ppo":
                    objective = objective + torch.minimum(ratio * advantage, held * advantage).sum() / tokens
                else:
                    objective = objective + (held.detach() * advantage * logp[b]).sum() / tokens
            assert close(round_.total[k], round_.gradient(objective))
        assert clipped > 10

    @pytest.mark.parametrize("kl_in", ["each", "once"])
    def test_the_kl_in_the_loss_is_k3(self, kl_in):
        round_ = Round(tiny_trainer(kl_place="loss", kl_in=kl_in))
        logp, reference = round_.logp(), round_.reference()
        tokens = sum(len(row) for row in logp)
        gaps = [ref - row for row, ref in zip(logp, reference, strict=True)]
        penalty = -0.1 * sum((gap.exp() - gap - 1).sum() for gap in gaps) / tokens
        for k in range(2):
            advantages = round_.against_the_other(round_.rewards[k])
            objective = sum(a * row.sum() for a, row in zip(advantages, logp, strict=True)) / tokens
            assert close(round_.total[k], round_.gradient(objective + penalty if kl_in == "each" else objective))
        if kl_in == "once":
            assert close(round_.total[2], round_.gradient(penalty))

    @pytest.mark.parametrize("kl_in", ["each", "once"])
    def test_the_kl_in_the_loss_leaves_an_objective_alone_that_did_not_score_the_completion(self, kl_in):
        def some(completions, **_):
            return [None if i in (1, 4, 5) else float(len(said)) for i, said in enumerate(completions)]

        round_ = Round(tiny_trainer([some, vowels], kl_place="loss", kl_in=kl_in))
        logp, reference = round_.logp(), round_.reference()
        tokens = sum(len(row) for row in logp)
        gaps = [ref - row for row, ref in zip(logp, reference, strict=True)]
        penalties = [-0.1 * (gap.exp() - gap - 1).sum() / tokens for gap in gaps]
        values = round_.rewards[0]
        assert values.isnan().nonzero().flatten().tolist() == [1, 4, 5]
        surrogate = sum(  # the other completions of prompts 0 and 2 are alone, so their advantage is 0
            (values[b] - values[b ^ 1]) * logp[b].sum() / tokens for b in (2, 3, 6, 7)
        )
        carried = sum(penalties[b] for b in (0, 2, 3, 6, 7)) if kl_in == "each" else 0.0
        assert close(round_.total[0], round_.gradient(surrogate + carried))
        if kl_in == "once":
            assert close(round_.total[2], round_.gradient(sum(penalties)))

    def test_gae_gives_each_token_its_own_advantage(self):
        round_ = Round(tiny_trainer(advantage="gae", surrogate="ppo", gae_lambda=0.9))
        logp, reference = round_.logp(), round_.reference()
        tokens = sum(len(row) for row in logp)
        for k in range(2):
            objective = 0.0
            for b, row in enumerate(logp):
                rewards = -0.1 * (row - reference[b]).detach()
                rewards[-1] += round_.rewards[k, b]
                # Fresh critics say 0 everywhere, so the temporal differences are the rewards.
                advantages = [sum(0.9 ** (s - t) * rewards[s] for s in range(t, len(row))) for t in range(len(row))]
                objective = objective + (torch.stack(advantages) * row).sum() / tokens
            assert close(round_.total[k], round_.gradient(objective))


@pytest.mark.parametrize(
    "settings", [{}, {"advantage": "gae"}, {"kl_place": "loss"}, {"advantage": "gae", "kl_place": "loss"}]
)
def test_with_fixed_weights_it_does_not_matter_whether_each_objective_carries_the_kl_or_it_is_added_once(settings):
    """sum_k w_k (J_k - beta KL) = sum_k w_k J_k - (sum_k w_k) beta KL."""
    weights, found = [0.7, 1.1], []
    for kl_in in ("each", "once"):
        round_ = Round(tiny_trainer(weighting=Linear(weights), kl_in=kl_in, max_grad_norm=0.0, **settings))
        trainer = round_.trainer
        steps = capture_gradients(trainer)
        trainer.update(trainer.balancer.solve(trainer.optimizer))
        found.append(steps[0])
        by_hand = torch.tensor(weights) @ round_.total[:2]
        if kl_in == "once":
            by_hand = by_hand + sum(weights) * round_.total[2]
        assert close(-steps[0], by_hand)
    assert close(found[0], found[1])


def capture_gradients(trainer):
    """The gradient of each optimiser step, in the Jacobian's columns."""
    steps = []

    def note(*_):
        steps.append(torch.cat([p.grad.flatten() for p in trainer.jacobian.parameters.values()]))

    trainer.optimizer.register_step_pre_hook(note)
    return steps


def test_a_step_goes_against_the_weighted_sum_of_the_gradients():
    round_ = Round(tiny_trainer(FUNCTIONS[:2], max_grad_norm=0.0))
    steps = capture_gradients(round_.trainer)
    balance = round_.trainer.balancer.solve(round_.trainer.optimizer)
    said = round_.trainer.update(balance)
    g = round_.total.double()
    by_hand = 0.5 * g[0] / g[0].norm() + 0.5 * g[1] / g[1].norm()  # GAPO, p = 1, K = 2: half and half of unit gradients
    assert close(-steps[0].double(), by_hand)
    assert math.isclose(said, float(by_hand.norm()), rel_tol=1e-4)


def test_the_combined_gradient_is_clipped_after_it_was_balanced():
    round_ = Round(tiny_trainer(weighting=Linear([100.0, 100.0]), max_grad_norm=0.5))
    steps = capture_gradients(round_.trainer)
    said = round_.trainer.update(round_.trainer.balancer.solve(round_.trainer.optimizer))
    assert math.isclose(float(steps[0].norm()), 0.5, rel_tol=1e-4)
    assert close(-steps[0] * said / 0.5, 100 * round_.total.sum(0))


def test_the_first_minibatch_of_an_off_policy_round_has_the_gradient_of_the_on_policy_one():
    whole, off = tiny_trainer(max_grad_norm=0.0), tiny_trainer(max_grad_norm=0.0, epochs=3, surrogate="ppo")
    found = []
    for trainer in (whole, off):
        steps = capture_gradients(trainer)
        trainer.round()
        found.append(steps)
    assert len(found[0]) == 1 and len(found[1]) == 3
    assert close(found[1][0], found[0][0])
    assert not close(found[1][1], found[0][0])


def test_every_epoch_passes_over_all_prompts_in_minibatches_that_keep_their_completions_together():
    trainer = tiny_trainer(epochs=3, minibatches=2, surrogate="ppo")
    rows = [part.tolist() for part in trainer.minibatches()]
    assert len(rows) == 6
    for epoch in range(3):
        assert sorted(rows[2 * epoch] + rows[2 * epoch + 1]) == list(range(8))
    assert all(part[i] + 1 == part[i + 1] and part[i] % 2 == 0 for part in rows for i in range(0, 4, 2))
    assert len({tuple(part) for part in rows}) > 2


@pytest.mark.parametrize(
    "settings",
    [
        {"adapter": HEAD_TOO},
        {"adapter": HEAD_TOO, "advantage": "gae", "surrogate": "ppo", "epochs": 2, "minibatches": 2},
        {"adapter": None},
    ],
)
def test_a_simple_reward_rises(settings):
    def cough(completions, **_):
        return [float(said.split().count("cough")) for said in completions]

    trainer = tiny_trainer(
        [cough, length],
        Linear([1.0, 0.0]),
        **{"steps": 15, "prompts_per_step": 16, "learning_rate": 2e-2, "kl_beta": 0.0, "warmup_steps": 0, **settings},
    )
    means = []
    trainer.train(lambda _, metrics: means.append(metrics["rewards/cough/mean"]))
    assert sum(means[-3:]) / 3 > 1.0 + sum(means[:3]) / 3


class TestOneObjective:
    def test_is_plain_ppo_and_said_once(self, caplog):
        with caplog.at_level(logging.WARNING, "heed"):
            trainer = tiny_trainer([vowels], GAPO(p=2))
            trainer.train()
        assert [r.getMessage() for r in caplog.records if "K = 1" in r.getMessage()] == [
            "K = 1: plain PPO on vowels, there is nothing to balance"
        ]
        assert isinstance(trainer.weighting, Linear)

    def test_keeps_the_length_of_its_gradient(self):
        round_ = Round(tiny_trainer([vowels], max_grad_norm=0.0))
        steps = capture_gradients(round_.trainer)
        balance = round_.trainer.balancer.solve(round_.trainer.optimizer)
        round_.trainer.update(balance)
        assert balance.weights.tolist() == [1.0]
        assert torch.allclose(-steps[0], round_.total[0])


class TestWhatReachesTheRewardFunctions:
    def test_each_completion_comes_with_its_prompt_and_its_rows_other_columns(self):
        calls = []

        def watch(prompts, completions, number, **rest):
            calls.append((prompts, number, rest))
            return [float(n) for n in number]

        tiny_trainer([watch, vowels], steps=3).train()
        assert len(calls) == 5  # before, three rounds, after
        for prompts, number, rest in calls:
            assert [PROMPTS[n] for n in number] == prompts and set(rest) == {"completion_ids"}
        drawn = [n for _, number, _ in calls[1:4] for n in number]
        assert drawn[::2] == drawn[1::2]  # two completions of each
        assert sorted(drawn[:20:2]) == list(range(10))  # all ten before any comes again

    def test_rows_may_lack_a_column(self):
        seen = []

        def watch(completions, dose, **_):
            seen.extend(dose)
            return [1.0] * len(completions)

        rows = [{"prompt": PROMPTS[0], "dose": 3}, {"prompt": PROMPTS[1]}]
        tiny_trainer([watch, vowels], dataset=rows, steps=1, eval_prompts=0).train()
        assert set(seen) == {3, None}

    def test_evaluations_take_the_prompts_that_they_are_given_with_their_columns(self):
        seen = []

        def watch(prompts, completions, number, **_):
            seen.append((tuple(prompts), tuple(number)))
            return [1.0] * len(completions)

        trainer = AlignTrainer(
            tiny_model(),
            [RewardFunction(watch)],
            dataset=[{"prompt": PROMPTS[0], "number": 0}],
            config=tiny_trainer().config,
            tokenizer=TOKENIZER,
            eval_prompts=[{"prompt": PROMPTS[7], "number": 7}],
        )
        trainer.evaluate()
        assert seen == [((PROMPTS[7],) * 2, (7, 7))]


def test_the_policy_reads_a_prompts_tools_in_rounds_and_in_evaluations():
    tokenizer, rolled = copy.deepcopy(TOKENIZER), []
    tokenizer.chat_template = "{% for t in tools or [] %}{{ t.name }} {% endfor %}{{ messages[0].content }}"
    rows = [{"prompt": [{"role": "user", "content": PROMPTS[0]}], "tools": tools} for tools in ([{"name": "sage"}], [])]
    trainer = AlignTrainer(
        tiny_model(),
        [RewardFunction(lambda completions: [float(len(said[0]["content"])) for said in completions], name="long")],
        dataset=rows,
        config=tiny_trainer(prompts_per_step=2).config,
        tokenizer=tokenizer,
    )
    roll = trainer.sampler.roll
    trainer.sampler.roll = lambda *given: rolled.append(roll(*given)) or rolled[-1]
    trainer.evaluate()
    trainer.round()
    plain, sage = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (PROMPTS[0], "sage"))
    assert len(rolled) == 2
    for sequences in (rollout.sequences for rollout in rolled):
        before = slice(None, -sequences.width)
        rows = zip(sequences.ids[:, before], sequences.attention[:, before].bool(), strict=True)
        assert sorted(ids[kept].tolist() for ids, kept in rows) == sorted([plain, sage + plain] * 2)


class TestABadReward:
    """Stops before the step: weights, optimiser and the last checkpoint are as they were."""

    BAD = {
        "raises": lambda completions: 1 / 0,
        "returns too few": lambda completions: [1.0] * (len(completions) - 1),
        "returns nan": lambda completions: [math.nan] * len(completions),
        "returns inf": lambda completions: [math.inf] + [1.0] * (len(completions) - 1),
    }

    @pytest.mark.parametrize("kind", BAD)
    def test_is_refused_before_the_step(self, kind, tmp_path):
        calls = []

        def treacherous(completions, **_):
            calls.append(1)
            return vowels(completions) if len(calls) <= 3 else self.BAD[kind](completions)  # before, and two rounds

        trainer = tiny_trainer([treacherous, length], run=tmp_path / "run", steps=5, checkpoint_every=2)
        weights = []

        def note(*_):
            weights.append([p.detach().clone() for p in trainer.policy.trainable().values()])

        with pytest.raises(HeedError, match="treacherous") as error:
            trainer.train(note)
        assert "\n" not in str(error.value)
        assert len(weights) == 2 and trainer.step == 2
        after = trainer.policy.trainable().values()
        assert all(torch.equal(a, b) for a, b in zip(weights[-1], after, strict=True))
        assert trainer.journal.last_checkpoint().name == "step-2"

    @pytest.mark.parametrize("advantage", ["gae", "leave_one_out", "group"])
    def test_unscored_completions_change_neither_the_other_objectives_nor_their_own_mean(self, advantage):
        scored = []

        def some(completions, **_):
            values = [None if i % 3 == 0 else float(len(text)) for i, text in enumerate(completions)]
            scored.append([value for value in values if value is not None])
            return values

        trainer, whole = (tiny_trainer([some, vowels], advantage=advantage, steps=1) for _ in range(2))
        all_scored = RewardFunction(lambda completions, **_: [1.0] * len(completions), name="some")
        whole.scoring.objectives = ObjectiveSet([all_scored, RewardFunction(vowels)])
        gradients = [Round(each).total for each in (trainer, whole)]
        assert close(gradients[0][1], gradients[1][1]) and not close(gradients[0][0], gradients[1][0])
        metrics = trainer.round()
        assert metrics["rewards/some/mean"] == pytest.approx(sum(scored[-1]) / len(scored[-1]))
        assert all(p.isfinite().all() for p in trainer.policy.trainable().values())


@pytest.mark.parametrize("where", ["a gradient", "the row of the kl"])
def test_a_gradient_that_is_not_finite_stops_the_run_before_the_step(where, tmp_path):
    trainer = tiny_trainer(run=tmp_path / "run", steps=3, checkpoint_every=1, kl_in="once", kl_place="loss")
    trainer.train(lambda step, _: setattr(trainer.config, "steps", 1))  # one good round
    before = [p.detach().clone() for p in trainer.policy.trainable().values()]
    trainer.config.steps = 3
    advantages = trainer.estimator.advantages

    def spoilt(*arguments):
        rows = advantages(*arguments)
        rows[0 if where == "a gradient" else 2, 5] = math.nan
        return rows

    trainer.estimator.advantages = spoilt
    with pytest.raises(RunFailed, match="not finite") as failed:
        trainer.train()
    assert failed.value.checkpoint.name == "step-1"
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.policy.trainable().values(), strict=True))


class TestTheRunFolder:
    NAMES = ("vowels", "length")

    @pytest.fixture
    def run(self, tmp_path):
        settings = {"steps": 4, "eval_every": 2, "log_completions_every": 2, "micro_batch": 4, "checkpoint_every": 3}
        trainer = tiny_trainer(run=tmp_path / "run", **settings)
        self.summary = trainer.train()
        return tmp_path / "run"

    def lines(self, run, name):
        return [json.loads(line) for line in (run / name).read_text().splitlines()]

    def test_metrics_have_their_names_in_every_round(self, run):
        metrics = self.lines(run, "metrics.jsonl")
        assert [line["step"] for line in metrics] == [0, 1, 2, 3, 4]
        per_objective = ("rewards/{}/mean", "rewards/{}/std", "weights/{}", "norm/{}", "signal/{}")
        wanted = {form.format(name) for form in per_objective for name in self.NAMES}
        wanted |= {"kl", "entropy", "cosine/vowels~length", "direction/norm", "clip_ratio", "completions/mean_length"}
        wanted |= {"tokens_per_second", "seconds/step", "seconds/generation", "seconds/gradients"}
        for line in metrics[1:]:
            assert wanted <= set(line)
            assert all(isinstance(line[name], float) for name in wanted)
        for line in metrics:
            assert ("eval/rewards/vowels" in line) == (line["step"] % 2 == 0)

    def test_balance_has_a_line_a_round(self, run):
        balance = self.lines(run, "balance.jsonl")
        assert [line["step"] for line in balance] == [1, 2, 3, 4]
        keys = {"step", "minibatch", "names", "gram", "weights", "norms", "cosines", "predicted", "signal"}
        metrics = self.lines(run, "metrics.jsonl")[1:]
        for line, logged in zip(balance, metrics, strict=True):
            assert set(line) == keys and line["names"] == list(self.NAMES)
            gram = torch.tensor(line["gram"], dtype=torch.float64)
            weights = torch.tensor(line["weights"], dtype=torch.float64)
            assert torch.allclose(gram @ weights, torch.tensor(line["predicted"], dtype=torch.float64))
            assert math.isclose(float(weights @ gram @ weights) ** 0.5, logged["direction/norm"], rel_tol=1e-4)
            assert logged["weights/length"] == line["weights"][1]

    def test_completions_are_kept_before_after_and_on_the_way(self, run):
        tables = {
            path.stem: datasets.Dataset.from_parquet(str(path)) for path in (run / "completions").glob("*.parquet")
        }
        assert set(tables) == {"before", "after", "step-000002", "step-000004"}
        columns = {"step", "prompt", "completion", "rewards/vowels", "rewards/length"}
        assert all(set(table.column_names) == columns for table in tables.values())
        assert (
            list(tables["before"]["prompt"]) == list(tables["after"]["prompt"]) == [PROMPTS[0]] * 2 + [PROMPTS[1]] * 2
        )
        said = list(tables["step-000002"]["completion"])
        assert list(tables["step-000002"]["rewards/vowels"]) == vowels(said)
        assert set(tables["step-000002"]["step"]) == {2} and len(said) == 8

    def test_balance_has_a_line_for_every_minibatch_of_a_round(self, tmp_path):
        steps = []
        trainer = tiny_trainer(run=tmp_path / "run", epochs=2, minibatches=2, surrogate="ppo", max_grad_norm=0.0)
        solve = trainer.balancer.solve
        trainer.balancer.solve = lambda optimizer: steps.append(solve(optimizer)) or steps[-1]
        trainer.train()
        balance = self.lines(tmp_path / "run", "balance.jsonl")
        assert [(line["step"], line["minibatch"]) for line in balance] == [(s, m) for s in (1, 2) for m in (1, 2, 3, 4)]
        assert [line["gram"] for line in balance] == [found.gram.tolist() for found in steps]
        last = [line["weights/vowels"] for line in self.lines(tmp_path / "run", "metrics.jsonl")[1:]]
        assert last == [line["weights"][0] for line in balance if line["minibatch"] == 4]

    def test_the_summary_tells_the_objectives_units(self, tmp_path):
        objectives = [RewardFunction(vowels, unit="letters", sign=-1, scale=0.5), RewardFunction(length)]
        summary = tiny_trainer(objectives, run=tmp_path / "run", steps=1).train()
        units = {name: found["unit"] for name, found in summary["objectives"].items()}
        assert units == {"vowels": "letters x -0.5", "length": ""}
        assert json.loads((tmp_path / "run" / "summary.json").read_text())["objectives"] == summary["objectives"]

    def test_the_summary_keeps_its_contract(self, run):
        summary = json.loads((run / "summary.json").read_text())
        common = {"kind", "method", "seed", "steps", "seconds", "version", "config_hash", "completed"}
        assert common | {"objectives", "kl", "generated_tokens_per_second", "gradient_seconds_share"} <= set(summary)
        assert (summary["kind"], summary["steps"], summary["completed"]) == ("align", 4, True)
        metrics = self.lines(run, "metrics.jsonl")
        for name in self.NAMES:
            found = summary["objectives"][name]
            assert found["proxy"] == metrics[-1][f"eval/rewards/{name}"] and found["gold"] is None
            assert found["start"] == metrics[0][f"eval/rewards/{name}"]
        assert summary["kl"] == metrics[-1]["kl"]
        assert 0 < summary["gradient_seconds_share"] < 1 and summary["generated_tokens_per_second"] > 0

    def test_without_evaluations_the_summary_tells_of_the_training_batches(self, tmp_path):
        seen = []
        trainer = tiny_trainer(run=tmp_path / "run", eval_prompts=0)
        summary = trainer.train(lambda _, metrics: seen.append(metrics["rewards/vowels/mean"]))
        assert summary["objectives"]["vowels"]["start"] == seen[0]
        assert summary["objectives"]["vowels"]["proxy"] == seen[-1]


def test_evaluating_more_often_does_not_change_the_training():
    often, seldom = tiny_trainer(steps=3, eval_every=1), tiny_trainer(steps=3, eval_prompts=0)
    often.train()
    seldom.train()
    for a, b in zip(often.policy.trainable().values(), seldom.policy.trainable().values(), strict=True):
        assert torch.equal(a, b)


def test_the_seed_decides_everything():
    def final(seed):
        trainer = tiny_trainer(seed=seed)
        trainer.train()
        return torch.cat([p.detach().flatten() for p in trainer.policy.trainable().values()])

    assert torch.equal(final(1), final(1)) and not torch.equal(final(1), final(2))


def test_rewards_are_brought_to_unit_deviation_where_that_is_wanted_and_a_constant_objective_is_left_alone():
    def constant(completions, **_):
        return [7.0] * len(completions)

    def huge(completions, **_):
        return [1000.0 * value for value in vowels(completions)]

    trainer = tiny_trainer([huge, constant], normalise_rewards=True)
    round_ = Round(trainer)
    assert math.isclose(float(round_.scored.rewards[0].std(correction=0)), 1.0, rel_tol=1e-5)
    assert round_.scored.rewards[1].tolist() == [7.0] * 8
    trainer.train()
    assert all(p.isfinite().all() for p in trainer.policy.trainable().values())


class TestPrompts:
    def refused(self, match, **settings):
        with pytest.raises(HeedError, match=match) as error:
            tiny_trainer(**settings)
        assert "\n" not in str(error.value)

    def test_none_are_refused(self):
        with pytest.raises(HeedError, match="there are no prompts"):
            AlignTrainer(tiny_model(), [RewardFunction(vowels)], dataset=[], tokenizer=TOKENIZER)

    def test_rows_without_the_column_are_refused_with_their_number(self):
        self.refused("no column 'prompt' .row 1", dataset=[{"prompt": "fever ?"}, {"question": "gout ?"}])

    def test_a_prompt_longer_than_the_context_is_refused_with_its_number(self):
        self.refused("prompt 1 has 81 tokens", dataset=[{"prompt": "fever ?"}, {"prompt": "fever " * 80}])

    def test_which_prompts_a_step_gets_follows_from_the_seed_and_the_step_alone(self):
        first, second = tiny_trainer().prompts, tiny_trainer().prompts
        drawn = [first.draw(step) for step in range(6)]
        assert [second.draw(step) for step in reversed(range(6))] == drawn[::-1]
        assert tiny_trainer(seed=1).prompts.draw(0) != drawn[0]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_that_are_recomputed_give_the_same_gradients(checkpointing):
    expected = Round(tiny_trainer(gradient_checkpointing=False)).total
    assert close(Round(tiny_trainer(gradient_checkpointing=checkpointing)).total, expected)


def test_adapters_on_fused_experts_have_autograds_gradients_where_activations_are_recomputed(caplog):
    """Off policy two terms would be one vectorised backward, in which peft cannot rewrite such modules."""
    config = MixtralConfig(vocab_size=len(TOKENIZER), num_local_experts=4, max_position_embeddings=64, **MIXTURE)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
    trainer = AlignTrainer(
        model,
        [RewardFunction(vowels), RewardFunction(length)],
        dataset=PROMPTS[:8],
        config=AlignConfig(**{**QUICK, "surrogate": "ppo", "epochs": 2, "gradient_checkpointing": True}),
        tokenizer=TOKENIZER,
        peft_config=lora(target_modules=["q_proj"], target_parameters=["mlp.experts.gate_up_proj"]),
    )
    policy, batch, generator = trainer.policy, a_batch(8), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    shared, shares = torch.randn(2, *batch.mask.shape, generator=generator), torch.rand(2, 2, 8, generator=generator)
    terms = Cotangents(tuple(Term(shared[r] * batch.mask, shares[r]) for r in range(2)))
    trainer.jacobian.accumulate(lambda rows: policy.logp(batch if rows is None else batch.rows(rows)), lambda _: terms)
    for found, cotangent in zip(trainer.jacobian.total(), terms.dense(), strict=True):
        expected = torch.autograd.grad(policy.logp(batch), list(policy.trainable().values()), cotangent)
        assert torch.allclose(found, torch.cat([gradient.flatten() for gradient in expected]), atol=1e-5)
    assert caplog.text.count("K backwards") == 1 and "4 of 8 parameters" in caplog.text
    assert "cannot be vectorised" not in caplog.text


OTHER_ADAPTERS = {
    "DoRA": (lora(use_dora=True, target_modules=["q_proj", "down_proj"]), 12, 12),
    "DoRA beside a whole layer": (lora(use_dora=True, target_modules=["q_proj"], modules_to_save=["lm_head"]), 6, 7),
    "IA3": (IA3Config(target_modules=["v_proj"], feedforward_modules=[], task_type="CAUSAL_LM"), 2, 2),
    "LoHa": (LoHaConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"), 8, 8),
    "VeRA": (VeraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"), 4, 4),
}


@pytest.mark.parametrize("name", OTHER_ADAPTERS)
def test_adapters_that_are_not_factored_say_once_at_the_start_how_many_take_k_backwards(name, caplog):
    config, apart, trained = OTHER_ADAPTERS[name]
    settings = AlignConfig(**{**QUICK, "surrogate": "ppo", "epochs": 2})
    functions = [RewardFunction(vowels), RewardFunction(length)]
    trainer = AlignTrainer(tiny_model(), functions, None, PROMPTS[:8], settings, TOKENIZER, config)
    assert caplog.text.count("K backwards") == 1 and f"{apart} of {trained} parameters" in caplog.text
    policy, batch, generator = trainer.policy, a_batch(8), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    terms = Cotangents((Term(torch.randn(*batch.mask.shape, generator=generator) * batch.mask, torch.rand(2, 8)),))
    trainer.jacobian.accumulate(lambda rows: policy.logp(batch if rows is None else batch.rows(rows)), lambda _: terms)
    for found, cotangent in zip(trainer.jacobian.total(), terms.dense(), strict=True):
        expected = torch.autograd.grad(policy.logp(batch), list(policy.trainable().values()), cotangent)
        assert torch.allclose(found, torch.cat([gradient.flatten() for gradient in expected]), atol=1e-5)
    trainer.round()
    assert caplog.text.count("K backwards") == 1


@pytest.mark.parametrize("kind", [PromptTuningConfig, PrefixTuningConfig])
def test_what_is_no_adapter_of_the_model_is_refused(kind):
    with pytest.raises(HeedError, match=f"is no adapter .{kind.__name__}.: give a LoraConfig"):
        Policy(tiny_model(), TOKENIZER, kind(num_virtual_tokens=2, task_type="CAUSAL_LM"))


def test_the_entropy_bonus_is_counted_in_each_objectives_own_deviations_and_falls_to_nothing():
    trainer = tiny_trainer(FUNCTIONS[:2], entropy_beta=0.5, steps=4, cooldown_steps=1)
    prompts, columns = trainer.prompts.draw(0)
    rollout = trainer.sampler.roll(prompts, trainer.generator, columns)
    rewards = torch.tensor([[1.0, 3.0], [10.0, 50.0]]).repeat(1, len(prompts) // 2)
    found = []
    for step in range(4):
        trainer.scoring.observe(rewards)
        found.append(trainer.scoring.measure(rollout, rewards, step).entropy)
    for step, left in enumerate((1.0, 2 / 3, 1 / 3, 0.0)):
        torch.testing.assert_close(found[step], 0.5 * left * torch.tensor([1.0, 20.0]))
    trainer.scoring.scale.value.zero_()
    assert torch.equal(trainer.scoring.measure(rollout, rewards, 3).rewards, rewards)  # which stay in their own units
    assert tiny_trainer(FUNCTIONS[:2]).scoring.measure(rollout, rewards, 0).entropy is None


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"advantage": "gae", "surrogate": "ppo"},
        {"normalise_rewards": True, "entropy_beta": 0.01, "kl_place": "loss", "kl_in": "once"},
        {"weighting": SmoothTchebycheff([0.5, 0.5], ideal=[8.0, 8.0], nadir=[0.0, 0.0], settle=0)},
    ],
    ids=["group", "critics", "scaled", "tchebycheff"],
)
def test_an_objective_that_scores_nothing_of_a_batch_gets_no_gradient_and_the_run_goes_on(settings, caplog, tmp_path):
    def of_one_task(completions, number, **_):
        return [float(len(said)) if place == 0 else None for said, place in zip(completions, number, strict=True)]

    trainer = tiny_trainer([of_one_task, vowels], run=tmp_path / "run", steps=6, eval_prompts=0, **settings)
    seen = []
    trainer.train(lambda step, metrics: seen.append(metrics))
    silent = [line for line in seen if line["rewards/of_one_task/scored"] == 0]
    assert len(silent) == 4 and len(seen) == 6  # 4 of 10 prompts a step
    for line in silent:
        assert line["norm/of_one_task"] == 0 and line["norm/vowels"] > 0
        assert math.isnan(line["rewards/of_one_task/mean"])
        assert settings or line["weights/of_one_task"] == 0
    scored = [line for line in seen if line not in silent]
    assert all(line["norm/of_one_task"] > 0 and line["rewards/of_one_task/scored"] == 0.25 for line in scored)
    assert all(bool(p.isfinite().all()) for p in trainer.policy.trainable().values())
    said = "objective of_one_task scored none of a batch of 8 completions; it has no gradient then (said once)"
    assert [record.getMessage() for record in caplog.records if "scored none" in record.getMessage()] == [said]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["objectives"]["of_one_task"]["proxy"] == pytest.approx(scored[-1]["rewards/of_one_task/mean"])


def test_reward_functions_get_each_completions_tokens_as_trl_gives_them():
    seen = []

    def short(completions, completion_ids):
        seen.append((completions, completion_ids))
        return [-float(len(ids)) for ids in completion_ids]

    tiny_trainer([short, vowels], steps=1).train()
    assert len(seen) == 3  # the evaluation before and after, and a round
    for completions, ids in seen:
        assert [TOKENIZER.decode(row, skip_special_tokens=True) for row in ids] == completions
    ends = {row[-1] for _, ids in seen for row in ids if len(row) < 6}
    assert ends == {TOKENIZER.eos_token_id}
