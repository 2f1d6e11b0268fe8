"""A mistake of the user's: one line that says what, where and what to do; exit code 2; no run folder is left."""

import json

import pytest
import torch
from engineer import QUICK, write_lines
from transformers import AutoModelForCausalLM, AutoTokenizer

from heed.align.balancing import Balancer
from tiny_runs import contents, metrics, tiny_defaults, tiny_flags

OWN = {"--model": ["model"], "--data": ["prompts.jsonl"], "--objectives": ["rewards:brevity", "rewards:by_topic"]}


def flags(**changes):
    given = {**OWN, **{f"--{name.replace('_', '-')}": value for name, value in changes.items()}}
    return [text for name, values in given.items() if values is not None for text in (name, *values)]


def refused(heed, desk, *arguments):
    error = heed.refused("align", *QUICK, *arguments, "--out", "run")
    assert not (desk / "run").exists()
    return error


def test_a_model_that_overflows_in_float16_says_which_dtype_to_take(heed, desk):
    model = AutoModelForCausalLM.from_pretrained(desk / "model")
    model.model.norm.weight.data.fill_(6e4)
    model.lm_head.weight.data.mul_(50)
    model.half().save_pretrained(desk / "model")
    said = "logits are not finite in float16 (model): its range ends at 65504; set --dtype to bfloat16 or float32"
    assert said in refused(heed, desk, *flags())
    pairs = ["--objectives", "help", "--prompts", "prompts.jsonl", "--max-completion-tokens", "6"]
    error = heed.refused("label", *pairs, "--model", "model")
    assert "logits are not finite in float16 (model)" in error and "set dtype in its config.json" in error
    code, _, err = heed("align", *QUICK, *flags(), "--dtype", "bfloat16", "--out", "run")
    assert code == 0, err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": ["./no-such-model"]}, ["there is no language model (./no-such-model)"]),
        ({"model": ["judge/config.json"]}, ["judge/config.json"]),
        ({"data": ["no-such.jsonl"]}, ["no-such.jsonl"]),
        ({"objectives": ["rewards:brevity", "brevity=rewards:by_topic"]}, ["2 objectives are called 'brevity'"]),
        ({"objectives": ["rewards:no_such"]}, ["no 'no_such'"]),
        ({"objectives": ["no_such_module:score"]}, ["cannot import 'no_such_module'"]),
        ({"objectives": ["./no-such-judge"]}, ["no-such-judge"]),
        ({"objectives": ["model"]}, ["no sequence-classification head"]),
        ({"objectives": ["judge,head=7"]}, ["no head '7'"]),
        ({"objectives": ["rewards:brevity,sign=2"]}, ["sign is 2"]),
        ({"objectives": None}, ["there is nothing to train (--objectives)"]),
        ({"model": None}, ["there is nothing to train (--model)"]),
        ({"method": ["pgapo"], "preference": [".7,.7"]}, ["sums to 1.4", "--preference"]),
        ({"method": ["pgapo"], "preference": ["1.2,-.2"]}, ["negative weight", "--preference"]),
        ({"method": ["pgapo"], "preference": [".5,.3,.2"]}, ["3 weights for 2 objectives"]),
        ({"method": ["pgapo"], "preference": ["much,little"]}, ["'much,little' is not a list of numbers"]),
        ({"method": ["pgapo"]}, ["pgapo needs a preference"]),
        ({"method": ["tchebycheff"], "preference": [".5,.5"]}, ["--ideal, --nadir"]),
        ({"p": ["-1"]}, ["p is -1", "--p"]),
        ({"method": ["gappo"]}, ["no method 'gappo'", "did you mean gapo?"]),
        ({"preset": ["old"]}, ["no preset 'old'", "paper, steady, modern"]),
        ({"stepz": ["3"]}, ["--stepz"]),
        ({"learning_rate": ["fast"]}, ["--learning-rate cannot be 'fast'"]),
        ({"learning_rate": ["0"]}, ["0.0 is not positive (--learning-rate)"]),
        ({"advantage": ["best"]}, ["advantage cannot be 'best'"]),
        ({"world": ["moon"]}, ["world cannot be 'moon'"]),
        ({"lora_targets": ["no_such_layer"]}, ["no_such_layer", "--lora-targets"]),
        ({"lora_r": ["-1"]}, ["a rank of -1 (--lora-r)"]),
        ({"beta1": ["1.5"]}, ["1.5 is too much (--beta1): give less than 1"]),
        ({"beta2": ["1"]}, ["1.0 is too much (--beta2)"]),
        ({"beta2": ["-.5"]}, ["-0.5 is too little (--beta2)"]),
        ({"critic_learning_rate": ["-1"]}, ["-1.0 is not positive (--critic-learning-rate)"]),
        ({"top_p": ["-.1"]}, ["-0.1 is not positive (--top-p)"]),
        ({"top_p": ["1.1"]}, ["1.1 is too much (--top-p): give at most 1"]),
        ({"gram_memory": ["1"]}, ["1.0 is too much (--gram-memory): give less than 1"]),
        ({"gram_memory": ["-.1"]}, ["-0.1 is too little (--gram-memory)"]),
        ({"critic_value_clip": [".2"]}, ["nothing clips (--critic-value-clip): raise --critic-epochs"]),
        ({"gram": ["unbiased"], "prompts_per_step": ["4"], "micro_batch": ["3"]}, ["3 does not divide", "of 8"]),
        ({"method": ["gapo"], "weights": ["1,2"]}, ["gapo has no weights (--weights): take --method linear"]),
        ({"weighting.q": ["1"]}, ["no setting is called 'weighting.q'"]),
        ({"c": ["much"]}, ["weighting.c cannot be 'much'"]),
        ({"c": ["0.3"]}, ["gapo has no c (--c): take --method cagrad"]),
        ({"method": ["nowhere:mine"]}, ["cannot import 'nowhere'", "--method nowhere:mine"]),
        ({"method": ["rewards:brevity"]}, ["rewards:brevity is no weighting"]),
        ({"method": ["single:zeal"]}, ["no objective 'zeal'"]),
        ({"world": ["apothecary"]}, ["a world brings its own model", "(--model)"]),
        ({"split": ["train"]}, ["a file has no splits to take 'train' from (prompts.jsonl)"]),
        ({"eval_data": ["no-such.jsonl"]}, ["no-such.jsonl"]),
        ({"max_completion_tokens": ["62"]}, ["prompt 0 has", "context of 64", "--max-completion-tokens"]),
    ],
)
def test_a_run_that_cannot_begin(heed, desk, changes, said):
    error = refused(heed, desk, *flags(**changes))
    for words in said:
        assert words in error, error


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "bad.jsonl"),
        ("\n\n", "bad.jsonl"),
        ('{"prompt": "fever ?"}\n{"prompt": \n', "bad.jsonl:2"),
        ('{"prompt": "fever ?"}\n[1, 2]\n', "bad.jsonl:2"),
        ('{"question": "fever ?"}\n', "no column 'prompt'"),
        ('{"prompt": "fever ?"}\n{"prompt": ""}\n', "bad.jsonl:2"),
        ('{"prompt": "fever ?"}\n{"prompt": 7}\n', "bad.jsonl"),
    ],
    ids=["empty", "blank lines", "malformed", "no object", "no prompt column", "empty prompt", "a number"],
)
def test_prompts_that_cannot_be_read(heed, desk, text, said):
    (desk / "bad.jsonl").write_text(text)
    assert said in refused(heed, desk, *flags(data=["bad.jsonl"]))


