"""The page of a family of policies: hypervolumes, seeds, and what it says where parts lack."""

import json

import numpy as np
import pytest
from reading import read
from synthetic_runs import NAMES, write_json

from heed.report.align.front_page import exact_optima, follows, method_points
from heed.report.align.front_plots import MethodPoints


def test_a_page_of_several_runs_tells_all_their_seeds(front_run):
    summary = json.loads((front_run / "summary.json").read_text())
    for seeds, said in ((1, "seed 4 "), (3, "seed 4 to 6")):
        write_json(front_run / "summary.json", summary | {"seed": 4, "seeds": seeds})
        assert said in read(front_run).text


def test_a_front_page_shows_hypervolumes_with_intervals(front_run):
    text = read(front_run).text
    assert "P-GAPO 0.411 [0.35, 0.47] 0.656 [0.641, 0.671]" in text
    assert "exact optima at the same preferences 0.919 0.951" in text
    assert "Reference point: (0, −1.85)." in text
    assert "45 policies for 2 objectives: P-GAPO, linear and smooth Tchebycheff" in text
    assert "3 of 45 policies lie outside" in text


def test_a_front_page_says_what_its_circles_are(front_run):
    text = read(front_run).text
    assert "Open circles are the exact front's Tchebycheff points of the same preferences" in text
    assert "any method could reach" not in text


def test_a_front_without_intervals_shows_the_summary(front_run):
    front = json.loads((front_run / "front.json").read_text())
    del front["hypervolume"]
    write_json(front_run / "front.json", front)
    assert "P-GAPO 0.411 linear 0.656 exact front 1.00" in read(front_run).text


def test_a_front_without_a_world_says_so(front_run):
    (front_run / "exact.json").unlink()
    assert "No exact front: this run has no world" in read(front_run).text


def test_a_front_without_policies_yet_has_a_page(front_run):
    write_json(front_run / "front.json", {"names": NAMES, "preferences": [[0.5, 0.5]], "adapters": []})
    assert "No policy of this front has been trained yet." in read(front_run).text


def test_optima_are_those_that_the_front_tells():
    front = {"names": ["a", "b"], "optima": [{"preference": [0.5, 0.5], "values": [1.0, 2.0]}]}
    assert exact_optima(front).tolist() == [[1.0, 2.0]]
    assert exact_optima({"names": ["a", "b"], "preferences": [[0.5, 0.5]]}).shape == (0, 2)


def test_the_rank_correlation_is_one_where_the_value_follows_and_none_where_nothing_varies():
    weights = np.array([[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]])
    points = MethodPoints("m", weights, np.array([[1.0, 0.0], [2.0, 0.0], [9.0, 0.0]]), np.zeros(3))
    assert follows(points, 0) == pytest.approx(1.0)
    assert follows(points, 1) is None


def test_a_policy_without_values_is_not_a_point():
    adapter = {"preference": [0.5, 0.5], "method": "pgapo", "seed": 1}
    front = {"adapters": [adapter | {"values": [1.0, 2.0]}, adapter | {"values": [None, 2.0]}, adapter]}
    (points,) = method_points(front, 2)
    assert (points.method, points.values.tolist()) == ("P-GAPO", [[1.0, 2.0]])
