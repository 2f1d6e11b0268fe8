"""Its change of weights is that of its parts, whatever their ranks, scalings and modules; or it is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from heed.compare.picking import FrontPoint, mix_adapters, pick_from, write_picked
from heed.errors import HeedError
from tiny_adapters import adapter, change, policies, save_base


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base"))


KINDS = {
    "alike": ({}, {}),
    "ranks and scalings": ({}, {"r": 2, "lora_alpha": 32}),
    "scaled by the root": ({}, {"r": 9, "use_rslora": True}),
    "other modules": ({}, {"target_modules": ["q_proj", "v_proj"]}),
    "a rank of its own": (
        {"rank_pattern": {"layers.0.self_attn.q_proj": 3}, "alpha_pattern": {"down_proj": 2}},
        {"r": 2},
    ),
}


@pytest.mark.parametrize("kinds", KINDS.values(), ids=KINDS)
def test_the_mixtures_change_is_the_weighted_sum_of_theirs(base, tmp_path, kinds):
    folders = [adapter(base, tmp_path / str(seed), seed, **kind) for seed, kind in enumerate(kinds)]
    points = [FrontPoint((0.25, 0.75), (1.0, 2.0), folders[0]), FrontPoint((0.75, 0.25), (3.0, 1.0), folders[1])]
    pick = pick_from(points, [0.4, 0.6])
    assert pick.shares == pytest.approx((0.7, 0.3))
    out = write_picked(pick, tmp_path / "mixed", policies(points))
    parts = [change(base, folder) for folder in folders]
    for name, found in change(base, out).items():
        torch.testing.assert_close(found, 0.7 * parts[0][name] + 0.3 * parts[1][name], rtol=0, atol=2e-6)
    assert any(found.norm() > 0.1 for found in parts[0].values())


def test_one_that_was_trained_for_it_is_written_as_it_is(base, tmp_path):
    folder = adapter(base, tmp_path / "0", 0, use_dora=True)  # which could not be mixed
    with pytest.raises(HeedError, match="an adapter with use_dora cannot be mixed"):
        mix_adapters([folder, folder], [0.5, 0.5])
    points = [FrontPoint((0.3, 0.7), (1.0, 2.0), folder)]
    out = write_picked(pick_from(points, [0.3, 0.7]), tmp_path / "out", policies(points))
    assert (out / "adapter_model.safetensors").read_bytes() == (folder / "adapter_model.safetensors").read_bytes()
    assert "This policy was trained for that preference." in (out / "README.md").read_text()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "lora_only"}, "bias=lora_only"),
    ],
)
def test_what_is_more_than_pairs_of_matrices_is_refused(base, tmp_path, settings, said):
    folders = [adapter(base, tmp_path / "0", 0), adapter(base, tmp_path / "1", 1, **settings)]
    with pytest.raises(
        HeedError, match=rf"an adapter with .*({said}).* cannot be mixed .*take a preference that was trained"
    ):
        mix_adapters(folders, [0.5, 0.5])


def test_adapters_of_different_models_and_broken_ones_are_refused(base, tmp_path):
    folders = [adapter(base, tmp_path / str(seed), seed) for seed in range(2)]
    config = json.loads((folders[1] / "adapter_config.json").read_text())
    (folders[1] / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "another"}))
    with pytest.raises(HeedError, match="stand on different models"):
        mix_adapters(folders, [0.5, 0.5])
    (folders[1] / "adapter_model.safetensors").write_bytes(b"half")
    with pytest.raises(HeedError, match="this adapter is broken"):
        mix_adapters(folders, [0.5, 0.5])
    (folders[1] / "adapter_model.safetensors").unlink()
    with pytest.raises(HeedError, match=r"is missing .*give an adapter's folder"):
        mix_adapters(folders, [0.5, 0.5])


def test_a_matrix_without_its_partner_and_settings_that_are_none_are_refused(base, tmp_path):
    folders = [adapter(base, tmp_path / str(seed), seed) for seed in range(2)]
    weights = load_file(folders[1] / "adapter_model.safetensors")
    lone = next(name for name in weights if name.endswith("lora_B.weight"))
    save_file(
        {name: tensor for name, tensor in weights.items() if name != lone}, folders[1] / "adapter_model.safetensors"
    )
    with pytest.raises(HeedError, match=r"this adapter is broken: .* has one matrix of two"):
        mix_adapters(folders, [0.5, 0.5])
    for text, said in (("{", "is not JSON"), ("[]", "holds no settings"), ('{"peft_type": "LORA"}', "has no r ")):
        (folders[1] / "adapter_config.json").write_text(text)
        with pytest.raises(HeedError, match=rf"this adapter is broken: adapter_config\.json {said}"):
            mix_adapters(folders, [0.5, 0.5])