def test_a_prompt_longer_than_the_context(heed, desk):
    write_lines(desk / "long.jsonl", [{"prompt": "fever ?"}, {"prompt": "fever and " * 40}])
    error = refused(heed, desk, *flags(data=["long.jsonl"]))
    assert "prompt 1 has 81 tokens" in error and "context of 64" in error and "shorten it" in error


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("raises", "raised RuntimeError: the judge is away"),
        ("too_few", "returned 7 values for 8 completions"),
        ("nan", "returned nan (completion 7 "),
        ("infinite", "returned inf (completion 7 "),
    ],
)
def test_a_reward_that_no_step_may_see_stops_before_the_step_and_the_last_checkpoint_stands(heed, desk, function, said):
    error = heed.refused("align", *flags(objectives=["judge", f"rewards:{function}"]), *QUICK, "--out", "run")
    assert said in error and "objective '" in error
    assert error.endswith("the last checkpoint, run/checkpoints/step-1, stands")
    assert [line["step"] for line in metrics(desk / "run")] == [0, 1]
    assert json.loads((desk / "run" / "summary.json").read_text())["completed"] is False


def test_a_reward_that_fails_before_the_first_checkpoint_leaves_no_folder(heed, desk):
    assert "the judge is away" in refused(heed, desk, *flags(objectives=["rewards:raises_at_once"]))


