"""heed reward: comparisons become heads that heed align takes as objectives, as the command itself spells them."""

import json
import re

import pytest
from engineer import QUICK, save_thinking_model, write_lines
from transformers import AutoTokenizer

from heed.align.objectives.spec import parse_objective

SHORT, LONG = "mint 1 .", "mint 1 . ginger 2 . sage 1 ."


def told(count, **verdicts):
    """Comparisons in heed's format: the shorter reply is on the left in every second one."""
    rows = []
    for number in range(count):
        left, right = (SHORT, LONG) if number % 2 else (LONG, SHORT)
        said = {name: "left" if left == better else "right" for name, better in verdicts.items()}
        rows.append({"prompt": "cough ?", "left": left, "right": right, "verdicts": said})
    return rows


LEARN = ["--model", "model", "--learning-rate", "0.01", "--epochs", "6", "--warmup-steps", "0", "--batch-size", "8"]


def test_what_the_command_prints_is_what_align_takes(heed, desk):
    rows = told(40, short=SHORT, long=LONG)
    rows += [{**rows[0], "verdicts": {"short": "tie", "long": "skip"}}] * 3
    write_lines(desk / "comparisons.jsonl", rows)
    code, out, err = heed("reward", "comparisons.jsonl", *LEARN, "--held-out", "0.25", "--out", "judges")
    assert code == 0, err
    assert out.strip() == "judges,heads=short+long"
    assert "to train a policy by them: heed align --objectives" in err
    for name, aside in (("short", "3 ties and 0 skips"), ("long", "0 ties and 3 skips")):
        line = re.search(rf"{name}: learnt from (\d+) verdicts, {aside} aside; agrees with 100% of (\d+) held out", err)
        assert line and int(line[1]) + int(line[2]) == 40 and int(line[2]) == 10
    assert "95% interval 69% to 100%" in err  # Clopper and Pearson, 10 of 10: (.025)^(1/10)
    judges = parse_objective(out.strip())
    scores = judges.score(["cough ?"] * 2, [SHORT, LONG], {})
    assert scores[0, 0] > scores[1, 0] and scores[0, 1] < scores[1, 1]
    code, _, err = heed(
        "align", "--model", "model", "--data", "prompts.jsonl", "--objectives", out.strip(), *QUICK, "--out", "run"
    )
    assert code == 0, err
    summary = json.loads((desk / "run" / "summary.json").read_text())
    assert summary["completed"] and list(summary["objectives"]) == ["short", "long"]


def test_objectives_can_be_chosen_and_the_body_left_in_place_by_an_adapter(heed, desk):
    write_lines(desk / "comparisons.jsonl", told(40, short=SHORT, long=LONG))
    flags = [*LEARN, "--lora-r", "4", "--held-out", "0"]
    code, out, err = heed("reward", "comparisons.jsonl", *flags, "--objectives", "long", "--out", "judges")
    assert code == 0 and out.strip() == "judges,heads=long", err
    assert "long: learnt from 40 verdicts, 0 ties and 0 skips aside; nothing was held out" in err
    scores = parse_objective("judges").score(["cough ?"] * 2, [SHORT, LONG], {})
    assert scores.shape == (2, 1) and scores[0, 0] < scores[1, 0]


def test_trl_s_preferences_have_one_objective_of_ones_own_name(heed, desk):
    rows = [{"prompt": "cough ?", "chosen": SHORT, "rejected": LONG}] * 16
    write_lines(desk / "chosen.jsonl", rows)
    code, out, err = heed("reward", "chosen.jsonl", *LEARN, "--objectives", "brief", "--out", "judges")
    assert code == 0 and out.strip() == "judges,heads=brief", err


def test_the_template_s_variables_are_read_and_kept(heed, desk):
    asked = [{"role": "user", "content": "cough ?"}]
    rows = [{"prompt": asked, "chosen": SHORT, "rejected": LONG}] * 16
    write_lines(desk / "chosen.jsonl", rows)
    save_thinking_model(desk / "thinking")
    flags = ["chosen.jsonl", *LEARN, "--model", "thinking", "--epochs", "1"]
    code, _, err = heed("reward", *flags, "--template-arguments", '{"enable_thinking": false}', "--out", "judges")
    assert code == 0, err
    kept = AutoTokenizer.from_pretrained(desk / "judges")
    assert kept.apply_chat_template(asked, tokenize=False) == "cough ? sage "
    other = "{'enable_thought': false}"
    error = heed.refused("reward", *flags, "--template-arguments", other, "--out", "no")
    assert "does not know the variable 'enable_thought'" in error and not (desk / "no").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["no-such.jsonl", *LEARN], ["no-such.jsonl"]),
        (["prompts.jsonl", *LEARN], ["cannot tell the comparisons' format"]),
        (["told.jsonl"], ["learnt on one model (--model, --world)"]),
        (["told.jsonl", *LEARN, "--world", "apothecary"], ["learnt on one model (--model, --world)"]),
        (["told.jsonl", "--model", "./no-such-model"], ["there is no language model (./no-such-model)"]),
        (["told.jsonl", *LEARN, "--objectives", "price"], ["decides on objective 'price'", "judge short"]),
        (["odd.jsonl", *LEARN], ["'is it short?' cannot name an objective"]),
        (["told.jsonl", *LEARN, "--lora-r", "-1"], ["a rank of -1 (--lora-r)"]),
        (["told.jsonl", *LEARN, "--template-arguments", '{"enable_thinking": 1}'], ["'enable_thinking' (template"]),
        (
            ["told.jsonl", "--world", "apothecary", "--template-arguments", '{"enable_thinking": false}'],
            ["a world brings its own model (--template-arguments)"],
        ),
        (["told.jsonl", *LEARN, "--held-out", "1"], ["held_out is 1.0"]),
        (["told.jsonl", *LEARN, "--epochs", "0"], ["epochs is 0.0"]),
        (["told.jsonl", *LEARN, "--format", "csv"], ["format cannot be 'csv'"]),
    ],
)
def test_what_cannot_be_learnt_is_one_clear_line_and_leaves_no_folder(heed, desk, flags, said):
    write_lines(desk / "told.jsonl", told(4, short=SHORT))
    write_lines(desk / "odd.jsonl", told(4, **{"is it short?": SHORT}))
    error = heed.refused("reward", *flags, "--out", "judges")
    for words in said:
        assert words in error, error
    assert not (desk / "judges").exists()


def test_a_world_takes_judges_with_heads_of_its_objectives_alone(heed, heed_cache, desk):
    error = heed.refused("align", "--world", "apothecary", "--judges", "judge", *QUICK, "--out", "run")
    assert "no head 'help' (judge): its heads are 0 (LABEL_0)" in error and not (desk / "run").exists()


def test_a_folder_that_holds_something_is_not_written_over(heed, desk):
    write_lines(desk / "told.jsonl", told(4, short=SHORT))
    before = (desk / "model" / "config.json").read_bytes()
    error = heed.refused("reward", "told.jsonl", *LEARN, "--out", "model")
    assert "the output folder is not empty (model)" in error
    assert (desk / "model" / "config.json").read_bytes() == before
