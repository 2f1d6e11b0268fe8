"""Reward models as objectives: the scores of each text alone, shared loads, and mistakes that are named."""

import json
import logging
import weakref

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig

from heed.align.models import pretrained
from heed.align.objectives import reward_models
from heed.align.objectives.base import ObjectiveSet
from heed.align.objectives.reward_models import HeadSpec, ManyHeadedRewardModel, RewardModel
from heed.errors import HeedError

PROMPTS = ["fever what helps ? ", "cough ", "gout what helps ? "]
COMPLETIONS = ["take tea .", "take rest . take honey .", "mint"]


def alone(model, tokenizer, text, **options):
    """Scores of one text, unpadded, straight from transformers."""
    with torch.no_grad():
        return model(torch.tensor([tokenizer(text, **options)["input_ids"]])).logits[0]


@pytest.mark.parametrize("family", ["mistral", "llama", "gpt2"])
@pytest.mark.parametrize("pad", ["<pad>", None])
def test_padded_batches_give_the_scores_of_each_text_alone(judge_folder_of, tokenizer_of, family, pad):
    folder, model = judge_folder_of(family=family, pad=pad)
    expected = torch.stack(
        [alone(model, tokenizer_of(), prompt + text) for prompt, text in zip(PROMPTS, COMPLETIONS, strict=True)]
    )
    scores = RewardModel(folder, batch_size=2, head=1).score(PROMPTS, COMPLETIONS, {})
    assert torch.allclose(scores, expected[:, 1:], atol=1e-5)
    assert expected[:, 1].std() > 0.05  # else the test would see nothing


def test_a_chat_template_is_used_where_there_is_one(judge_folder_of, tokenizer_of):
    folder, model = judge_folder_of(chat=True)
    expected = alone(model, tokenizer_of(), "<user> cough <assistant> take tea", add_special_tokens=False)
    prompt = [{"role": "user", "content": "cough"}]
    assert torch.allclose(RewardModel(folder, head=0).score([prompt], ["take tea"], {})[0, 0], expected[0], atol=1e-6)


def test_a_judge_reads_a_prompts_tools_or_says_once_that_it_does_not(judge_folder_of, tokenizer_of, caplog):
    folder, model = judge_folder_of(chat=True)
    asked, tools = [[{"role": "user", "content": "cough"}]] * 2, [None, [{"name": "sage"}]]
    with caplog.at_level(logging.WARNING):
        ObjectiveSet([RewardModel(folder, head=0)]).check(asked * 2, tools * 2)
    assert caplog.text.count("judges without the prompts' tools: its chat template ignores them") == 1
    tokenizer = tokenizer_of(tools=True)
    tokenizer.save_pretrained(folder)
    texts = ["<user> cough <assistant> mint", "sage <user> cough <assistant> mint"]
    expected = [float(alone(model, tokenizer, text, add_special_tokens=False)[0]) for text in texts]
    judge = RewardModel(folder, head=0, batch_size=1)
    judge.check(asked[0], tools[1])
    for own in (tools, tools[::-1]):  # the second is another batch, though prompts and completions are the same
        scores = judge.score(asked, ["mint", "mint"], {"tools": own})[:, 0].tolist()
        assert scores == pytest.approx(expected if own is tools else expected[::-1], abs=1e-6)
    assert abs(expected[0] - expected[1]) > 0.05
    assert caplog.text.count("ignores them") == 1


def test_a_text_is_judged_as_it_stands_and_this_is_said_once(judge_folder_of, tokenizer_of, caplog):
    folder, model = judge_folder_of(chat=True)
    judge = RewardModel(folder, head=0)
    with caplog.at_level(logging.WARNING):
        ObjectiveSet([judge]).check(["cough", "fever"])
    assert [record.getMessage() for record in caplog.records] == [
        f"reward model {folder} has a chat template, but texts are judged as they stand, as the policy reads them; "
        "give the prompts as messages if it knows conversations alone"
    ]
    expected = alone(model, tokenizer_of(), "cough take tea")[0]
    assert torch.allclose(judge.score(["cough "], ["take tea"], {})[0, 0], expected, atol=1e-6)


def test_a_judge_that_learnt_from_the_other_form_of_prompts_says_so_once(judge_folder_of, caplog):
    folder, _ = judge_folder_of(chat=True)
    config = json.loads((folder / "config.json").read_text())
    texts, messages = ["cough", "fever"], [[{"role": "user", "content": "cough"}]] * 2
    for learnt, prompts, said in (("texts", messages, 1), ("messages", texts, 1), ("texts", texts, 0)):
        (folder / "config.json").write_text(json.dumps(config | {"heed_form": learnt, "heed_shift": [0.0, 0.0]}))
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            ObjectiveSet([RewardModel(folder, head=0)]).check(prompts)
        assert caplog.text.count(f"learnt from prompts that are {learnt}") == said == len(caplog.records)