def test_an_output_folder_that_holds_another_run_or_anything_else_is_left_as_it_is(heed, desk):
    heed("align", *flags(objectives=["rewards:brevity"]), *QUICK, "--out", "run")
    before = contents(desk / "run")
    error = heed.refused("align", *flags(), *QUICK, "--out", "run")
    assert "holds another run" in error and "--resume run" in error
    assert contents(desk / "run") == before
    (desk / "full").mkdir()
    (desk / "full" / "letter.txt").write_text("dear")
    assert "is not empty" in heed.refused("align", *flags(), *QUICK, "--out", "full")
    assert (desk / "full" / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["alight"], "there is no command 'alight'"),
        (["bench"], "heed bench gradients"),
        (["compare"], "heed compare align"),
        (["report", "no-such-run"], "no-such-run"),
        (["report"], "run"),
        (["demo", "--steps", "many"], "steps cannot be 'many'"),
        (["align", "--resume", "no-such-run"], "holds no run"),
        (["front", "--resume", "no-such-run"], "holds no run"),
        (["compare", "align", "--resume", "no-such-run"], "holds no run"),
        (["demo", "--resume", "no-such-run"], "holds no run"),
        (["align", "no-such.yaml"], "there is no such config file"),
        (["align", "model"], "the config file cannot be read: Is a directory (model)"),
        (["front", "--world", "apothecary", "--methods", "linear", "--mu", ".1"], "linear has no mu"),
        (["front", "--world", "apothecary", "--model", "model"], "a world brings its own"),
        (["compare", "align", "--methods", "gapo:p=1e"], "p cannot be '1e'"),
        (["compare", "align", "--methods", "gapo:epochs=many"], "epochs cannot be 'many'"),
        (["front", "--world", "apothecary", "--methods", "gapo"], "gapo follows no preference"),
        (["front", "--methods", "linear"], "there is nothing to train"),
        (["front", "--world", "apothecary", "--preferences", "1"], "--preferences"),
        (["front", "--world", "apothecary", "--workers", "0"], "--workers"),
        (["compare", "align", "--methods", "gappo"], "did you mean gapo"),
        (["compare", "align", "--seeds", "0"], "--seeds"),
        (
            ["compare", "guard", "--method", "hirl"],
            "several methods are compared here (--method): name them by --methods",
        ),
        (["compare", "align", "--method=mgda"], "several methods are compared here (--method): name them by"),
        (["front", "--world", "apothecary", "--method", "linear"], "(--method): name them by --methods"),
        (["compare", "guard", "--steps", "9", "--budget", "8"], "given twice (--steps, --budget): give one of them"),
        (["compare", "align", "--steps", "9", "--budget", "8"], "given twice (--steps, --budget): give one of them"),
        (["compare", "guard", "--out", "a", "--resume", "b"], "stays where it is (--out)"),
        (["oversee", "--overseer-timeout", "5"], "the agent waits for them (--overseer-timeout)"),
        (["report", "run", "--serve", "--picture", "a.gif"], "one of these can be done at a time (--serve, --picture)"),
        (["report", "run", "--at", "3"], "nothing would read this (--at): give --picture too"),
        (["report", "run", "--port", "0"], "nothing would read this (--port): give --serve too"),
        (["judgements", "a.db", "--serve", "--verify"], "one of these can be done at a time (--verify, --serve)"),
        (["judgements", "a.db", "--why", "late"], "nothing would read this (--why): give --retract too"),
        (["judgements", "a.db", "--people", "ada"], "nothing would read this (--people): give --serve too"),
        (["judgements", "a.db", "--verify", "--kind", "block"], "--verify does not choose among judgements (--kind)"),
        (
            ["judgements", "a.db", "--export", "a.jsonl", "--last", "3"],
            "does not choose among judgements (--last)",
        ),
        (["guard", "--env-kwargs", '{"dsic": 1}'], "there is no 'dsic' (heed/PointHazard-v0)"),
        (["oversee", "--env-kwargs", '{"dsic": 1}', "--port", "0"], "there is no 'dsic' (heed/PointHazard-v0)"),
        (["compare", "guard", "--env-kwargs", '{"dsic": 1}'], "there is no 'dsic' (heed/PointHazard-v0)"),
    ],
)
def test_commands_that_cannot_begin(heed, desk, arguments, said):
    assert said in heed.refused(*arguments)
    assert not (desk / "runs").exists() or not list((desk / "runs").iterdir())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stepz: 3\n", "no setting is called 'stepz' (bad.yaml)"),
        ("resume: run\n", "no setting is called 'resume'"),
        ("- steps\n- 3\n", "not a mapping (bad.yaml)"),
        ("steps: [\n", "not YAML (bad.yaml:2)"),
        ("steps: ten\n", "steps cannot be 'ten' (bad.yaml)"),
        ("preset: old\n", "no preset 'old'"),
        ("objectives: rewards:brevity\n", "objectives cannot be 'rewards:brevity' (bad.yaml): give a list"),
        ("preference: much\n", "'much' is not a list of numbers"),
    ],
)
def test_a_settings_file_that_cannot_be_used(heed, desk, text, said):
    (desk / "bad.yaml").write_text(text)
    assert said in heed.refused("align", "bad.yaml")


