import copy
import tempfile
import warnings
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from heed.align.data.conversations import prompt_ids
from heed.align.models.policy import Policy
from heed.align.preferences.config import TrainingConfig
from heed.align.preferences.warm_start import collate_demonstrations, encode_demonstration, supervised_warm_start
from heed.errors import HeedError, RunFailed

COMPLAINTS, REMEDIES = ("fever", "cough", "gout"), ("tea", "rest", "honey", "mint", "sage")
CONFIG = TrainingConfig(epochs=12, batch_size=8, learning_rate=5e-3, warmup_steps=2)
FAST = TrainingConfig(epochs=1, batch_size=8, learning_rate=1e-3)


def copy_task():
    """Repeat the remedy that the customer names."""
    return [
        {"prompt": f"{complaint} {remedy} {end}", "completion": f"take {remedy} ."}
        for remedy in REMEDIES
        for complaint in COMPLAINTS
        for end in ("?", "what ?", "helps ?", "what helps ?", "please ?")
    ]


def greedy(model, tokenizer, prompt, length=8):
    ids = torch.tensor([prompt_ids(prompt, tokenizer)])
    mask = torch.ones_like(ids)
    full = model.generate(ids, attention_mask=mask, max_new_tokens=length, do_sample=False, pad_token_id=0)
    return full[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("pad", ["<pad>", "</s>"])
def test_loss_covers_exactly_the_completions_tokens_and_their_end(tokenizer_of, pad):
    tokenizer = tokenizer_of(pad=pad)
    examples = [
        {"prompt": "fever ?", "completion": "take tea ."},
        {"prompt": "gout ?", "completion": "rest"},
    ]
    batch = collate_demonstrations([encode_demonstration(e, tokenizer) for e in examples], tokenizer.pad_token_id)
    names = [
        [tokenizer.convert_ids_to_tokens(label) if label != -100 else None for label in row]
        for row in batch["labels"].tolist()
    ]
    assert names == [
        [None, None, None, "take", "tea", ".", "</s>"],
        [None, None, None, "rest", "</s>", None, None],
    ]
    assert batch["attention_mask"].tolist() == [[1] * 7, [1, 1, 1, 1, 1, 0, 0]]
    learnt = batch["labels"] != -100
    assert torch.equal(batch["labels"][learnt], batch["input_ids"][learnt])


def test_a_conversations_prompt_carries_no_loss(tokenizer_of):
    tokenizer = tokenizer_of(chat=True)
    example = {"prompt": [{"role": "user", "content": "fever ?"}], "completion": "tea"}
    encoded = encode_demonstration(example, tokenizer)
    assert tokenizer.convert_ids_to_tokens(encoded["input_ids"]) == [
        "<user>",
        "fever",
        "?",
        "<assistant>",
        "tea",
        "</s>",
    ]
    assert [label == -100 for label in encoded["labels"]] == [True] * 4 + [False] * 2


def test_the_first_steps_loss_is_the_mean_over_the_completions_tokens(tokenizer_of, causal_model_of):
    tokenizer, model = tokenizer_of(), causal_model_of()
    examples = [*copy_task()[:3], {"prompt": "gout ?", "completion": "rest"}]
    batch = collate_demonstrations([encode_demonstration(e, tokenizer) for e in examples], 0)
    with torch.no_grad():
        logp = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1].log_softmax(-1)
    labels = batch["labels"][:, 1:]
    learnt = labels != -100
    expected = -logp.gather(2, labels.clamp(min=0)[..., None])[..., 0][learnt].mean().item()
    for batch_size, accumulation in ((4, 1), (2, 2)):  # rows of unlike length: accumulation must weigh tokens
        losses = []
        config = TrainingConfig(epochs=1, batch_size=batch_size, accumulation=accumulation)
        supervised_warm_start(
            copy.deepcopy(model),
            tokenizer,
            examples,
            config=config,
            on_step=lambda *step, seen=losses: seen.append(step),
        )
        assert losses == [(1, 1, pytest.approx(expected, abs=1e-5))]


