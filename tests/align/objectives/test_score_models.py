"""safe-rlhf's score models: a tiny checkpoint of the same layout, and the scores that its numbers give."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, LlamaConfig, LlamaModel

from heed.align.objectives.score_models import ScoreModel
from heed.align.objectives.spec import parse_objective
from heed.errors import HeedError
from heed.worlds.apothecary import Apothecary

PROMPTS, COMPLETIONS = ["fever what helps ?", "cough"], ["take tea .", "mint"]
TEXTS = [
    "BEGINNING OF CONVERSATION: USER: {} ASSISTANT:{}".format(*pair) for pair in zip(PROMPTS, COMPLETIONS, strict=True)
]


@pytest.fixture
def checkpoint(tmp_path):
    """Writes a checkpoint: config, backbone below ``model.``, head, and the normaliser's buffers."""

    def write(bias=True, without=(), parts=False, **config):
        tokenizer = Apothecary().tokenizer()
        shape = {
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "initializer_range": 0.5,
        }
        with torch.random.fork_rng():
            torch.manual_seed(3)
            model = LlamaModel(LlamaConfig(vocab_size=len(tokenizer), **shape))
            head = {"score_head.weight": torch.randn(1, 16), "score_head.bias": torch.randn(1)}
        head = {name: tensor for name, tensor in head.items() if bias or "weight" in name}
        buffers = {"normalizer.mean": torch.tensor([0.5]), "normalizer.var": torch.tensor([4.0])}
        held = {f"model.{name}": tensor for name, tensor in model.state_dict().items()} | head | buffers
        folder = tmp_path / "score"
        model.config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        stored = {name: tensor.contiguous() for name, tensor in held.items() if name not in without}
        if parts:
            files = {"a.safetensors": dict(list(stored.items())[:5]), "b.safetensors": dict(list(stored.items())[5:])}
            for name, some in files.items():
                save_file(some, folder / name, {"format": "pt"})
            names = {tensor: name for name, some in files.items() for tensor in some}
            (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
        else:
            save_file(stored, folder / "model.safetensors", {"format": "pt"})
        told = json.loads((folder / "config.json").read_text())
        told |= {"architectures": ["LlamaModelForScore"], "score_dim": 1, "bias": bias, "score_type": "reward"}
        told |= {"do_normalize": False, "normalizer_type": "ExponentialMovingAverage", **config}
        (folder / "config.json").write_text(json.dumps(told))
        return folder, model.eval(), head, tokenizer

    return write


def raw(model, head, tokenizer):
    """The end token's score of each text alone."""
    found = []
    for text in TEXTS:
        ids = tokenizer(text + tokenizer.eos_token).input_ids
        assert ids[-1] == tokenizer.eos_token_id
        with torch.no_grad():
            last = model(torch.tensor([ids])).last_hidden_state[0, -1]
        found.append(float(last @ head["score_head.weight"][0] + head.get("score_head.bias", torch.zeros(1))))
    return torch.tensor(found)[:, None]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("parts", [True, False])
def test_the_score_is_the_head_s_at_the_end_token_of_the_conversation(checkpoint, bias, parts):
    folder, *made = checkpoint(bias, parts=parts)
    judge = parse_objective(f"kind={folder},batch_size=2")
    assert isinstance(judge, ScoreModel) and judge.specs[0].name == "kind"
    expected = raw(*made)
    assert expected.std() > 0.05  # else padding would not be seen
    assert torch.allclose(judge.score(PROMPTS, COMPLETIONS, {}), expected, atol=1e-5)
    messages = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    said = [[{"role": "assistant", "content": text}] for text in COMPLETIONS]
    assert torch.allclose(judge.score(messages, said, {}), expected, atol=1e-5)


@pytest.mark.parametrize(("kind", "mean"), [("reward", 0.5), ("cost", 0.0)])
def test_a_reward_is_centred_and_scaled_and_a_cost_scaled_alone(checkpoint, kind, mean):
    folder, *made = checkpoint(do_normalize=True, score_type=kind)
    judge = parse_objective(f"{folder},sign=-1")
    assert judge.specs[0].sign == -1
    assert torch.allclose(judge.score(PROMPTS, COMPLETIONS, {}), (raw(*made) - mean) / 2, atol=1e-5)


def test_the_config_s_mean_and_variance_hold_where_the_weights_have_none(checkpoint):
    without = ("normalizer.mean", "normalizer.var")
    folder, *made = checkpoint(without=without, do_normalize=True, mean=[1.0], var=[9.0])
    assert torch.allclose(ScoreModel(folder).score(PROMPTS, COMPLETIONS, {}), (raw(*made) - 1) / 3, atol=1e-5)


def test_pytorch_s_own_files_are_read_too(checkpoint):
    folder, *made = checkpoint()
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert torch.allclose(ScoreModel(folder).score(PROMPTS, COMPLETIONS, {}), raw(*made), atol=1e-5)


@pytest.mark.parametrize(
    ("without", "config", "said"),
    [
        (("score_head.weight",), {}, "the score model has no score head .score_head.weight is missing."),
        (("model.norm.weight",), {}, "the score model lacks weights .norm.weight"),
        ((), {"normalizer_type": "Quantile"}, "the normaliser 'Quantile' is not known .*RunningMeanStd, Exponential"),
        ((), {"score_type": "critic"}, "a score model of type 'critic'"),
        ((), {"score_dim": 3}, "the score model has 3 scores"),
    ],
)
def test_what_is_not_read_is_refused_in_one_line(checkpoint, without, config, said):
    folder, *_ = checkpoint(without=without, **config)
    with pytest.raises(HeedError, match=said):
        parse_objective(str(folder))


def test_options_and_roles_that_there_are_not(checkpoint):
    folder, *_ = checkpoint()
    with pytest.raises(HeedError, match="'head' is no option of"):
        parse_objective(f"{folder},head=0")
    system = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "cough"}]
    with pytest.raises(HeedError, match="user and assistant in turn, and message 0 is the system's"):
        ScoreModel(folder).check(system)


def test_a_begun_answer_is_the_completion_s_beginning(checkpoint):
    folder, *_ = checkpoint()
    judge = ScoreModel(folder)
    begun = [{"role": "user", "content": "cough"}, {"role": "assistant", "content": "take "}]
    whole = judge.score([begun[:1]], ["take tea ."], {})
    assert torch.equal(judge.score([begun], ["tea ."], {}), whole)
    assert isinstance(judge.model, type(AutoModel.from_config(judge.model.config)))


def test_weights_that_are_none_and_a_mean_that_is_no_list_are_told_in_a_line(checkpoint):
    folder, *_ = checkpoint(mean=0.5, do_normalize=True)
    with pytest.raises(HeedError, match="cannot load a score model"):
        ScoreModel(str(folder))
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(HeedError, match="cannot load a score model"):
        ScoreModel(str(folder))
