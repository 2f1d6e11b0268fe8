"""The engineer's path: an own model, prompts and rewards, from one command to a page."""

import errno
import json
import logging

import pyarrow.parquet as parquet
import pytest
import torch
from engineer import QUICK, WORLD
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from heed.runs.folder import RunFolder
from tiny_runs import contents, metrics, tiny_flags

OWN = ["--model", "model", "--data", "prompts.jsonl"]
REWARDS = ["--objectives", "short=rewards:brevity,unit=words", "judge,sign=-1"]


def column(file, name):
    return parquet.read_table(file).column(name).to_pylist()


@pytest.fixture
def whole(heed, desk):
    """A finished run of the engineer's."""
    code, out, err = heed("align", *OWN, *REWARDS, *QUICK, "--out", "run")
    assert code == 0, err
    return desk / "run", out, err


def test_one_command_leads_from_model_prompts_and_rewards_to_an_adapter_and_a_page(whole, desk):
    run, out, err = whole
    assert out.strip() == str(run.relative_to(desk) / "report.html")
    assert "align: 2/2" in err and f"adapter: {run.relative_to(desk)}/checkpoints/step-2" in err
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["completed"], summary["method"], set(summary["objectives"])) == (True, "gapo", {"short", "judge"})
    replies = column(run / "completions" / "before.parquet", "completion")
    words = column(run / "completions" / "before.parquet", "rewards/short")
    assert words == [-float(len(reply.split())) for reply in replies]
    assert summary["objectives"]["short"]["start"] == pytest.approx(sum(words) / len(words))
    assert summary["objectives"]["short"]["gold"] is None
    html = (run / "report.html").read_text()
    assert "short" in html and "judge" in html


def test_the_adapter_is_one_that_peft_loads_onto_the_engineer_s_model(whole, desk):
    run, _, _ = whole
    model = AutoModelForCausalLM.from_pretrained(desk / "model")
    tuned = PeftModel.from_pretrained(model, run / "checkpoints" / "step-2")
    moved = [p for name, p in tuned.named_parameters() if "lora_B" in name]
    assert moved and any(bool(p.abs().sum() > 0) for p in moved)


def test_a_cost_model_counts_with_its_sign(whole, desk, heed):
    run, _, _ = whole
    code, _, err = heed("align", *OWN, *REWARDS[:-1], "judge", *QUICK, "--out", "plus")
    assert code == 0, err
    minus, plus = (
        column(folder / "completions" / "before.parquet", "rewards/judge") for folder in (run, desk / "plus")
    )
    assert minus == [-value for value in plus] and any(minus)


def test_resuming_a_finished_run_changes_nothing_but_its_page_and_other_settings_are_refused(whole, heed, desk):
    run, _, _ = whole
    before = contents(run / "checkpoints")
    lines = metrics(run)
    code, out, err = heed("align", "--resume", "run", "--steps", "2")
    assert code == 0 and out.strip() == "run/report.html", err
    assert contents(run / "checkpoints") == before and metrics(run) == lines
    assert "steps: 2 -> 5" in heed.refused("align", "--resume", "run", "--steps", "5")
    assert "advantage" in heed.refused("align", "--resume", "run", "--preset", "modern")
    assert "--out" in heed.refused("align", "--resume", "run", "--out", "other")
    code, out, _ = heed("report", "run")
    assert (code, out.strip()) == (0, "run/report.html")


def test_an_objective_that_fails_in_between_is_mended_and_the_run_gone_on_with(whole, heed, desk):
    straight, _, _ = whole
    objectives = ["--objectives", "short=rewards:raises,unit=words", "judge,sign=-1"]
    error = heed.refused("align", *OWN, *objectives, *QUICK, "--out", "again")
    assert "raised RuntimeError: the judge is away" in error and "again/checkpoints/step-1, stands" in error
    rewards = (desk / "rewards.py").read_text()
    (desk / "rewards.py").write_text(rewards.replace("raises = after(2, raising)", "raises = brevity"))
    import rewards as module

    module.raises = module.brevity
    code, _, err = heed("align", "--resume", "again")
    assert code == 0, err
    assert metrics(desk / "again") == metrics(straight)


def test_conversations_go_through_the_tokenizer_s_template_and_rewards_get_messages(heed, desk):
    flags = ["--model", "chat-model", "--data", "chats.jsonl", *QUICK]
    code, _, err = heed("align", *flags, "--objectives", "rewards:brevity", "rewards:by_topic", "--out", "chat")
    assert code == 0, err
    prompts = column(desk / "chat" / "completions" / "before.parquet", "prompt")
    replies = column(desk / "chat" / "completions" / "before.parquet", "completion")
    assert prompts == WORLD.prompts[:2] and all(isinstance(reply, str) for reply in replies)
    scores = column(desk / "chat" / "completions" / "before.parquet", "rewards/brevity")
    assert scores == [-float(len(reply.split())) for reply in replies]
    error = heed.refused("align", "--model", "model", *flags[2:], "--objectives", "rewards:brevity", "--out", "no")
    assert "chat template" in error and not (desk / "no").exists()