def test_a_prompt_that_a_judges_template_refuses_is_named(judge_folder_of, tokenizer_of):
    folder, _ = judge_folder_of(chat=True)
    tokenizer = tokenizer_of()
    tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{{ messages[-1].content }}"
    )
    tokenizer.save_pretrained(folder)
    prompts = [
        [{"role": role, "content": "Be brief."}, {"role": "user", "content": "cough"}] for role in ("user", "system")
    ]
    with pytest.raises(HeedError, match=rf"no system role \(prompt 1, reward model {folder}, .*\): give messages"):
        ObjectiveSet([RewardModel(folder, head=0)]).check(prompts)


def test_a_template_that_leaves_out_what_is_judged_is_refused(judge_folder_of, tokenizer_of):
    folder, _ = judge_folder_of(chat=True)
    tokenizer = tokenizer_of()
    tokenizer.chat_template = "{{ messages[0].content }}"
    tokenizer.save_pretrained(folder)
    with pytest.raises(HeedError, match=r"template leaves out the completion .prompt 0, reward model .*judge, "):
        ObjectiveSet([RewardModel(folder, head=0)]).check([[{"role": "user", "content": "cough"}]])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"id2label": {"0": "help", "5": "cost"}},
            r"config.json labels the heads 0, 5 .*: set id2label to labels of 0 to 1",
        ),
        ({"id2label": None, "num_labels": "two"}, "cannot load a reward model: 'str' object cannot be interpreted"),
    ],
)
def test_heads_that_the_weights_do_not_have_are_one_line(judge_folder_of, changed, said):
    folder, _ = judge_folder_of()
    config = json.loads((folder / "config.json").read_text()) | changed
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    with pytest.raises(HeedError, match=said):
        RewardModel(folder, head=1)


def test_torn_weights_are_one_line(judge_folder_of):
    folder, _ = judge_folder_of()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-40])
    with pytest.raises(HeedError, match=r"cannot load a reward model: .*incomplete metadata"):
        RewardModel(folder, head=1)


def test_many_heads_cost_one_forward_and_keep_their_signs(judge_folder_of, monkeypatch):
    folder, _ = judge_folder_of(heads=("help", "cost", "style"))
    many = ManyHeadedRewardModel(folder, [HeadSpec("harmless", "cost", sign=-1, scale=2.0), HeadSpec("helpful", 0)])
    passes = []
    many.model.model.register_forward_hook(lambda *call: passes.append(1))
    scores = ObjectiveSet([many]).score(PROMPTS, COMPLETIONS)
    assert len(passes) == 1
    heads = [RewardModel(folder, head=head).score(PROMPTS, COMPLETIONS, {})[:, 0] for head in ("help", "1")]
    assert torch.equal(scores, torch.stack([-2 * heads[1], heads[0]], dim=1))


def test_objectives_of_one_path_share_the_model_and_its_forward(judge_folder_of):
    folder, _ = judge_folder_of()
    one, other = RewardModel(folder, "a", head=0), RewardModel(folder, "b", head=1)
    assert one.model is other.model
    passes = []
    one.model.model.register_forward_hook(lambda *call: passes.append(1))
    ObjectiveSet([one, other]).score(PROMPTS, COMPLETIONS)
    assert len(passes) == 1
    ObjectiveSet([one, other]).score(PROMPTS, COMPLETIONS[::-1])
    assert len(passes) == 2
    assert RewardModel(folder, "c", batch_size=1, head=0).model is not one.model


def test_a_model_is_forgotten_with_its_last_objective(judge_folder_of):
    folder, _ = judge_folder_of()
    objective = RewardModel(folder, head=0)
    model = weakref.ref(objective.model)
    del objective
    assert model() is None


def test_half_precision_scores_come_back_in_float32(judge_folder_of):
    folder, _ = judge_folder_of()
    exact = RewardModel(folder, head=0).score(PROMPTS, COMPLETIONS, {})
    rough = RewardModel(folder, dtype="bfloat16", head=0).score(PROMPTS, COMPLETIONS, {})
    assert rough.dtype == torch.float32
    assert 0 < (exact - rough).abs().max() < 0.1 * exact.abs().max()


def test_the_recorded_shift_is_subtracted(judge_folder_of):
    folder, _ = judge_folder_of()
    plain = RewardModel(folder, head=0).score(PROMPTS, COMPLETIONS, {})
    shifted, _ = judge_folder_of(folder="shifted", heed_shift=[0.25, 0.0])
    assert torch.allclose(RewardModel(shifted, head=0).score(PROMPTS, COMPLETIONS, {}), plain - 0.25)


