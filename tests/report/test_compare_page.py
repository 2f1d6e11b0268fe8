"""The page of a comparison: means, intervals and notes."""

import re

from reading import read
from synthetic_runs import write_json


def test_a_compare_page_shows_means_intervals_and_notes(compare_run):
    text = read(compare_run).text
    assert "GAPO p=1 8.40 [7.46, 9.24] −0.60 [−0.76, −0.54] 0.62 [0.458, 0.682]" in text
    assert "7 methods by 3 measures, 5 seeds each." in text
    assert "Intervals are bootstrap 95% over seeds." in text
    assert re.search(r"warm start 5\.10 \[4\.49, 5\.61\] −2\.40 \[−2\.74, −2\.16\] –", text)


def test_a_compare_page_without_rows_says_so(compare_run):
    write_json(compare_run / "compare.json", {"title": "Empty", "columns": ["a"], "rows": []})
    assert "No results yet" in read(compare_run).text