@pytest.mark.parametrize("pad", ["<pad>", "</s>"])
def test_a_copy_task_is_learnt_with_its_end(tokenizer_of, causal_model_of, pad):
    tokenizer, model = tokenizer_of(pad=pad), causal_model_of()
    prompt = "gout honey ?"
    expected = tokenizer("take honey .", add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    assert greedy(model, tokenizer, prompt)[: len(expected)] != expected
    trained = supervised_warm_start(model, tokenizer, copy_task(), config=CONFIG)
    assert trained is model
    assert not model.training
    right = [
        greedy(model, tokenizer, example["prompt"])
        == tokenizer(example["completion"], add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
        for example in copy_task()
    ]
    assert sum(right) > 0.9 * len(right)


def test_one_seed_gives_one_model_and_leaves_the_global_generator_alone(tokenizer_of, causal_model_of):
    def train(seed):
        config = TrainingConfig(epochs=1, batch_size=8, learning_rate=1e-3, seed=seed)
        model = supervised_warm_start(causal_model_of(), tokenizer_of(), copy_task(), config=config)
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    torch.manual_seed(7)
    first_draw = torch.rand(1)
    torch.manual_seed(7)
    one = train(0)
    assert torch.equal(torch.rand(1), first_draw)
    assert torch.equal(one, train(0))
    assert not torch.equal(one, train(1))


def test_training_is_silent_and_leaves_no_folder(tokenizer_of, causal_model_of, capfd, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    steps = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        supervised_warm_start(
            causal_model_of(), tokenizer_of(), copy_task(), config=FAST, on_step=lambda *step: steps.append(step)
        )
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert [(step, total) for step, total, _ in steps] == [(step, 10) for step in range(1, 11)]


def test_a_saved_model_is_the_trained_one(tokenizer_of, causal_model_of, tmp_path):
    model = supervised_warm_start(causal_model_of(), tokenizer_of(), copy_task(), tmp_path / "warm", FAST)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "warm")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))
    assert AutoTokenizer.from_pretrained(tmp_path / "warm").eos_token == "</s>"
    with pytest.raises(HeedError, match="the output folder is not empty"):
        supervised_warm_start(model, tokenizer_of(), copy_task(), tmp_path / "warm", FAST)


@pytest.mark.parametrize("family", ["mistral", "gpt2"])
def test_too_long_demonstrations_are_left_out_with_a_count(tokenizer_of, causal_model_of, caplog, family):
    examples = [*copy_task()[:8], {"prompt": "fever " * 70, "completion": "tea"}]
    steps = []
    supervised_warm_start(
        causal_model_of(family), tokenizer_of(), examples, config=FAST, on_step=lambda *step: steps.append(step)
    )
    assert "1 of 9 demonstrations exceed 64 tokens and are left out" in caplog.text
    assert len(steps) == 1


def test_faults_are_said_before_training(tokenizer_of, causal_model_of):
    model, tokenizer = causal_model_of(), tokenizer_of()
    with pytest.raises(HeedError, match="no demonstrations"):
        supervised_warm_start(model, tokenizer, [])
    with pytest.raises(HeedError, match="none of 1 demonstrations has at most 64 tokens"):
        supervised_warm_start(model, tokenizer, [{"prompt": "fever " * 70, "completion": "tea"}])
    with pytest.raises(HeedError, match="batch_size is 0"):
        TrainingConfig(batch_size=0)
    tokenizer.eos_token = None
    with pytest.raises(HeedError, match="no eos token"):
        supervised_warm_start(model, tokenizer, copy_task())


def test_a_loss_that_is_not_finite_stops_the_training(tokenizer_of, causal_model_of, tmp_path):
    model = causal_model_of()
    model.lm_head.weight.data.fill_(torch.nan)
    with pytest.raises(RunFailed, match="the loss is nan at step 1"):
        supervised_warm_start(model, tokenizer_of(), copy_task(), tmp_path / "warm", FAST)
    assert not Path(tmp_path / "warm").exists()


def test_a_templates_own_end_of_turn_is_learnt_and_ends_completions(tokenizer_of, causal_model_of, tmp_path):
    tokenizer, model = tokenizer_of(), causal_model_of()
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}> {{ m.content }} <unk> {% endfor %}"
    tokenizer.chat_template += "{% if add_generation_prompt %}<assistant> {% endif %}"
    examples = [{**e, "prompt": [{"role": "user", "content": e["prompt"]}]} for e in copy_task()[:8]]
    encoded = encode_demonstration(examples[0], tokenizer)
    assert tokenizer.decode([label for label in encoded["labels"] if label != -100]) == "take tea . <unk>"
    assert model.generation_config.eos_token_id == 2
    supervised_warm_start(model, tokenizer, examples, tmp_path / "warm", FAST)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "warm").generation_config.eos_token_id == [2, 3]
    assert Policy(causal_model_of(), tokenizer).end_ids == [2, 3]


def test_a_demonstration_that_the_template_refuses_is_named(tokenizer_of, causal_model_of):
    tokenizer = tokenizer_of()
    refusal = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    tokenizer.chat_template = refusal + "{{ messages[-1].content }}"
    examples = [{"prompt": [{"role": role, "content": "fever"}], "completion": "tea"} for role in ("user", "system")]
    with pytest.raises(HeedError, match=r"no system role \(demonstration 1, "):
        supervised_warm_start(causal_model_of(), tokenizer, examples)


def test_a_demonstration_of_several_messages_is_refused(tokenizer_of, causal_model_of):
    said = [{"role": "assistant", "content": "tea"}, {"role": "user", "content": "?"}]
    with pytest.raises(HeedError, match=r"a completion of 2 messages \(demonstration 0, .*belongs into the prompt"):
        supervised_warm_start(causal_model_of(), tokenizer_of(), [{"prompt": "fever", "completion": said}])
