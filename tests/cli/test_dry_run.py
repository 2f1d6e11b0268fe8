"""`heed align --dry-run`: what is missing, what it takes, and one step, before anything is trained or written."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from engineer import CHAT, save_judge
from transformers import AutoTokenizer, MistralConfig

from heed.align.budget.device import Device, contained, device_here
from heed.align.dry_run.models import config_at, require_weights
from heed.align.dry_run.rehearsal import verdict
from heed.errors import HeedError
from heed.worlds.apothecary import Apothecary
from tiny_runs import contents

RECIPES = Path(__file__).parents[2] / "recipes"
OWN = ["--model", "model", "--data", "prompts.jsonl", "--dry-run"]
SMALL = ["--prompts-per-step", "4", "--completions-per-prompt", "2", "--max-completion-tokens", "6", "--lora-r", "2"]
REWARDS = ["--objectives", "short=rewards:brevity", "judge,sign=-1"]
STEP = re.compile(r"^one step of a shrunken model: \d+\.\d s$", re.MULTILINE)


def missing(found):
    """The lines of a dry run that found something, without their beginnings."""
    code, out, err = found
    assert code == 2 and "Traceback" not in err and "no step was tried" in out, found
    return [line.removeprefix("heed: error: ") for line in err.splitlines() if line.startswith("heed: error: ")]


def held(out, name):
    """A row of the table, in megabytes."""
    return float(re.search(rf"^  {re.escape(name)} .*?([\d.]+) MB$", out, re.MULTILINE)[1])


def test_a_job_that_would_run_is_shown_and_tried_and_leaves_nothing(heed, desk):
    before = contents(desk)
    code, out, err = heed("align", *OWN, *REWARDS, *SMALL)
    assert code == 0, err
    first = json.loads((desk / "prompts.jsonl").read_text().splitlines()[0])["prompt"]
    ids = AutoTokenizer.from_pretrained(desk / "model")(first).input_ids
    assert f"the first prompt, as the policy reads it ({len(ids)} tokens):\n{first}\n" in out
    assert f"its tokens: {' '.join(map(str, ids))}\n" in out
    assert "it fits: " in out and STEP.search(out)
    assert {k: v for k, v in contents(desk).items() if "__pycache__" not in k} == before


def test_the_budget_s_rows_are_the_files_sizes(heed, desk):
    _, out, _ = heed("align", *OWN, *REWARDS, *SMALL)
    sizes = {name: (desk / name / "model.safetensors").stat().st_size for name in ("model", "judge")}
    assert held(out, "base weights") == pytest.approx(sizes["model"] / 1e6, abs=0.02)  # a header of some kilobytes
    assert held(out, "reward model judge") == pytest.approx(sizes["judge"] / 1e6, abs=0.02)


@pytest.mark.parametrize(
    "flags",
    [
        ["--preset", "modern", "--micro-batch", "2"],
        ["--preset", "steady", "--minibatches", "2", "--epochs", "2", "--gradient-checkpointing", "true"],
        ["--lora-r", "0", "--method", "pgapo", "--preference", ".2,.8"],
        ["--advantage", "leave_one_out", "--max-fall", "3", "--gram", "adam", "--dtype", "bfloat16"],
        ["--method", "gdpo", "--advantage", "group"],
    ],
    ids=lambda flags: " ".join(flags[:2]),
)
def test_a_step_is_tried_with_the_run_s_own_settings(heed, desk, flags):
    code, out, err = heed("align", *OWN, *REWARDS, *SMALL, *flags)
    assert code == 0 and STEP.search(out), err


def test_services_are_not_asked_and_many_heads_and_ensembles_have_stand_ins(heed, desk):
    shutil.copytree(desk / "judge", desk / "judge2")
    specs = ["far=http://127.0.0.1:9/score", "judge,heads=kind:0", "both=ensemble://judge+judge2,pessimism=2"]
    code, out, err = heed("align", *OWN, "--objectives", *specs, *SMALL)
    assert code == 0 and STEP.search(out), err
    assert "reward model judge2" in out and "3 gradients" in out


def test_all_that_is_missing_is_listed_and_what_is_known_is_told(heed, desk):
    flags = ["--data", "none.jsonl", "--eval-data", "nor.parquet", "--held-out-judges", "owner/away"]
    specs = ["--objectives", "nowhere", "cost=judge,head=3", "odd=judge,sgin=1", "rewards:no_such"]
    lines = missing(heed("align", *OWN, *flags, *specs, *SMALL))
    assert [line.partition(":")[0] for line in lines] == [
        "there is no such data (none.jsonl)",
        "there is no such data (nor.parquet)",
        "there is no reward model on this machine (nowhere)",
        "the reward model has no head '3' (judge)",
        "'sgin' is no option of judge (--objectives sgin=1)",
        "module 'rewards' has no 'no_such' (--objectives rewards",
        "there is no reward model on this machine (owner/away)",
    ]


def test_a_model_without_its_weights_is_missing_and_has_a_budget(heed, desk):
    (desk / "model" / "model.safetensors").unlink()
    found = heed("align", *OWN, "--objectives", "short=rewards:brevity", "nowhere", *SMALL)
    assert missing(found)[0] == "the model has a config, and no weights on this machine (model): fetch them"
    assert "base weights" in found[1] and "reward model nowhere: unknown, and not in the sum" in found[1]
    found = heed("align", *OWN, "--model", "mistralai/none", *REWARDS, *SMALL)
    assert missing(found) == ["there is no model on this machine (mistralai/none): fetch it, or give its folder"]
    assert "memory: unknown, as nothing of the model mistralai/none is on this machine" in found[1]


def test_a_broken_line_of_the_data_is_told_by_its_number(heed, desk):
    lines = (desk / "prompts.jsonl").read_text().splitlines()
    (desk / "prompts.jsonl").write_text("\n".join([*lines[:2], '{"prompt": "cough', *lines[3:]]))
    found = missing(heed("align", *OWN, *REWARDS, *SMALL))
    assert len(found) == 1 and found[0].startswith("not valid JSON") and "prompts.jsonl:3" in found[0]
    (desk / "prompts.jsonl").write_text('{"question": "cough?"}\n')
    assert missing(heed("align", *OWN, *REWARDS, *SMALL))[0].startswith("the data have no column 'prompt'")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% for m in messages %}{{ m.role }}{% endfor %}", "the chat template leaves out the prompt's last message"),
        ("", "the tokenizer has no chat template"),
    ],
    ids=["refuses", "leaves out", "none"],
)
def test_a_chat_template_that_fails(heed, desk, template, said):
    tokenizer = Apothecary().tokenizer()
    tokenizer.chat_template = template or None
    for file in (desk / "chat-model").glob("*.jinja"):
        file.unlink()
    tokenizer.save_pretrained(desk / "chat-model")
    chats = ["--model", "chat-model", "--data", "chats.jsonl", "--objectives", "rewards:brevity"]
    assert said in missing(heed("align", *OWN, *chats, *SMALL))[0]


def test_a_judge_s_template_is_tried_on_the_first_prompt(heed, desk):
    chats = ["--model", "chat-model", "--data", "chats.jsonl", *REWARDS]
    found = missing(heed("align", *OWN, *chats, *SMALL))
    assert len(found) == 1 and "no chat template" in found[0] and "reward model judge" in found[0]
    tokenizer = AutoTokenizer.from_pretrained(save_judge(desk / "chat-judge"))
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(desk / "chat-judge")
    code, out, err = heed("align", *OWN, *chats[:-1], "chat-judge", *SMALL)
    assert code == 0 and STEP.search(out), err


def test_a_prompt_that_the_context_has_no_room_for_is_told(heed, desk):
    with (desk / "prompts.jsonl").open("a") as file:
        file.write(json.dumps({"prompt": "cough " * 5000}) + "\n")
    code, out, err = heed("align", *OWN, *REWARDS, *SMALL)
    assert code == 2 and "prompt 12 has 5001 tokens, but the model's context of" in err
    assert "with prompts of 5001 tokens" in out


def test_what_evaluations_ask_is_tried_as_well(heed, desk):
    (desk / "asked.jsonl").write_text(json.dumps({"prompt": "cough " * 5000}) + "\n")
    code, out, err = heed("align", *OWN, *REWARDS, "--eval-data", "asked.jsonl", *SMALL)
    assert code == 2 and "has 5001 tokens, but the model's context of" in err
    assert "with prompts of 5001 tokens" in out


def test_a_reward_function_that_fails_is_told_before_the_first_gpu_hour(heed, desk):
    code, out, err = heed("align", *OWN, "--objectives", "rewards:raises_at_once", "judge", *SMALL)
    assert code == 2 and "raised RuntimeError: the judge is away" in err and not STEP.search(out)


def test_the_paper_s_recipe_names_all_that_it_needs(heed, desk):
    lines = missing(heed("align", RECIPES / "gapo-mistral-7b.yaml", "--dry-run"))
    needed = ["models/mistral-7b-sft", "data/pku-safe-rlhf-train.jsonl", "data/pku-safe-rlhf-test.jsonl"]
    needed += ["PKU-Alignment/beaver-7b-v1.0-reward", "PKU-Alignment/beaver-7b-v1.0-cost"]
    assert [any(f"({name})" in line for line in lines) for name in needed] == [True] * 5 and len(lines) == 5


def test_the_paper_s_recipe_takes_its_budget_from_configs_alone(heed, desk):
    """Mistral-7B's config beside a tokenizer, its judges' not here: what takes memory is told without a weight."""
    shape = {"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32}
    shape |= {"num_attention_heads": 32, "num_key_value_heads": 8, "dtype": "bfloat16"}
    MistralConfig(**shape).save_pretrained(desk / "models" / "mistral-7b-sft")
    found = heed("align", RECIPES / "gapo-mistral-7b.yaml", "--max-completion-tokens", "64", "--dry-run")
    assert "no weights on this machine" in missing(found)[0]
    assert re.search(r"base weights +14\.48 GB\n  adapter \(41,943,040 numbers\) +0\.17 GB", found[1])


def test_a_world_and_a_run_that_goes_on_have_no_dry_run(heed, desk):
    assert "leave out it, or --world" in heed.refused("align", "--world", "apothecary", "--dry-run")
    assert "--dry-run, --resume" in heed.refused("align", "--resume", "run", "--dry-run")


def test_weights_of_which_a_part_is_missing_are_not_here(desk):
    folder = desk / "model"
    (folder / "model.safetensors").unlink()
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    (folder / parts["a"]).write_bytes(b"")
    with pytest.raises(HeedError, match=r"the model lacks 1 parts of its weights \(model-00002-of-00002"):
        require_weights(str(folder), "model")
    (folder / parts["b"]).write_bytes(b"")
    require_weights(str(folder), "model")
    with pytest.raises(HeedError, match="there is no model on this machine"):
        config_at("my models", "model")  # no hub id, which its library refuses by an error of its own


def test_a_container_leaves_what_it_has_not_taken_but_for_copies_of_files(tmp_path):
    assert contained(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    assert contained(tmp_path) is None
    (tmp_path / "memory.max").write_text("16000\n")
    (tmp_path / "memory.current").write_text("12000\n")
    assert contained(tmp_path) == (4000, 16000)
    (tmp_path / "memory.stat").write_text("anon 3000\ninactive_file 8000\nactive_file 5\n")
    assert contained(tmp_path) == (12000, 16000)


def test_what_is_more_than_there_is_does_not_fit():
    here = device_here()
    assert 0 < here.free <= here.total and here.cuda == torch.cuda.is_available()
    small = Device("a GPU", 20 * 10**9, 24 * 10**9, cuda=True)
    assert verdict(20 * 10**9, small).startswith("it fits: 20.00 GB at the peak, 20.00 GB free (a GPU)")
    with pytest.raises(HeedError, match=r"it does not fit: 20.00 GB at the peak, 20.00 GB free .*lower --micro-batch"):
        verdict(20 * 10**9 + 1, small)
    assert verdict(17 * 10**9, small, clips=True).startswith("it fits")
    assert verdict(18 * 10**9, small, clips=True).startswith("it may not fit, as PPO clips")
    assert verdict(10**9, small, whole=False).startswith("it fits without what is unknown: 1.00 GB")


def test_a_score_model_of_safe_rlhf_is_known_by_its_config(heed, desk):
    told = json.loads((desk / "judge" / "config.json").read_text())
    told |= {"architectures": ["LlamaModelForScore"], "normalizer_type": "Quantile"}
    (desk / "judge" / "config.json").write_text(json.dumps(told))
    found = heed("align", *OWN, "--objectives", "rewards:brevity", "judge,head=0", *SMALL)
    assert [line.partition(" (")[0] for line in missing(found)] == [
        "the normaliser 'Quantile' is not known",
        "'head' is no option of judge",
    ]
    assert "reward model judge" in found[1]
