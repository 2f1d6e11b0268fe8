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
        ([str(front), "--preference", ".3,.7"], "two policies are to be mixed .*--out"),
        ([str(front), "--preference", ".5,.5", "--method", "gapo"], "no method gapo .*it has pgapo"),
        ([str(front), "--preference", ".5,.5", "--seed", "9"], "no seed 9"),
        ([str(front), "--preference", ".5,.5", "--merge"], "--merge"),
        ([str(front), "--preference", ".5,.5", "--list", "vllm"], "only one of these"),
        ([str(front), "--preference", ".5,.5", "--out", str(front)], "is not empty"),
    ]:
        with pytest.raises(HeedError, match=said):
            pick(wrong)
    told = json.loads((whole / "front.json").read_text())
    told["adapters"][0]["adapter"] = None
    (whole / "front.json").write_text(json.dumps(told))
    with pytest.raises(HeedError, match="has no adapter here"):
        pick([str(whole), "--preference", ".5,.5"])
    (whole / "front.json").write_text("{")
    with pytest.raises(HeedError, match="not JSON"):
        pick([str(whole), "--preference", ".5,.5"])
