import json
import logging
import math
import random

import pytest
import torch
from peft import LoraConfig
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from heed.align.objectives.reward_models import HeadSpec, ManyHeadedRewardModel, RewardModel
from heed.align.preferences.reward_training import (
    RewardTrainingConfig,
    _scores,
    bradley_terry_loss,
    collate_comparisons,
    encode_comparison,
    train_reward_model,
)
from heed.errors import HeedError

REMEDIES = ("tea", "rest", "honey", "mint", "sage")
CONFIG = RewardTrainingConfig(epochs=4, batch_size=32, learning_rate=3e-3, held_out=0.2, warmup_steps=2)
BRIEF = RewardTrainingConfig(epochs=1, batch_size=16, learning_rate=1e-3)


def side(left, right):
    return "tie" if left == right else "left" if left > right else "right"


def comparisons(count, seed=0):
    """Noiseless: more tea is better help, fewer words cost less."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        left, right = (" ".join(draw.choices(REMEDIES, k=draw.randint(1, 6))) for _ in range(2))
        verdicts = {
            "help": side(left.count("tea"), right.count("tea")),
            "price": side(-len(left.split()), -len(right.split())),
        }
        rows.append({"prompt": draw.choice(["fever ?", "cough ?"]), "left": left, "right": right, "verdicts": verdicts})
    return rows


def hand_computed(winner, loser, margin):
    return -math.log(1 / (1 + math.exp(-(winner - loser - margin))))


def test_the_loss_is_the_hand_computed_one_with_margins():
    left = torch.tensor([[0.3, -1.0], [2.0, 0.5]])
    right = torch.tensor([[0.1, 0.4], [-0.5, 0.7]])
    verdicts = torch.tensor([[1.0, -1.0], [-1.0, 0.0]])
    margins = torch.tensor([[0.0, 0.5], [1.5, 9.0]])
    expected = [hand_computed(0.3, 0.1, 0), hand_computed(0.4, -1.0, 0.5), hand_computed(-0.5, 2.0, 1.5)]
    assert bradley_terry_loss(left, right, verdicts, margins).item() == pytest.approx(sum(expected) / 3, rel=1e-6)


def test_ties_and_skips_contribute_nothing():
    left, right = torch.randn(2, 4, 2, generator=torch.Generator().manual_seed(0))
    left.requires_grad_()
    verdicts = torch.tensor([[1.0, 0.0], [0.0, 0.0], [-1.0, 1.0], [0.0, -1.0]])
    margins = torch.zeros(4, 2)
    decided = verdicts != 0
    loss = bradley_terry_loss(left, right, verdicts, margins)
    alone = bradley_terry_loss(
        left[decided][:, None], right[decided][:, None], verdicts[decided][:, None], margins[decided][:, None]
    )
    assert torch.allclose(loss, alone)
    loss.backward()
    assert torch.equal(left.grad != 0, decided)
    assert bradley_terry_loss(left, right, torch.zeros(4, 2), margins).item() == 0.0


def test_left_and_right_are_the_halves_of_a_batch_and_verdicts_the_signs(tokenizer_of):
    tokenizer = tokenizer_of()
    rows = [
        {"prompt": "fever ?", "left": "tea", "right": "rest .", "verdicts": {"help": "right", "price": "tie"}},
        {
            "prompt": "cough ?",
            "left": "mint",
            "right": "sage",
            "verdicts": {"price": "left"},
            "margins": {"price": 0.5},
        },
    ]
    batch = collate_comparisons([encode_comparison(row, ["price", "help"], tokenizer) for row in rows], 0)
    texts = [tokenizer.decode(row, skip_special_tokens=True) for row in batch["input_ids"]]
    assert texts == ["fever ? tea", "cough ? mint", "fever ? rest .", "cough ? sage"]
    assert batch["verdicts"].tolist() == [[0.0, -1.0], [1.0, 0.0]]
    assert batch["margins"].tolist() == [[0.0, 0.0], [0.5, 0.0]]


def test_the_first_steps_loss_is_that_of_the_heads_scores(tokenizer_of, causal_model_of, tmp_path):
    rows = [row for row in comparisons(40) if "tie" not in row["verdicts"].values()][:16]
    for row in rows:
        row["margins"] = {"price": 0.7}
    losses = []
    quiet = RewardTrainingConfig(
        epochs=1, batch_size=16, learning_rate=1e-12, held_out=0.0, centre=False, warmup_steps=0
    )
    train_reward_model(
        causal_model_of(),
        tokenizer_of(),
        rows,
        ["help", "price"],
        tmp_path / "rm",
        quiet,
        on_step=lambda *s: losses.append(s),
    )
    judge = ManyHeadedRewardModel(tmp_path / "rm", [HeadSpec("help", 0), HeadSpec("price", 1)])
    prompts = [row["prompt"] for row in rows]
    left, right = (judge.score(prompts, [row[key] for row in rows], {}) for key in ("left", "right"))
    expected = 0.0
    for index, row in enumerate(rows):
        for column, (name, margin) in enumerate({"help": 0.0, "price": 0.7}.items()):
            gap = float(left[index, column] - right[index, column])
            expected += hand_computed(gap if row["verdicts"][name] == "left" else -gap, 0.0, margin)
    assert losses == [(1, 1, pytest.approx(expected / 32, rel=1e-4))]


@pytest.mark.parametrize(("precision", "error"), [("float32", 1e-5), ("bfloat16", 0.005)])
def test_scores_come_in_the_order_of_the_comparisons_and_in_the_trainings_precision(
    tokenizer_of, causal_model_of, tmp_path, precision, error
):
    """They are made in batches of like lengths, which is another order."""
    tokenizer, rows = tokenizer_of(), comparisons(40)
    train_reward_model(causal_model_of(), tokenizer, rows, ["help", "price"], tmp_path / "rm", BRIEF)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm")
    read = [encode_comparison(row, ["help", "price"], tokenizer) for row in rows]
    both = _scores(model, read, RewardTrainingConfig(batch_size=7, precision=precision))
    for scores, key in zip(both, ("left", "right"), strict=True):
        alone = torch.cat([model(torch.tensor([row[key]])).logits.detach() for row in read])
        assert scores.dtype == torch.float32 and torch.allclose(scores, alone, atol=error)
        assert torch.allclose(scores, alone, atol=1e-5) == (precision == "float32")
        assert float(alone.std()) > 5 * error  # or any order would do


@pytest.mark.parametrize("family", ["mistral", "gpt2"])
def test_two_objectives_are_learnt_by_two_heads(tokenizer_of, causal_model_of, tmp_path, family):
    rows = comparisons(800)
    report = train_reward_model(
        causal_model_of(family), tokenizer_of(), rows, ["help", "price"], tmp_path / "rm", CONFIG
    )
    assert report.accuracy["help"] > 0.9
    assert report.accuracy["price"] > 0.9
    for name in ("help", "price"):
        ties = sum(row["verdicts"][name] == "tie" for row in rows)
        assert report.ties[name] == ties
        assert report.trained[name] + report.held_out[name] == len(rows) - ties
    judge = ManyHeadedRewardModel(report.path, [HeadSpec("help", "help"), HeadSpec("price", "price")])
    scores = judge.score(["fever ?"] * 3, ["rest sage", "tea tea", "rest sage rest sage"], {})
    assert scores[1, 0] > scores[0, 0] + 1  # tea helps
    assert scores[0, 1] > scores[2, 1] + 1  # words cost
    assert abs(scores[1, 0] - scores[0, 0]) > 2 * abs(scores[1, 1] - scores[0, 1])  # and tea costs no more


def test_a_head_without_a_verdict_gets_no_gradient(tokenizer_of, judge_folder_of):
    _, model = judge_folder_of(heads=("help", "price"))
    rows = [{**row, "verdicts": {"help": row["verdicts"]["help"], "price": "skip"}} for row in comparisons(8)]
    batch = collate_comparisons([encode_comparison(row, ["help", "price"], tokenizer_of()) for row in rows], 0)
    left, right = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits.chunk(2)
    bradley_terry_loss(left, right, batch["verdicts"], batch["margins"]).backward()
    assert model.score.weight.grad[0].norm() > 0
    assert torch.equal(model.score.weight.grad[1], torch.zeros(32))


def test_an_objective_on_which_nothing_decides_is_refused(tokenizer_of, causal_model_of, tmp_path):
    rows = [{**row, "verdicts": {**row["verdicts"], "price": "tie"}} for row in comparisons(8)]
    with pytest.raises(HeedError, match=r"none of 8 comparisons decides on objective 'price' .*judge help, price"):
        train_reward_model(causal_model_of(), tokenizer_of(), rows, ["help", "price"], tmp_path / "rm", BRIEF)
    assert not (tmp_path / "rm").exists()


def test_scores_are_centred_on_the_training_completions_and_order_is_kept(tokenizer_of, causal_model_of, tmp_path):
    rows = comparisons(200)
    config = RewardTrainingConfig(epochs=1, batch_size=32, learning_rate=1e-3, held_out=0.0)
    report = train_reward_model(causal_model_of(), tokenizer_of(), rows, ["help"], tmp_path / "rm", config)
    decided = [row for row in rows if row["verdicts"]["help"] != "tie"]
    prompts, texts = [row["prompt"] for row in decided] * 2, [row[key] for key in ("left", "right") for row in decided]
    centred = RewardModel(report.path).score(prompts, texts, {})[:, 0]
    assert centred.mean().abs() < 1e-5
    assert json.loads((report.path / "config.json").read_text())["heed_shift"] == [report.shift["help"]]
    plain = AutoModelForSequenceClassification.from_pretrained(report.path)
    tokenizer = AutoTokenizer.from_pretrained(report.path)
    with torch.no_grad():
        raw = plain(torch.tensor([tokenizer(f"{prompts[0]} {texts[0]}")["input_ids"]])).logits[0, 0]
    assert torch.allclose(raw - report.shift["help"], centred[0], atol=1e-6)


def test_one_seed_gives_one_model_and_the_base_stays_as_it_was(tokenizer_of, causal_model_of, tmp_path):
    base = causal_model_of()
    before = {name: value.clone() for name, value in base.state_dict().items()}

    def train(folder, seed):
        config = RewardTrainingConfig(epochs=1, batch_size=16, learning_rate=1e-3, seed=seed)
        report = train_reward_model(base, tokenizer_of(), comparisons(64), ["help"], tmp_path / folder, config)
        return AutoModelForSequenceClassification.from_pretrained(report.path).state_dict()

    state = torch.get_rng_state()
    one, same, other = train("one", 0), train("same", 0), train("other", 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["score.weight"], other["score.weight"])
    assert all(torch.equal(before[name], value) for name, value in base.state_dict().items())


def test_a_saved_base_gives_the_same_model_as_the_one_in_memory(tokenizer_of, causal_model_of, tmp_path):
    base = causal_model_of()
    base.save_pretrained(tmp_path / "base")
    still = RewardTrainingConfig(epochs=1, learning_rate=1e-12, centre=False)
    loaded = []
    for name, source in {"folder": tmp_path / "base", "memory": base}.items():
        report = train_reward_model(source, tokenizer_of(), comparisons(8), ["help"], tmp_path / name, still)
        loaded.append(AutoModelForSequenceClassification.from_pretrained(report.path))
    for (name, one), other in zip(loaded[0].named_parameters(), loaded[1].parameters(), strict=True):
        assert name == "score.weight" or torch.allclose(one, other), name
    assert loaded[0].config.architectures == ["MistralForSequenceClassification"]


def test_an_adapter_is_merged_into_a_plain_model(tokenizer_of, causal_model_of, tmp_path):
    adapter = LoraConfig(r=8, target_modules="all-linear", lora_alpha=32)
    config = RewardTrainingConfig(epochs=3, batch_size=32, learning_rate=5e-3, held_out=0.2)
    report = train_reward_model(
        causal_model_of(), tokenizer_of(), comparisons(600), ["help"], tmp_path / "rm", config, peft_config=adapter
    )
    assert report.accuracy["help"] > 0.85
    assert json.loads((report.path / "config.json").read_text())["heed_form"] == "texts"
    fresh = [{**row, "verdicts": {"help": row["verdicts"]["help"]}} for row in comparisons(100, seed=5)]
    judge = RewardModel(report.path)
    prompts = [row["prompt"] for row in fresh]
    left, right = (judge.score(prompts, [row[key] for row in fresh], {})[:, 0] for key in ("left", "right"))
    decided = torch.tensor([row["verdicts"]["help"] != "tie" for row in fresh])
    wins = torch.tensor([row["verdicts"]["help"] == "left" for row in fresh])
    assert ((left > right) == wins)[decided].float().mean() > 0.85


def test_training_prints_nothing(tokenizer_of, causal_model_of, tmp_path, capfd):
    train_reward_model(causal_model_of(), tokenizer_of(), comparisons(32), ["help"], tmp_path / "rm", BRIEF)
    assert capfd.readouterr() == ("", "")


def test_faults_are_said_before_training(tokenizer_of, causal_model_of, tmp_path):
    model, tokenizer, rows = causal_model_of(), tokenizer_of(), comparisons(8)
    with pytest.raises(HeedError, match=r"the objectives are help, help .*: give each name once"):
        train_reward_model(model, tokenizer, rows, ["help", "help"], tmp_path / "rm")
    with pytest.raises(HeedError, match="there is no base model"):
        train_reward_model(tmp_path / "none", tokenizer, rows, ["help"], tmp_path / "rm")
    with pytest.raises(HeedError, match=r"held_out is 1\.0"):
        RewardTrainingConfig(held_out=1.0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(HeedError, match="the output folder is not empty"):
        train_reward_model(model, tokenizer, rows, ["help"], tmp_path / "full")


def test_without_held_out_verdicts_there_is_no_accuracy(tokenizer_of, causal_model_of, tmp_path):
    config = RewardTrainingConfig(epochs=1, held_out=0.0)
    report = train_reward_model(causal_model_of(), tokenizer_of(), comparisons(8), ["help"], tmp_path / "rm", config)
    assert report.accuracy == {"help": None}
    assert report.held_out == {"help": 0}


def test_the_form_of_the_prompts_is_said_and_kept(tokenizer_of, causal_model_of, tmp_path, caplog):
    texts = comparisons(30)
    chats = [row | {"prompt": [{"role": "user", "content": row["prompt"]}]} for row in texts]
    for name, chat, rows, form, said in (
        ("base", False, texts, "texts", False),
        ("bare", True, texts, "texts", True),
        ("talk", True, chats, "messages", False),
        ("both", True, [*texts, *chats], None, True),
    ):
        tokenizer = tokenizer_of(chat=True) if chat else tokenizer_of()
        model = causal_model_of()
        model.resize_token_embeddings(len(tokenizer))
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            report = train_reward_model(model, tokenizer, rows, ["help"], tmp_path / name, BRIEF)
        kept = json.loads((report.path / "config.json").read_text())
        assert kept.get("heed_form") == form, name
        assert ("30 comparisons are texts (comparison 0, ...)" in caplog.text) is said, name


@pytest.mark.parametrize("pad", [None, "</s>"], ids=["no pad token", "padded with eos"])
def test_a_model_learnt_on_texts_that_end_in_eos_is_read_there_by_every_loader(
    tokenizer_of, causal_model_of, tmp_path, pad
):
    tokenizer = tokenizer_of(pad=pad)
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}> {{ m.content }} </s> {% endfor %}"
    prompt = [{"role": "user", "content": "cough ?"}]
    rows = [{**row, "prompt": prompt} for row in comparisons(40)]
    config = RewardTrainingConfig(epochs=2, batch_size=16, learning_rate=1e-3, held_out=0.0)
    report = train_reward_model(causal_model_of(), tokenizer, rows, ["help"], tmp_path / "rm", config)
    scores = RewardModel(report.path).score([prompt] * 3, ["tea", "rest tea honey", "mint sage"], {})[:, 0]
    plain = AutoModelForSequenceClassification.from_pretrained(report.path)
    ids = tokenizer("<user> cough ? </s> <assistant> rest tea honey </s>", add_special_tokens=False)["input_ids"]
    states = plain.model(torch.tensor([ids])).last_hidden_state[0]
    at_the_eos = plain.score(states[-1])[0] - report.shift["help"]
    assert torch.allclose(scores[1], at_the_eos, atol=1e-6)
    assert torch.allclose(plain(torch.tensor([ids])).logits[0, 0] - report.shift["help"], at_the_eos, atol=1e-6)
    assert (plain.score(states[-2])[0] - report.shift["help"] - at_the_eos).abs() > 1e-3


def test_a_padding_token_added_to_the_tokenizer_alone_is_as_none(tokenizer_of, causal_model_of, tmp_path):
    plain, padded = tokenizer_of(pad=None), tokenizer_of(pad=None)
    padded.add_special_tokens({"pad_token": "[PAD]"})
    causal_model_of().save_pretrained(tmp_path / "base")
    for base, kind in ((causal_model_of(), "memory"), (str(tmp_path / "base"), "folder")):
        scores = []
        for name, tokenizer in (("plain", plain), ("padded", padded)):
            out = tmp_path / f"{name}-{kind}"
            train_reward_model(base, tokenizer, comparisons(40), ["help"], out, BRIEF)
            scores.append(RewardModel(out).score(["fever ?"] * 2, ["tea tea", "rest"], {})[:, 0].tolist())
        assert AutoTokenizer.from_pretrained(out).pad_token == "</s>"
        assert scores[1] == pytest.approx(scores[0], abs=1e-5)


def test_a_template_that_leaves_out_the_completions_is_refused(tokenizer_of, causal_model_of, tmp_path):
    tokenizer = tokenizer_of()
    rows = [{**row, "prompt": [{"role": "user", "content": row["prompt"]}]} for row in comparisons(8)]
    for template in ("{{ messages[0].content }}", "{# nothing #}"):
        tokenizer.chat_template = template
        with pytest.raises(HeedError, match=r"leaves out the completion .comparison 0, "):
            train_reward_model(causal_model_of(), tokenizer, rows, ["help"], tmp_path / "judge", BRIEF)
    assert not (tmp_path / "judge").exists()


def test_torn_weights_are_one_line(tokenizer_of, causal_model_of, tmp_path):
    causal_model_of().save_pretrained(tmp_path / "base")
    weights = tmp_path / "base" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-40])
    with pytest.raises(HeedError, match=r"cannot put heads on the base model: .*incomplete metadata"):
        train_reward_model(str(tmp_path / "base"), tokenizer_of(), comparisons(8), ["help"], tmp_path / "judge", BRIEF)
