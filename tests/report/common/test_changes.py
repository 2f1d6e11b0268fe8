"""How sure a change is, against a t-test made by hand, and where nothing is claimed."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from reading import read
from scipy import stats
from synthetic_runs import make_align_run

from heed.report.common.changes import beyond_chance, change_in_words, change_of, ends_in_words
from heed.report.common.gather import gather

BEFORE = {"a": [5.0, 5.4], "b": [4.8, 5.2], "c": [5.0, 5.2]}
AFTER = {"a": [8.0, 8.2], "b": [7.9, 8.3], "c": [8.1, 8.1]}


def keep(folder, before, after, name="help"):
    """Write what the first and the last evaluation answered, and its means as what the run came to."""
    for file, kept in (("before", before), ("after", after)):
        rows = [(prompt, value) for prompt, values in kept.items() for value in values]
        table = {"prompt": [prompt for prompt, _ in rows], "completion": ["sage 1"] * len(rows)}
        table |= {f"gold/{name}": [value for _, value in rows], f"rewards/{name}": [2 * value for _, value in rows]}
        parquet.write_table(pa.table(table), folder / "completions" / f"{file}.parquet")


def mean(kept):
    return float(np.mean([value for values in kept.values() for value in values]))


@pytest.fixture
def run(tmp_path):
    made = make_align_run(tmp_path / "run", names=["help"], start=[mean(BEFORE)], end=[mean(AFTER)])
    keep(made, BEFORE, AFTER)
    return made


def test_the_interval_is_the_paired_t_tests_over_the_prompts(run):
    record = gather(run)
    (help_,) = record.objectives()
    differences = [np.mean(AFTER[prompt]) - np.mean(BEFORE[prompt]) for prompt in BEFORE]
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    found = change_of(record, help_, "gold")
    assert found == pytest.approx((np.mean(differences), low, high))
    assert beyond_chance(record, help_)
    assert ends_in_words(record, help_) == "5.10 → 8.10 gold; +2.75 to +3.25 in 95%"
    assert change_in_words(3.0, found) == "+3.00 [+2.75, +3.25]"


def test_a_page_tells_it_in_table_and_caption(run):
    text = read(run).text
    assert "help 5.10 8.10 +3.00 [+2.75, +3.25]" in text
    assert "In brackets the 95% interval of the change over the prompts" in text
    assert "rose from 5.10 to 8.10" in text and "chance" not in text


def test_a_change_that_the_prompts_do_not_tell_from_none_is_not_called_one(tmp_path):
    after = {"a": [9.0, 9.0], "b": [2.0, 2.0], "c": [5.5, 5.5]}
    made = make_align_run(tmp_path / "run", names=["help"], start=[mean(BEFORE)], end=[mean(after)])
    keep(made, BEFORE, after)
    text = read(made).text
    assert "help went from 5.10 to 5.50" in text and "do not tell the change of help from chance" in text


@pytest.mark.parametrize(
    "after",
    [
        {"a": [8.0], "b": [8.1]},  # a prompt is gone
        {**AFTER, "d": [8.1]},  # there is one more
        {prompt: [value + 1 for value in values] for prompt, values in AFTER.items()},  # not what the run came to
    ],
)
def test_nothing_is_claimed_of_other_prompts_or_of_another_evaluation(run, after):
    keep(run, BEFORE, after)
    record = gather(run)
    assert change_of(record, record.objectives()[0], "gold") is None
    assert "[" not in ends_in_words(record, record.objectives()[0])


def test_an_objective_that_was_not_scored_has_no_interval(run):
    keep(run, BEFORE, AFTER, name="other")
    record = gather(run)
    assert change_of(record, record.objectives()[0], "gold") is None
    assert "help rose from 5.10 to 8.10" in read(run).text


def test_the_rewards_of_one_prompt_alone_have_none(run):
    keep(run, {"a": [mean(BEFORE)]}, {"a": [mean(AFTER)]})
    record = gather(run)
    assert change_of(record, record.objectives()[0], "gold") is None
    assert json.loads((run / "summary.json").read_text())["objectives"]["help"]["gold"] == pytest.approx(8.1)
