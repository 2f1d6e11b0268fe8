"""A merged folder is a whole model that answers as base and adapter do, in the base's dtype; or nothing is written."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from heed.compare.picking import FrontPoint, pick_from, write_picked
from heed.errors import HeedError
from tiny_adapters import adapter, between, loaded, policies, save_base

IDS = torch.arange(12)[None]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base"))


def write(folder, out, **settings):
    """Pick one adapter and write it."""
    points = [FrontPoint((0.3, 0.7), (1.0, 2.0), folder)]
    return write_picked(pick_from(points, [0.3, 0.7]), out, policies(points), **settings)


def base_in(out):
    return json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"]


def test_it_answers_as_base_and_adapter_do(base, tmp_path):
    points = between([adapter(base, tmp_path / str(seed), seed) for seed in range(2)])
    pick = pick_from(points, [0.5, 0.5])
    apart = write_picked(pick, tmp_path / "apart", policies(points))
    whole = write_picked(pick, tmp_path / "whole", policies(points), merge=True)
    answers = [model(IDS).logits for model in (PeftModel.from_pretrained(loaded(base), apart), loaded(whole))]
    torch.testing.assert_close(*answers, rtol=0, atol=1e-5)
    assert not torch.allclose(answers[0], loaded(base)(IDS).logits, atol=1e-2)
    assert not (whole / "adapter").exists() and not (whole / "adapter_config.json").exists()
    assert "a whole model, the change added to the weights of" in (whole / "README.md").read_text()


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True},
        {"modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj"]},
    ],
    ids=["output", "embedding", "both", "whole output", "neither"],
)
def test_a_tied_base_is_untied_where_the_adapter_changes_one_of_the_two(tmp_path, settings):
    base = save_base(tmp_path / "base", tie_word_embeddings=True)
    folder = adapter(base, tmp_path / "adapter", 0, **settings)
    out = write(folder, tmp_path / "whole", merge=True)
    expected = PeftModel.from_pretrained(loaded(base), folder)(IDS).logits
    found = loaded(out)
    torch.testing.assert_close(found(IDS).logits, expected, rtol=0, atol=1e-5)
    neither = settings == {"target_modules": ["q_proj"]}
    assert found.config.tie_word_embeddings == neither
    assert (found.lm_head.weight is found.model.embed_tokens.weight) == neither
    if "embed_tokens" not in settings.get("target_modules", []):
        assert torch.equal(found.model.embed_tokens.weight, loaded(base).model.embed_tokens.weight)


@pytest.mark.parametrize("settings", [{}, {"use_dora": True}], ids=["lora", "dora"])
def test_of_a_base_in_16_bits_the_sum_is_rounded_once_and_the_card_says_so(tmp_path, settings):
    base = save_base(tmp_path / "base", torch.bfloat16)
    folder = adapter(base, tmp_path / "adapter", 0, **settings)
    out = write(folder, tmp_path / "whole", merge=True)
    exact = PeftModel.from_pretrained(loaded(base).float(), folder).merge_and_unload().state_dict()
    found = loaded(out).state_dict()
    assert {tensor.dtype for tensor in found.values()} == {torch.bfloat16}
    assert all(torch.equal(found[name], exact[name].bfloat16()) for name in exact)
    assert "in float32, and rounded to the base's bfloat16" in (out / "README.md").read_text()


def test_a_base_that_takes_no_adapter_is_refused_before_anything_is_written(base, tmp_path):
    folder = adapter(base, tmp_path / "adapter", 0)
    other = save_base(tmp_path / "other", hidden_size=32)
    small = save_base(tmp_path / "quantised")
    config = json.loads((small / "config.json").read_text())
    quantised = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (small / "config.json").write_text(json.dumps(config | {"quantization_config": quantised}))
    out = tmp_path / "here" / "whole"
    for wrong, said in [
        (tmp_path / "gone", "there is no base model"),
        (other, "the adapter is none of this base: .*--base"),
        (small, "weights are quantised"),
    ]:
        with pytest.raises(HeedError, match=said):
            write(folder, out, base=str(wrong), merge=True)
        assert not out.exists() and (not out.parent.exists() or not list(out.parent.iterdir()))
    assert loaded(write(folder, out, merge=True)).num_parameters() > 0


def test_a_folder_as_base_is_written_by_its_absolute_path(base, tmp_path, monkeypatch):
    folder = adapter(base, tmp_path / "adapter", 0)
    monkeypatch.chdir(base.parent)
    for number, named in enumerate([base.name, f"./{base.name}"]):
        out = write(folder, tmp_path / f"given{number}", base=named)
        assert base_in(out) == str(base)
        _name_base(folder, named)
        out = write(folder, tmp_path / f"trained{number}")
        assert base_in(out) == str(base)
        told = (out / "README.md").read_text()  # which is to be shown to others
        assert f"of `{base.name}`" in told and "base_model:" not in told and str(base.parent) not in told
    _name_base(folder, "owner/name")
    out = write(folder, Path("relative"))
    assert base_in(out) == "owner/name" and "base_model: owner/name\n" in (out / "README.md").read_text()
    _name_base(folder, None)
    with pytest.raises(HeedError, match=r"names no base model .*--base"):
        write(folder, tmp_path / "none")
    assert write(folder, tmp_path / "none", base="owner/name").is_dir()


def test_a_base_that_cannot_be_read_is_told_in_a_line(base, tmp_path):
    folder, broken = adapter(base, tmp_path / "adapter", 0), tmp_path / "broken"
    shutil.copytree(base, broken)
    (broken / "model.safetensors").write_bytes(b"version https://git-lfs")
    with pytest.raises(HeedError, match=r"the base cannot be loaded: .*--base"):
        write(folder, tmp_path / "out", base=str(broken), merge=True)
    (broken / "config.json").write_text("{")
    with pytest.raises(HeedError, match=r"the base cannot be loaded: .*--base"):
        write(folder, tmp_path / "out", base=str(broken), merge=True)
    assert not (tmp_path / "out").exists()


def _name_base(folder, name):
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": name}))