def test_debug_shows_the_traceback_as_well(heed, desk):
    code, _, err = heed("align", "--debug", *flags(p=["-1"]), *QUICK)
    assert code == 2 and "Traceback (most recent call last)" in err
    assert err.splitlines()[-1].startswith("heed: error: p is -1")


def test_a_demo_goes_on_only_as_it_was_told(heed, heed_cache, desk, monkeypatch):
    monkeypatch.setattr("heed.compare.demo.defaults", tiny_defaults)
    assert heed("demo", "--steps", "1", "--guard-steps", "0", "--out", "demo")[0] == 0
    before = contents(desk / "demo")
    for given, said in (
        (["--steps", "100"], "steps: 1 -> 100"),
        (["--seed", "3"], "seed: 0 -> 3"),
        (["--quick"], "steps: 1 -> 3"),
        (["--out", "other"], "one of --out and --resume"),
    ):
        assert said in heed.refused("demo", "--resume", "demo", *given)
    assert contents(desk / "demo") == before
    assert heed("demo", "--resume", "demo", "--steps", "1", "--seed", "0", "--guard-steps", "0")[0] == 0


def test_a_run_is_not_gone_on_with_as_a_quick_one_unless_it_is_one(heed, desk):
    for out, how in (("run", []), ("quick", ["--quick"])):
        assert heed("align", *flags(objectives=["rewards:brevity"]), *QUICK, *how, "--out", out)[0] == 0
    assert "eval_every: 20 -> 0" in heed.refused("align", "--resume", "run", "--quick", *QUICK)
    assert heed("align", "--resume", "quick", "--quick", *QUICK)[0] == 0


def test_a_fault_in_a_round_ends_with_1_and_names_the_checkpoint(heed, desk, monkeypatch):
    solve, calls = Balancer.solve, []

    def fail(balancer, optimizer):
        calls.append(1)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")
        return solve(balancer, optimizer)

    monkeypatch.setattr(Balancer, "solve", fail)
    error = heed.refused("align", *flags(objectives=["rewards:brevity"]), *QUICK, "--out", "run", code=1)
    assert error == "OutOfMemoryError: CUDA out of memory.; the last checkpoint is run/checkpoints/step-1"
    calls.clear()
    code, _, err = heed("align", "--debug", *flags(objectives=["rewards:brevity"]), *QUICK, "--out", "again")
    assert code == 1 and "Tried to allocate 2 GiB" in err and "Traceback (most recent call last)" in err


def test_the_other_kind_of_run_is_not_resumed(heed, heed_cache, desk):
    assert heed("align", *tiny_flags(steps=1), "--out", "run")[0] == 0
    assert "a run of kind align" in heed.refused("front", "--resume", "run")


@pytest.mark.parametrize("command", ["align", "label", "reward"])
def test_a_template_without_a_generation_prompt_is_one_line(heed, desk, command):
    tokenizer = AutoTokenizer.from_pretrained(desk / "chat-model")
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}> {{ m.content }} {% endfor %}"
    tokenizer.save_pretrained(desk / "chat-model")
    pair = {"prompt": [{"role": "user", "content": "cough ?"}], "chosen": "mint", "rejected": "sage"}
    write_lines(desk / "told.jsonl", [pair] * 4)
    ask = ["--prompts", "chats.jsonl", "--objectives", "help", "--max-completion-tokens", "6"]
    flags = {
        "align": ["--data", "chats.jsonl", "--objectives", "rewards:brevity", *QUICK, "--out", "run"],
        "label": ask,
        "reward": ["told.jsonl", "--epochs", "1", "--out", "run"],
    }[command]
    if command == "reward":  # which reads whole conversations
        code, _, err = heed("reward", *flags, "--model", "chat-model")
        assert code == 0, err
        return
    error = heed.refused(command, *flags, "--model", "chat-model")
    assert "does not open the assistant's turn: replies follow '<assistant> '" in error and not (desk / "run").exists()