def test_too_long_texts_lose_their_start_and_this_is_said_once(judge_folder_of, tokenizer_of, caplog):
    folder, model = judge_folder_of()
    objective = RewardModel(folder, max_length=4, head=0)
    with caplog.at_level(logging.WARNING):
        scores = objective.score(PROMPTS, COMPLETIONS, {})
        objective.score(PROMPTS, COMPLETIONS[::-1], {})
    expected = alone(model, tokenizer_of(), "? take tea .", add_special_tokens=False)[0]
    assert torch.allclose(scores[0, 0], expected, atol=1e-6)
    assert [record.getMessage() for record in caplog.records] == [
        f"reward model {folder}: 3 of 3 texts are longer than 4 tokens; their start is cut off "
        "(said once; later batches are cut without a word)"
    ]


@pytest.mark.parametrize("family", ["mistral", "gpt2"])
def test_texts_longer_than_the_models_context_lose_their_start(judge_folder_of, tokenizer_of, family):
    """GPT-2 calls its context n_positions."""
    folder, model = judge_folder_of(family=family)
    objective = RewardModel(folder, head=0)
    scores = objective.score(["fever " * 80], ["rest helps"], {})
    expected = alone(model, tokenizer_of(), "fever " * 62 + "rest helps", add_special_tokens=False)[0]
    assert objective.model.max_length == 64
    assert torch.allclose(scores[0, 0], expected, atol=1e-6)


@pytest.mark.parametrize("dtype", ["auto", "float16"])
def test_a_judge_that_overflows_in_float16_says_which_dtype_to_take(judge_folder_of, dtype):
    folder, model = judge_folder_of()
    model.model.norm.weight.data.fill_(3e4)
    (model.half() if dtype == "auto" else model).save_pretrained(folder)
    with pytest.raises(
        HeedError, match=r"the reward model's scores are not finite in float16 .*judge.: .*set dtype= to"
    ):
        RewardModel(folder, head=0, dtype=dtype).score(PROMPTS, COMPLETIONS, {})
    for wider in ("bfloat16", "float32"):
        assert RewardModel(folder, head=0, dtype=wider).score(PROMPTS, COMPLETIONS, {}).abs().max() > 65504


def test_a_model_that_gives_nan_stops_the_run(judge_folder_of):
    folder, model = judge_folder_of()
    model.score.weight.data.fill_(torch.nan)
    model.save_pretrained(folder)
    with pytest.raises(HeedError, match=r"objective 'cost' returned nan .completion 0 'take tea .'"):
        RewardModel(folder, name="cost", head=0).score(PROMPTS, COMPLETIONS, {})


def test_an_unknown_path_is_named_with_what_to_do(tmp_path):
    missing = tmp_path / "no-model"
    with pytest.raises(HeedError) as caught:
        RewardModel(missing)
    assert (
        str(caught.value)
        == f"there is no reward model ({missing}): give a folder that exists, or a hub id (owner/name)"
    )
    missing.mkdir()
    with pytest.raises(HeedError, match=r"it has no config\.json"):
        RewardModel(missing)


def test_a_hub_id_that_cannot_be_had_is_one_line(monkeypatch):
    def unreachable(*arguments, **options):
        raise OSError("owner/judge is not a local folder and is not a valid model identifier\nsecond line")

    monkeypatch.setattr(pretrained.requests, "head", lambda *arguments, **options: None)
    monkeypatch.setattr(reward_models.AutoTokenizer, "from_pretrained", unreachable)
    with pytest.raises(HeedError, match=r"cannot load a reward model: owner/judge is not .*give a folder") as caught:
        RewardModel("owner/judge")
    assert "\n" not in str(caught.value)


