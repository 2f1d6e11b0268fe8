"""heed label --prompts and --world: the pairs that a model gives, kept beside the store; what contradicts itself."""

import json

import pytest
from engineer import WORLD, save_model, save_thinking_model, write_lines

from heed.oversight.comparisons.pairs import read_pairs

OWN = ["--prompts", "prompts.jsonl", "--model", "model", "--max-completion-tokens", "6", "--seed", "3"]


@pytest.fixture
def nobody_comes(monkeypatch):
    """In place of serving: what would have been served, and a stop."""
    served = []
    monkeypatch.setattr("heed.cli.label.serve_pairs", lambda server, *_: served.append(server))
    return served


def start(heed, *flags):
    """The command, until it waits for people."""
    code, _, err = heed("label", "--objectives", "help,harmless", *flags)
    assert code == 130, err
    return err


def test_prompts_with_tools_are_refused_as_the_page_does_not_show_them(heed, desk):
    asked = {"prompt": [{"role": "user", "content": "fever ?"}], "tools": [{"name": "sage"}]}
    write_lines(desk / "tools.jsonl", [asked])
    error = heed.refused("label", "--objectives", "help", *OWN, "--prompts", "tools.jsonl")
    assert "the page does not show a prompt's tools" in error and not (desk / "judgements-pairs.jsonl").exists()


def test_pairs_of_a_model_of_ones_own_lie_beside_the_store_and_are_gone_on_with(heed, desk, nobody_comes, monkeypatch):
    (desk / "kept").mkdir()
    said = start(heed, *OWN, "--store", "kept/told.db")
    assert "sampling: 12/12" in said
    pairs = read_pairs(desk / "kept" / "told-pairs.jsonl")
    count = len(pairs)
    assert f"{count} pairs are now in kept/told-pairs.jsonl" in said
    asked = [json.loads(line)["prompt"] for line in (desk / "prompts.jsonl").read_text().splitlines()]
    assert [pair.prompt for pair in pairs] == [p for p in asked if p in {pair.prompt for pair in pairs}]
    assert ("the same completion twice" in said) == (count < 12)
    monkeypatch.setattr("heed.align.labelling.pairs.load_sampling_model", lambda *_: pytest.fail("loaded"))
    again = start(heed, *OWN, "--store", "kept/told.db")
    assert f"{count} pairs lie in kept/told-pairs.jsonl" in again and "sampling" not in again
    shown = [server.session.showing("overseer")["pair"] for server in nobody_comes]
    assert shown[0] == shown[1] and shown[0] in {pair.id for pair in pairs}
    start(heed, "--pairs", "kept/told-pairs.jsonl", "--store", "kept/told.db")
    assert {server.title for server in nobody_comes} == {"told-pairs.jsonl"}


def test_the_world_brings_model_and_prompts(heed, heed_cache, tmp_path, monkeypatch, nobody_comes):
    monkeypatch.chdir(tmp_path)
    said = start(heed, "--world", "apothecary", "--pairs", "own.jsonl", "--store", "sqlite:///told.db")
    pairs = read_pairs("own.jsonl")
    assert f"{len(pairs)} pairs are now in own.jsonl" in said
    assert {pair.prompt for pair in pairs} <= set(WORLD.prompts) and len(pairs) > 80
    # The warm-started policy speaks the world's language: most of what it says can be read.
    readable = WORLD.well_formed([text for pair in pairs for text in pair.completions])
    assert float(readable.double().mean()) > 0.5


def test_conversations_are_asked_through_the_template_and_refused_without_one(heed, desk, nobody_comes):
    flags = ["--prompts", "chats.jsonl", "--max-completion-tokens", "6"]
    start(heed, *flags, "--model", "chat-model")
    prompts = [pair.prompt for pair in read_pairs("judgements-pairs.jsonl")]
    assert prompts and all(prompt[0]["role"] == "user" for prompt in prompts)
    error = heed.refused("label", "--objectives", "help", *flags, "--model", "model", "--pairs", "new.jsonl")
    assert "the prompts are conversations, but the tokenizer has no chat template" in error
    assert not (desk / "new.jsonl").exists()


def test_the_template_s_variables_change_what_is_drawn(heed, desk, nobody_comes):
    save_thinking_model(desk / "thinking")
    flags = ["--prompts", "chats.jsonl", "--max-completion-tokens", "6", "--model", "thinking", "--temperature", ".01"]
    off = '{"enable_thinking": false}'
    start(heed, *flags, "--pairs", "plain.jsonl", "--against", "chat-model")
    start(heed, *flags, "--pairs", "silent.jsonl", "--against", "thinking", "--template-arguments", off)
    plain, silent = ({p.prompt[0]["content"]: p for p in read_pairs(f"{name}.jsonl")} for name in ("plain", "silent"))
    both = plain.keys() & silent.keys()
    assert both and all(plain[key].completions[0] != silent[key].completions[0] for key in both)
    error = heed.refused(
        "label", "--objectives", "help", *flags, "--against", "chat-model", "--template-arguments", off
    )
    assert "does not know the variable 'enable_thinking'" in error


