"""The page of an align run: its numbers, its replies, and what it says where parts lack."""

import json
import shutil

import pytest
from reading import read
from synthetic_runs import HOSTILE, make_align_run, write_json


def test_an_align_page_shows_the_numbers_of_the_run(align_run):
    text = read(align_run).text
    assert "GAPO (p = 1) on help and harmless" in text
    assert "Over 120 steps, help rose from 5.10 to 8.10 and harmless rose from −2.40 to −0.55" in text
    assert "help 5.10 8.10 +3.00 2.24 3.44 +1.20" in text
    assert "harmless −2.40 −0.55 +1.85 −0.76 −0.02 +0.74" in text
    assert "13.2 s, 27%" in text
    assert "26.4 s, 54%" in text
    assert "9,800 tokens generated per second" in text
    assert "lr: 0.001" in text
    assert "3f2a9c81b07d" in text


def test_an_align_page_says_how_often_the_gradients_conflicted(align_run):
    lines = [json.loads(line) for line in (align_run / "metrics.jsonl").read_text().splitlines()]
    for step, line in enumerate(lines):
        line["cosine/help~harmless"] = -0.5 if step < 30 else 0.5
    (align_run / "metrics.jsonl").write_text("\n".join(json.dumps(line) for line in lines[:120]) + "\n")
    assert "conflicted in 25% of the steps" in read(align_run).text


@pytest.mark.parametrize(
    ("eval_data", "said"),
    [(None, "the first prompts of the data, trained on as well"), ("held-out.jsonl", "prompts of their own")],
)
def test_an_align_page_says_on_which_prompts_it_was_evaluated(align_run, eval_data, said):
    with (align_run / "config.yaml").open("a") as file:
        file.write(f"eval_data: {json.dumps(eval_data)}\n")
    assert f"evaluations, always of the same prompts ({said})" in read(align_run).text


def test_replies_before_and_after_stand_side_by_side(align_run):
    page = read(align_run)
    assert page.text.count("a customer complains of fever , cough and gout ; number") == 8
    first = page.text.index("willowbark 2 , sage 1 . warning")
    assert first < page.text.index("willowbark 1 , sage 1 . warning") < page.text.index("hellebore 3")
    assert "help 1.50 gold −0.75" in page.text


def test_a_hostile_completion_is_shown(align_run):
    assert HOSTILE in read(align_run).text


def test_hostile_names_are_text_everywhere(tmp_path):
    names = ['<img src=x onerror="a">', "$\\frac{1}{0}$ & co"]
    run = make_align_run(tmp_path / "<b>run", names=names, world=False)
    page = read(run)
    assert "img" not in page.tags
    assert "b" in page.tags  # the captions' own
    assert all(name in page.text for name in names)
    assert page.open == []


def test_a_run_of_one_policy_for_all_preferences_shows_its_values_at_each(align_run):
    assert "told each preference" not in read(align_run).text
    summary = json.loads((align_run / "summary.json").read_text())
    values = ({"help": 3.25, "harmless": -0.125}, {"help": 9.5, "harmless": -1.75})
    preferences = ([0.1, 0.9], [0.9, 0.1])
    summary["along"] = [{"preference": p, "values": v} for p, v in zip(preferences, values, strict=True)]
    write_json(align_run / "summary.json", summary)
    text = read(align_run).text
    assert "0.1 / 0.9 3.25 −0.13" in text.replace("−0.125", "−0.13") and "0.9 / 0.1 9.50 −1.75" in text
    assert "told each preference" in text


def test_a_run_without_a_world_says_so(tmp_path):
    text = read(make_align_run(tmp_path / "run", world=False)).text
    assert "No gold values: this run has no world." in text
    assert "No exact front" in text
    assert "rose from 2.24 to 3.44" in text


def test_a_run_of_one_objective_says_that_nothing_conflicts(tmp_path):
    text = read(make_align_run(tmp_path / "run", names=["help"], method="single:help", world=False)).text
    assert "one objective has nothing to conflict with" in text
    assert "This run has one objective" in text


def test_a_run_trained_on_one_objective_is_judged_on_all_of_the_world(tmp_path):
    run = make_align_run(tmp_path / "run", method="single:help", end=(12.0, -24.8))
    summary = json.loads((run / "summary.json").read_text())
    del summary["objectives"]["harmless"]
    write_json(run / "summary.json", summary)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = [{key: value for key, value in line.items() if "rewards/harmless" not in key} for line in lines]
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, kept)) + "\n")
    text = read(run).text
    assert "harmless fell from −2.40 to −24.8" in text
    assert "help only leaves the plot, ends at (12, −24.8)" in text
    assert "harmless −2.40 −24.8 −22.4 – – –" in text


def test_an_unfinished_run_says_where_it_stands(align_run):
    (align_run / "summary.json").unlink()
    text = read(align_run).text
    assert "This run is not complete: it stands at step 120." in text
    assert "help rose from 5.10 to 8.10" in text


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("metrics.jsonl", "No objective was logged over the steps of this run."),
        ("exact.json", "No exact front: this run has no world"),
        ("completions", "No completions were kept by this run."),
        ("config.yaml", "No config.yaml in this run."),
    ],
)
def test_what_a_run_lacks_is_said(align_run, lost, said):
    path = align_run / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert said in read(align_run).text


def test_a_run_that_has_only_just_begun_has_a_page(tmp_path):
    write_json(tmp_path / "summary.json", {"kind": "align", "completed": False})
    text = read(tmp_path).text
    assert text.count("No ") >= 5
    assert "it stands at step 0" in text


def test_a_run_with_values_that_are_not_finite_has_a_page(align_run):
    with (align_run / "metrics.jsonl").open("a") as file:
        file.write(
            json.dumps(dict.fromkeys(["rewards/help/mean", "kl", "cosine/help~harmless"]) | {"step": 121}) + "\n"
        )
    assert "help rose from 5.10 to 8.10" in read(align_run).text


def test_a_sibling_that_leaves_the_plot_is_followed_by_an_arrow(demo_run):
    text = read(demo_run / "gapo").text
    assert "help only leaves the plot, ends at (12, −24.8)" in text


def test_a_sibling_that_is_gone_is_said(align_run):
    write_json(align_run / "siblings.json", [{"label": "help only", "path": "../nowhere"}])
    assert "help only is not shown: its folder has no gold values." in read(align_run).text
