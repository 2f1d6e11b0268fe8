"""heed pick on a front that heed front made: what it prints, what it writes, what it refuses."""

import json
import shutil
from pathlib import Path

import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from heed.cli.front import run as front_command
from heed.cli.pick import run as pick
from heed.errors import HeedError
from tiny_runs import tiny_flags


@pytest.fixture(scope="module")
def front(tmp_path_factory, heed_cache):
    out = tmp_path_factory.mktemp("front") / "run"
    front_command([*tiny_flags(), "--methods", "pgapo", "--preferences", "3", "--workers", "1", "--out", str(out)])
    return out


def test_the_policy_of_a_preference_is_named_and_a_mixture_is_written_with_its_card(front, tmp_path, capsys):
    pick([str(front), "--preference", ".5,.5"])
    named = capsys.readouterr().out.strip()
    assert "0.5-0.5" in named and PeftModel.from_pretrained(_base(named), named)
    pick([str(front), "--preference", ".3,.7", "--out", str(tmp_path / "mixed")])
    assert capsys.readouterr().out.strip() == str(tmp_path / "mixed")
    told = (tmp_path / "mixed" / "README.md").read_text()
    assert "# help 0.3, harmless 0.7" in told and "Its own values were not measured" in told
    assert "| 0.1 / 0.9 |" in told and told.count("50% |") == 2
    assert f"Trained by heed {json.loads((front / 'summary.json').read_text())['version']}, `pgapo`" in told
    assert AutoTokenizer.from_pretrained(tmp_path / "mixed")("sage 1 .").input_ids
    pick([str(front), "--preference", ".3,.7", "--out", str(tmp_path / "whole"), "--merge"])
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "whole").num_parameters() > 0


def _base(folder):
    config = json.loads((Path(folder) / "adapter_config.json").read_text())
    return AutoModelForCausalLM.from_pretrained(config["base_model_name_or_path"])


def test_a_server_gets_every_adapter_by_its_name(front, capsys):
    pick([str(front), "--list", "json"])
    listed = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in listed] == [
        f"help-{x}-harmless-{y}" for x, y in ((0.1, 0.9), (0.5, 0.5), (0.9, 0.1))
    ]
    assert all(PeftModel.from_pretrained(_base(each["path"]), each["path"]) for each in listed[:1])
    pick([str(front), "--list", "vllm"])
    line = capsys.readouterr().out
    assert line.startswith(f"vllm serve {listed[0]['base_model_name']} --enable-lora --max-lora-rank ")
    assert all(f" {each['name']}={each['path']}" in line for each in listed)


def test_what_cannot_be_picked_is_refused_in_one_line(front, tmp_path, capsys):
    whole = tmp_path / "whole"
    shutil.copytree(front, whole)
    for wrong, said in [
        ([str(tmp_path), "--preference", ".5,.5"], "there is no front here"),
        ([str(front)], r"which policy\? .*--list"),
        ([str(front), "--preference", ".5,.2"], "sums to 0.7"),
        ([str(front), "--preference", ".3,.7"], "2 policies are to be mixed .*--out"),
        ([str(front), "--preference", ".5,.5", "--method", "gapo"], "no method gapo .*it has pgapo"),
        ([str(front), "--preference", ".5,.5", "--seed", "9"], "no seed 9"),
        ([str(front), "--preference", ".5,.5", "--merge"], "--merge"),
        ([str(front), "--preference", ".5,.5", "--list", "vllm"], "only one of these"),
        ([str(front), "--preference", ".5,.5", "--out", str(front)], "is not empty"),
    ]:
        with pytest.raises(HeedError, match=said):
            pick(wrong)
    (tmp_path / "file").write_text("kept")
    for out, said in [("file", "this is a file"), ("file/below", "a file lies where a folder is to be")]:
        with pytest.raises(HeedError, match=said):
            pick([str(front), "--preference", ".5,.5", "--out", str(tmp_path / out)])
    assert (tmp_path / "file").read_text() == "kept"
    for text, said in [("{", "not JSON"), ("{}", "tells of no front"), ("[]", "tells of no front")]:
        (whole / "front.json").write_text(text)
        with pytest.raises(HeedError, match=rf"{said} .*front\.json.*--resume"):
            pick([str(whole), "--preference", ".5,.5"])


@pytest.fixture
def torn(front, tmp_path):
    """A copy of the front, whose first policy's adapter is to be broken: it and that adapter."""
    copied = tmp_path / "torn"
    shutil.copytree(front, copied)
    told = json.loads((copied / "front.json").read_text())
    return copied, copied / told["adapters"][0]["adapter"]


def test_only_the_adapters_that_are_picked_have_to_be_there(torn, tmp_path, capsys):
    folder, _ = torn
    told = json.loads((folder / "front.json").read_text())
    told["adapters"][0]["adapter"] = None
    (folder / "front.json").write_text(json.dumps(told))
    pick([str(folder), "--preference", ".7,.3", "--out", str(tmp_path / "out")])
    assert capsys.readouterr().out.strip() == str(tmp_path / "out")
    for wrong in (["--preference", ".1,.9"], ["--preference", ".3,.7"], ["--list", "vllm"], ["--list", "json"]):
        with pytest.raises(HeedError, match=r"has no adapter here \(preference 0\.1,0\.9\)"):
            pick([str(folder), *wrong])


def test_a_broken_adapter_is_refused_and_nothing_is_written(torn, tmp_path):
    folder, adapter = torn
    out = tmp_path / "new" / "out"
    weights, config = (adapter / name for name in ("adapter_model.safetensors", "adapter_config.json"))
    whole = weights.read_bytes()
    for spoil, said in [
        (lambda: weights.write_bytes(whole[:-1]), "this adapter is broken"),
        (weights.unlink, r"adapter_model\.safetensors is missing"),
        (lambda: weights.write_bytes(whole) and config.write_text("{"), r"adapter_config\.json is not JSON"),
    ]:
        spoil()
        for wrong in (["--preference", ".1,.9", "--out", str(out)], ["--list", "vllm"], ["--list", "json"]):
            with pytest.raises(HeedError, match=said):
                pick([str(folder), *wrong])
        assert not out.exists()


def test_of_a_front_of_whole_models_the_folder_of_the_one_is_named(heed_cache, tmp_path):
    out = tmp_path / "run"
    flags = [*tiny_flags(lora_r=0, steps=1, warmup_steps=0, cooldown_steps=0), "--methods", "pgapo"]
    front_command([*flags, "--preferences", "2", "--workers", "1", "--out", str(out)])
    with pytest.raises(HeedError, match=r"whole models were trained.*checkpoints.*: this folder is the policy's model"):
        pick([str(out), "--preference", ".1,.9"])