def test_a_model_folder_without_a_tokenizer_is_said(heed, desk):
    for file in save_model(desk / "bare").glob("*token*"):
        file.unlink()
    error = heed.refused("label", "--objectives", "help", "--prompts", "prompts.jsonl", "--model", "bare")
    assert "bare" in error and "tokenizer" in error


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], ["there are no pairs (heed label): give --pairs FILE"]),
        (["--model", "model"], ["there are no pairs"]),
        (["--prompts", "prompts.jsonl"], ["no model to sample from (--model)"]),
        ([*OWN[2:], "--prompts", "no-such.jsonl"], ["no-such.jsonl"]),
        ([*OWN[2:], "--prompts", "empty.jsonl"], ["there are no rows (empty.jsonl)"]),
        ([*OWN[2:], "--prompts", "questions.jsonl"], ["no column 'prompt'"]),
        ([*OWN[2:], "--prompts", "model"], ["not written by datasets' save_to_disk (model)"]),
        ([*OWN[2:], "--prompts", "rewards.py"], ["cannot tell the format of .py files"]),
        ([*OWN, "--model", "./no-such-model"], ["there is no language model (./no-such-model)"]),
        ([*OWN, "--model", "prompts.jsonl"], ["prompts.jsonl"]),
        ([*OWN, "--adapter", "model"], ["the folder holds no adapter (model)"]),
        ([*OWN, "--against", "./no-such-model"], ["there is no language model (./no-such-model)"]),
        ([*OWN, "--pairs", "other.jsonl"], ["holds other pairs", "(--pairs other.jsonl)"]),
        ([*OWN, "--pairs", "prompts.jsonl"], ["prompts.jsonl:1"]),
        ([*OWN, "--temperature", "0"], ["temperature is 0.0 (--temperature)"]),
        ([*OWN, "--world", "apothecary"], ["a world brings its own model and prompts", "(--prompts)"]),
        (["--model", "model", "--world", "apothecary"], ["a world brings its own model and prompts", "(--model)"]),
        (["--world", "moon"], ["world cannot be 'moon'"]),
        (["--pairs", "other.jsonl", "--model", "model"], ["only sampling reads this (--model)"]),
        (["--pairs", "other.jsonl", "--top-k", "5"], ["only sampling reads this (--top-k)"]),
        (["--pairs", "other.jsonl", "--split", "train"], ["only sampling reads this (--split)"]),
        (["--pairs", "other.jsonl", "--next", "uncertain"], ["no score of help", "give --reward"]),
        (["--pairs", "other.jsonl", "--reward", "help=judge"], ["nothing asks for scores (--reward)"]),
        (
            ["--pairs", "other.jsonl", "--next", "uncertain", "--reward", "judge"],
            ["nobody is asked about 'judge' (--reward): name it one of help"],
        ),
        (["--pairs", "other.jsonl", "--next", "uncertain", "--reward", "help=./none"], ["./none"]),
        (["--pairs", "other.jsonl", "--next", "uncertain", "--reward", "judge,sing=1"], ["(--reward sing=1)"]),
        (["--pairs", "other.jsonl", "--next", "uncertain", "--reward", "help=rewards:none_at_all"], ["score"]),
        (["--pairs", "other.jsonl", "--next", "conflicting", "--reward", "help=judge"], ["conflicts with nothing"]),
        (["--pairs", "other.jsonl", "--next", "often"], ["no order 'often'"]),
    ],
)
def test_what_contradicts_itself_or_is_not_there_is_one_clear_line(heed, desk, flags, said):
    write_lines(desk / "other.jsonl", [{"prompt": "cough ?", "completions": ["mint 1 .", "mint 2 ."]}])
    (desk / "empty.jsonl").write_text("\n")
    write_lines(desk / "questions.jsonl", [{"question": "cough ?"}])
    (desk / "rewards.py").write_text("def none_at_all(completions, **columns):\n    return [None] * len(completions)\n")
    error = heed.refused("label", "--objectives", "help", *flags)
    for words in said:
        assert words in error, error
    assert not (desk / "judgements.db").exists() and not (desk / "judgements-pairs.jsonl").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--next", "uncertain"], ["no score of help, harmless (--next uncertain)", "give --reward"]),
        (["--next", "conflicting", "--reward", "help=judge"], ["no score of harmless (--next conflicting)"]),
        (["--next", "uncertain", "--reward", "hlep=judge"], ["nobody is asked about 'hlep' (--reward)"]),
        (["--next", "uncertain", "--reward", "help=./none"], ["./none"]),
        (["--next", "uncertain", "--reward", "help=judge,sing=1"], ["(--reward sing=1)"]),
    ],
)
def test_scores_that_cannot_be_had_are_refused_before_anything_is_sampled(heed, desk, monkeypatch, flags, said):
    monkeypatch.setattr("heed.align.labelling.pairs.sample_pairs", lambda *_: pytest.fail("sampled"))
    error = heed.refused("label", "--objectives", "help,harmless", *OWN, *flags)
    for words in said:
        assert words in error, error
