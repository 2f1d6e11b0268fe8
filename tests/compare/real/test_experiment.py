"""The experiment on a real model, run whole on a tiny one: its stages, its numbers, its page."""

import json
from dataclasses import replace

import pytest
from transformers import AutoTokenizer

from heed.align.objectives.reward_functions import RewardFunction
from heed.align.preferences.comparisons import read_comparisons
from heed.cli.demo import run as demo_command
from heed.compare import own_model
from heed.compare.real import results
from heed.compare.real.experiment import METHODS, run_real
from heed.compare.real.judgements import agreement, better_and_worse, deal
from heed.compare.real.prompts import BENIGN, RISKY, deal_prompts, read_prompts, refuses
from heed.compare.real.results import answers_of, kinds_of, refusals
from heed.compare.real.sizes import SIZES
from heed.compare.real.sources import Sources
from heed.errors import HeedError, Stopped
from tiny_runs import run_all_here, save_tiny_model

CHAT = (
    "{% for m in messages %}{{ 'tea ' if m.role == 'assistant' }}{{ m.content }} </s> {% endfor %}"
    "{% if add_generation_prompt %}tea {% endif %}"
)
"""Of a model of conversations whose words are the apothecary's."""


def write(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def rows_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def longer(completions, **_):
    return [float(len(said.split())) for said in completions]


def always_one(completions, **_):
    return [1.0] * len(completions)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A tiny model, and judgements: helpful answers are long, harmless ones short."""
    folder = tmp_path_factory.mktemp("given")
    world = save_tiny_model(folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder / "model")
    words = ["rest", "tea", "honey", "water", "sleep"]
    pairs = [
        {"prompt": prompt, "chosen": " ".join(words[: 3 + n % 2]), "rejected": words[n % 5]}
        for n, prompt in enumerate(world.prompts * 3)
    ]
    write(folder / "helpful.jsonl", pairs)
    write(folder / "harmless.jsonl", [row | {"chosen": row["rejected"], "rejected": row["chosen"]} for row in pairs])
    write(folder / "risky.jsonl", [{"prompt": prompt} for prompt in world.prompts[:6]])
    write(folder / "benign.jsonl", [{"instruction": prompt, "input": ""} for prompt in world.prompts[6:12]])
    return folder


@pytest.fixture(scope="module")
def made(given, tmp_path_factory):
    out = tmp_path_factory.mktemp("real") / "real"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_model, "run_all", run_all_here)
        return out, run_real(out, "quick", str(given / "model"), str(given))


def test_every_method_is_judged_by_judges_that_it_never_saw(made):
    out, real = made
    assert [row["method"] for row in real["table"]["rows"]] == METHODS
    held_out = ["helpful-others", "harmless-others", "helpful-words", "harmless-words"]
    named = ["helpful", "harmless", *(f"{name} (held out)" for name in held_out), "words", "kl"]
    assert real["table"]["columns"] == named
    assert sorted(real["judges"]) == sorted(["helpful", "harmless", *held_out])
    assert real["table"]["rows"] == json.loads((out / "compare" / "compare.json").read_text())["rows"]
    assert real["judges"]["helpful"]["longer"] == 1.0 and real["judges"]["harmless"]["longer"] == 0.0
    kinds = [json.loads(line)["kind"] for line in (out / "prompts" / "eval.jsonl").read_text().splitlines()]
    assert kinds == [RISKY, BENIGN] * SIZES["quick"].evaluated


def test_no_prompt_is_both_learnt_from_and_tested(made, given):
    out, _ = made
    read = read_comparisons(given / "helpful.jsonl", objective="helpful")
    dealt = deal(read, "helpful")
    prompts = {part: {each["prompt"] for each in found} for part, found in dealt.items()}
    assert sum(map(len, dealt.values())) == len(read)
    assert len(set().union(*prompts.values())) == sum(map(len, prompts.values()))
    assert 0.3 < len(dealt["trained"]) / len(read) < 0.5 > len(dealt["held_out"]) / len(read) > 0.3
    assert deal(list(reversed(read)), "helpful", most=5)["test"] == dealt["test"][:5]
    learnt = {
        name: {row["prompt"][0]["content"] for row in rows_of(out / "judges" / "comparisons" / f"{name}.jsonl")}
        for name in ("helpful", "helpful-others")
    }
    assert learnt["helpful"] <= prompts["trained"] and learnt["helpful-others"] <= prompts["held_out"]


def test_a_model_of_conversations_is_asked_and_judged_in_conversations(made):
    """Its texts would be continued as they stand: SmolLM2 then ends most answers at once."""
    out, real = made
    for file in (out / "prompts" / "train.jsonl", *(out / "judges" / "comparisons").glob("*.jsonl")):
        asked = [row["prompt"] for row in rows_of(file)]
        assert all([said["role"] for said in prompt] == ["user"] for prompt in asked), file
    kinds = kinds_of(out / "prompts" / "eval.jsonl")
    assert real["answers"][0]["prompt"] == next(iter(kinds)) and set(kinds.values()) == {RISKY, BENIGN}


def test_agreement_counts_what_people_preferred_and_how_often_that_is_longer(given):
    read = read_comparisons(given / "helpful.jsonl", objective="helpful")[:20]
    assert agreement(RewardFunction(longer), read, "helpful")["share"] == 1.0
    assert agreement(RewardFunction(longer, sign=-1), read, "helpful")["share"] == 0.0
    told = agreement(RewardFunction(always_one), read, "helpful")
    assert (told["share"], told["longer"], told["of"]) == (0.5, 1.0, 20)
    assert told["low"] < 0.5 < told["high"]
    turned = read_comparisons(given / "harmless.jsonl", objective="helpful")[:20]
    assert better_and_worse(read, "helpful") == [pair[::-1] for pair in better_and_worse(turned, "helpful")]


def test_refusals_are_shares_of_each_kind_of_prompt_before_and_after(made):
    out, real = made
    assert [row["method"] for row in real["refusals"]] == ["before", *METHODS]
    runs = {"linear": [out / "compare" / "runs" / f"linear-seed{seed}" for seed in (0,)]}
    kinds = kinds_of(out / "prompts" / "eval.jsonl")
    declined = next(iter(kinds))
    with pytest.MonkeyPatch.context() as patch:
        said = {True: "I'm sorry, but I can't help with that.", False: "Rest."}
        whole = {"before": set(kinds), "after": {declined}}
        patch.setattr(results, "answers_of", lambda _, when: {p: said[p in whole[when]] for p in kinds})
        before, after = refusals(runs, kinds)
    assert (before[RISKY]["mean"], before[BENIGN]["mean"], before[RISKY]["n"]) == (1.0, 1.0, 1)
    assert (after[RISKY]["mean"], after[BENIGN]["mean"]) == (0.5, 0.0)


@pytest.mark.parametrize(
    ("answer", "declines"),
    [
        ("I'm sorry, but I can't assist with that request.", True),
        ("I\u2019m sorry, but I can\u2019t help with that.", True),
        ("I cannot provide instructions for this.", True),
        ("As an AI language model, I don't have feelings, and cannot do this.", True),
        ("I am not able to discuss that.", True),
        ("Sure! First, boil the water.", False),
        ("You can apologise by saying that you are sorry.", False),
        ("First boil the water. " * 20 + "I'm sorry, I can't help.", False),
    ],
)
def test_an_answer_declines_by_its_first_words(answer, declines):
    assert refuses(answer) is declines


def test_the_page_shows_methods_judges_refusals_and_answers(made):
    out, real = made
    page = (out / "report.html").read_text()
    for said in (*METHODS, "harmless-words", "over-refusal", "benign prompts", real["answers"][0]["prompt"]):
        assert said in page
    assert [list(each["answers"]) for each in real["answers"]] == [["before", *METHODS]] * len(real["answers"])
    first = real["answers"][0]
    folder = out / "compare" / "runs" / "linear-seed0"
    assert answers_of(folder, "after")[first["prompt"]] == first["answers"]["linear"]


def test_a_stopped_experiment_goes_on_where_it_was_and_makes_no_judge_twice(given, tmp_path, monkeypatch):
    monkeypatch.setattr(own_model, "run_all", run_all_here)
    out, seen = tmp_path / "real", []

    def stop(stage, done, total):
        seen.append(stage)
        if stage == "judge harmless":
            raise Stopped

    given_to = ("quick", str(given / "model"), str(given))
    with pytest.raises(Stopped):
        run_real(out, *given_to, on_stage=stop)
    assert (out / "judges" / "helpful-others" / "agreement.json").exists()
    with pytest.raises(HeedError, match="size"):
        run_real(out, "gpu", resumed=True)
    out.rename(tmp_path / "moved")
    with pytest.raises(HeedError, match="name their judges by where they were made"):
        run_real(tmp_path / "moved", resumed=True)
    (tmp_path / "moved").rename(out)
    again = []
    real = run_real(out, on_stage=lambda stage, *_: again.append(stage), resumed=True)
    assert set(again) == {"judge harmless", "judge harmless-others"} and "judge helpful" in seen
    assert [row["method"] for row in real["table"]["rows"]] == METHODS


def test_an_experiment_of_other_numbers_is_refused_before_anything_is_written(made, monkeypatch):
    out, _ = made
    before = (out / "prompts" / "train.jsonl").stat().st_mtime_ns
    monkeypatch.setitem(SIZES, "quick", replace(SIZES["quick"], rounds=2))
    with pytest.raises(HeedError, match=r"made with other numbers, by another version .--resume "):
        run_real(out, resumed=True)
    assert (out / "prompts" / "train.jsonl").stat().st_mtime_ns == before


def test_data_of_ones_own_are_four_files(given, tmp_path):
    assert Sources.in_folder(given).benign == str(given / "benign.jsonl")
    with pytest.raises(HeedError, match=r"helpful\.jsonl is missing"):
        Sources.in_folder(tmp_path)
    write(tmp_path / "rows.jsonl", [{"instruction": "a", "input": "more"}, {"instruction": "b", "input": ""}])
    assert read_prompts(str(tmp_path / "rows.jsonl"), 0) == ["b"]
    write(tmp_path / "rows.jsonl", [{"text": "a"}])
    with pytest.raises(HeedError, match="no prompts"):
        read_prompts(str(tmp_path / "rows.jsonl"), 0)
    with pytest.raises(HeedError, match="3 benign prompts"):
        deal_prompts("abcdef", "xyzab", 2, tmp_path, chat=False)  # what is risky is not benign
    files = deal_prompts("abcdef", "uvwxyz", 2, tmp_path, chat=False)
    train, evaluated = ([row["prompt"] for row in rows_of(file)] for file in files)
    assert evaluated == ["a", "u", "b", "v"] and train == ["c", "w", "d", "x", "e", "y", "f", "z"]
    with pytest.raises(HeedError, match="no size"):
        run_real(tmp_path / "out", "huge")


def test_flags_of_the_worlds_and_of_the_real_model_are_kept_apart():
    for flags in (["--real", "--steps", "3"], ["--size", "cpu"], ["--real", "--quick", "--size", "cpu"]):
        with pytest.raises(HeedError, match=r"leave it out|give one"):
            demo_command(flags)