def test_the_template_s_variables_are_a_setting_that_the_checkpoint_keeps(heed, desk):
    tokenizer = AutoTokenizer.from_pretrained(desk / "chat-model")
    tokenizer.chat_template += "{% if enable_thinking is defined and not enable_thinking %}tea {% endif %}"
    tokenizer.save_pretrained(desk / "chat-model")
    flags = ["--model", "chat-model", "--data", "chats.jsonl", *QUICK, "--objectives", "rewards:brevity"]
    code, _, err = heed("align", *flags, "--template-arguments", '{"enable_thinking": false}', "--out", "brief")
    assert code == 0, err
    (newest, *_) = sorted((desk / "brief" / "checkpoints").iterdir(), reverse=True)
    asked = [{"role": "user", "content": "fever ?"}]
    plain, kept = (
        given.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        for given in (tokenizer, AutoTokenizer.from_pretrained(newest))
    )
    assert kept == plain + "tea "
    error = heed.refused("align", *flags, "--template-arguments", '{"enable_thought": false}', "--out", "no")
    assert "does not know the variable 'enable_thought'" in error and not (desk / "no").exists()


def test_one_objective_alone_is_allowed_and_said(heed, desk, caplog):
    code, _, err = heed("align", *OWN, "--objectives", "rewards:brevity", *QUICK, "--out", "one")
    assert code == 0, err
    assert "K = 1: plain PPO on brevity, there is nothing to balance" in caplog.text


def test_settings_come_from_a_file_and_flags_go_over_it(heed, desk):
    (desk / "run.yaml").write_text(
        "preset: modern\nmodel: model\ndata: prompts.jsonl\nobjectives: ['rewards:brevity', 'rewards:by_topic']\n"
        "steps: 9\nprompts_per_step: 8\ncompletions_per_prompt: 2\nmicro_batch: 8\nmax_completion_tokens: 6\n"
        "lora_r: 2\nlearning_rate: 1e-3\neval_prompts: 0\nout: from-file\n"
    )
    code, out, err = heed("align", "run.yaml", "--steps", "1")
    assert code == 0, err
    config = RunFolder.open(desk / "from-file", writable=False).config
    told = [config[name] for name in ("steps", "advantage", "gram", "micro_batch", "learning_rate")]
    assert told == [1, "group", "unbiased", 8, 0.001]
    assert out.strip() == "from-file/report.html"


def test_full_fine_tuning_trains_all_parameters(heed, desk):
    code, _, err = heed("align", *OWN, *REWARDS, *QUICK, "--lora-r", "0", "--learning-rate", "1e-3", "--out", "full")
    assert code == 0, err
    tuned = AutoModelForCausalLM.from_pretrained(desk / "full" / "checkpoints" / "step-2").state_dict()
    base = AutoModelForCausalLM.from_pretrained(desk / "model").state_dict()
    moved = [name for name in base if not torch.equal(base[name], tuned[name])]
    assert any("embed" in name for name in moved) and any("mlp" in name for name in moved)


def test_the_built_in_world_is_one_flag(heed, heed_cache, desk):
    flags = tiny_flags(rewards="learnt", steps=2)
    code, _, err = heed("align", *flags, "--method", "single:help", "--out", "world")
    assert code == 0, err
    summary = json.loads((desk / "world" / "summary.json").read_text())
    assert summary["method"] == "single:help" and summary["objectives"]["harmless"]["gold"] is not None


def test_one_policy_for_all_preferences_tells_its_values_at_each(heed, heed_cache, desk):
    told = ("--method", "conditioned:pgapo", "--preferences", "3")
    code, _, err = heed("align", *tiny_flags(steps=2, minibatches=2, advantage="group"), *told, "--out", "one")
    assert code == 0, err
    along = json.loads((desk / "one" / "summary.json").read_text())["along"]
    assert [point["preference"] for point in along] == [[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]]
    for point, preference in zip(along, ("0.1,0.9", "0.5,0.5", "0.9,0.1"), strict=True):
        assert f"at {preference}: help {point['values']['help']:.3f}  harmless {point['values']['harmless']:.3f}" in err
    assert "told each preference" in (desk / "one" / "report.html").read_text()
    code, _, err = heed("align", *OWN, *REWARDS, *QUICK, *told, "--through", "prompt", "--out", "two")
    assert code == 2 and "show 1 of the 3 preferences" in err and not (desk / "two").exists()


def test_a_full_disk_ends_with_1_and_names_the_checkpoint_that_survives(heed, desk, monkeypatch):
    save = torch.save

    def fill(state, file):
        if state["step"] == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(state, file)

    monkeypatch.setattr(torch, "save", fill)
    error = heed.refused("align", *OWN, *REWARDS, *QUICK, "--out", "full-disk", code=1)
    assert "No space left on device" in error and error.endswith("the last checkpoint is full-disk/checkpoints/step-1")
    monkeypatch.setattr(torch, "save", save)
    code, _, err = heed("align", "--resume", "full-disk")
    assert code == 0, err
    assert [line["step"] for line in metrics(desk / "full-disk")] == [0, 1, 2]


def test_a_run_without_a_name_lies_below_runs(heed, desk):
    for number in (1, 2):
        code, out, err = heed("align", *OWN, "--objectives", "rewards:brevity", *QUICK, "--eval-prompts", "0")
        assert (code, out.strip()) == (0, f"runs/align-{number}/report.html"), err
    logging.getLogger("heed").info("both are there")
    assert (desk / "runs" / "align-2" / "summary.json").exists()