def test_without_a_hub_an_unknown_id_is_refused_at_once(monkeypatch):
    def offline(*arguments, **options):
        raise pretrained.requests.ConnectionError("no route")

    monkeypatch.setattr(pretrained.requests, "head", offline)
    monkeypatch.setattr(pretrained.huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(
        HeedError, match=r"no such folder, and no hub to ask for a reward model of that name .owner/judge."
    ):
        RewardModel("owner/judge")


def test_a_folder_without_a_sequence_classification_head_is_refused(tmp_path, causal_model_of, tokenizer_of):
    causal_model_of().save_pretrained(tmp_path)
    tokenizer_of().save_pretrained(tmp_path)
    with pytest.raises(HeedError, match=r"no sequence-classification head \(score.weight missing\)"):
        RewardModel(tmp_path)


@pytest.mark.parametrize("head", [2, -1, "harmless", "2"])
def test_a_head_that_is_not_there_is_refused_with_those_that_are(judge_folder_of, head):
    folder, _ = judge_folder_of()
    with pytest.raises(HeedError, match=r"no head .*: its heads are 0 \(help\), 1 \(cost\)"):
        RewardModel(folder, head=head)


def test_the_folder_is_a_plain_transformers_model(judge_folder_of):
    folder, model = judge_folder_of(heed_shift=[0.25, 0.0])
    loaded = AutoModelForSequenceClassification.from_pretrained(folder)
    assert torch.equal(loaded.score.weight, model.score.weight)


@pytest.mark.parametrize("family", ["mistral", "gpt2"])
@pytest.mark.parametrize("saved_pad", [None, 0, 2], ids=["no pad token", "a pad token", "padded with eos"])
def test_texts_that_end_in_eos_are_read_where_the_model_reads_them_alone(
    judge_folder_of, tokenizer_of, family, saved_pad
):
    folder, model = judge_folder_of(heads=("help",), family=family, pad=None if saved_pad is None else "<pad>")
    tokenizer = tokenizer_of(pad={None: None, 0: "<pad>", 2: "</s>"}[saved_pad])
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}> {{ m.content }} </s> {% endfor %}"
    tokenizer.save_pretrained(folder)
    model.config.pad_token_id = saved_pad
    model.config.save_pretrained(folder)
    prompt = [{"role": "user", "content": "cough"}]
    expected = [
        alone(model, tokenizer, f"<user> cough </s> <assistant> {text} </s>", add_special_tokens=False)[0]
        for text in COMPLETIONS
    ]
    scores = RewardModel(folder, head=0).score([prompt] * 3, COMPLETIONS, {})[:, 0]
    assert torch.allclose(scores, torch.stack(expected), atol=1e-5)


def test_an_encoder_keeps_the_token_at_which_it_is_read(tmp_path, tokenizer_of):
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=20, max_position_embeddings=8, num_labels=1, pad_token_id=0, **shape)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    model.classifier.weight.data.mul_(50)
    model.save_pretrained(tmp_path)
    tokenizer = tokenizer_of()
    tokenizer.cls_token = "<s>"
    tokenizer.save_pretrained(tmp_path)
    long, short = "fever cough gout fever cough what helps ? ", "cough "
    expected = [
        alone(model, tokenizer, text)[0] for text in ("cough what helps ? take tea .", "cough take tea .")
    ]  # <s> comes in front of both
    scores = RewardModel(tmp_path).score([long, short], ["take tea ."] * 2, {})[:, 0]
    assert torch.allclose(scores, torch.stack(expected), atol=1e-5)


def test_several_heads_of_which_none_is_named_are_refused_with_their_names(judge_folder_of):
    folder, _ = judge_folder_of()
    with pytest.raises(HeedError, match=r"has 2 heads, and none is named .*: give head= one of 0 .help., 1 .cost.,"):
        RewardModel(folder)
    single, _ = judge_folder_of(heads=("help",), folder="single")
    assert RewardModel(single).columns == [0]


@pytest.mark.parametrize("heads", [1, 3])
def test_a_config_that_says_no_number_of_heads_gets_the_weights(judge_folder_of, tokenizer_of, heads):
    folder, model = judge_folder_of(heads=tuple(map(str, range(heads))))
    settings = json.loads((folder / "config.json").read_text())
    settings = {key: value for key, value in settings.items() if key not in ("id2label", "label2id", "num_labels")}
    (folder / "config.json").write_text(json.dumps(settings))
    judge = RewardModel(folder, head=heads - 1)
    expected = alone(model, tokenizer_of(), PROMPTS[0] + COMPLETIONS[0])[-1]
    assert torch.allclose(judge.score(PROMPTS[:1], COMPLETIONS[:1], {})[0, 0], expected, atol=1e-6)
    assert len(judge.model.labels) == heads


def test_weights_of_another_number_of_heads_than_the_config_says_are_refused(judge_folder_of):
    folder, model = judge_folder_of()
    model.config.id2label, model.config.label2id = {0: "help"}, {"help": 0}
    model.config.save_pretrained(folder)
    with pytest.raises(HeedError, match=r"score.weight is \[2, 32\], not \[1, 32\] .*: set id2label in config.json"):
        RewardModel(folder)


def test_a_token_without_an_embedding_is_named(judge_folder_of, tokenizer_of):
    folder, _ = judge_folder_of(heads=("help",))
    tokenizer = tokenizer_of()
    tokenizer.add_tokens(["zounds"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(HeedError, match=r"no embedding for the token 'zounds' .20.: it has 20 .reward model"):
        RewardModel(folder).score(["cough "], ["zounds"], {})
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"pad_token_id": 20}))
    with pytest.raises(HeedError, match="cannot load a reward model: Padding_idx must be within num_embeddings"):
        RewardModel(folder)
