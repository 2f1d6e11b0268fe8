"""The metrics of a run as curves, over real HTTP: what is new, what is thinned, what is no metric."""

from __future__ import annotations

import math

import numpy as np
import pytest
from run_room import log

from heed.web import curves as curves_module
from heed.web.curves import Curves, thin


def test_a_cursor_brings_only_what_came_since(run):
    log(run.folder, {"step": 1, "kl": 0.5}, {"step": 2, "kl": 0.25, "blocks": 3})
    first = run.metrics()
    assert first["fresh"] and first["curves"] == {
        "kl": {"steps": [1, 2], "values": [0.5, 0.25]},
        "blocks": {"steps": [2], "values": [3]},
    }
    nothing = run.metrics(first["cursor"])
    assert (nothing["fresh"], nothing["curves"], nothing["cursor"]) == (False, {}, first["cursor"])
    log(run.folder, {"step": 3, "blocks": 4})
    then = run.metrics(first["cursor"])
    assert (then["fresh"], then["curves"]) == (False, {"blocks": {"steps": [3], "values": [4]}})
    assert run.metrics()["curves"]["blocks"] == {
        "steps": [2, 3],
        "values": [3, 4],
    }  # another page begins at the start


def test_half_a_line_waits_for_its_other_half(run):
    log(run.folder, {"step": 1, "kl": 1.0})
    log(run.folder, '{"step": 2, "k', end="")
    first = run.metrics()
    assert first["curves"]["kl"]["steps"] == [1] and first["unread"] == 0
    log(run.folder, 'l": 2.0}')
    then = run.metrics(first["cursor"])
    assert then["curves"]["kl"] == {"steps": [2], "values": [2.0]} and then["unread"] == 0


def test_what_is_not_finite_is_a_gap_and_what_is_no_metric_is_counted(run):
    log(
        run.folder,
        {"step": 1, "kl": None, "who": "a text", "flag": True, "list": [1]},
        '{"step": 2, "kl": NaN}',
        '{"step": 3, "kl": Infinity}',
        '{"step": 4, "kl": 1' + "0" * 400 + "}",
        *("not JSON", "[1]", '{"kl": 1}', '{"step": null, "kl": 1}', "[" * 5000, '{"step": 1' + "0" * 5000 + "}", ""),
        {"step": 5, "kl": 0.5},
    )
    found = run.metrics()
    assert found["curves"] == {"kl": {"steps": [1, 2, 3, 4, 5], "values": [None, None, None, None, 0.5]}}
    assert found["unread"] == 7


def test_a_run_of_many_lines_is_thinned_to_its_shape(run, monkeypatch):
    monkeypatch.setattr(curves_module, "CHUNK", 100_000)
    values = np.random.default_rng(0).normal(size=40_000)
    values[[12_345, 30_001]] = 50.0, -50.0  # spikes of one step each
    log(run.folder, *({"step": step, "return": value} for step, value in enumerate(values)))
    found, answers = run.metrics(), 1
    while found["more"]:
        found, answers = run.metrics(found["cursor"]), answers + 1
    assert answers > 10  # each in bounded time
    whole = run.metrics()["curves"]["return"]
    steps, shown = whole["steps"], whole["values"]
    assert 100 < len(steps) <= curves_module.SHOWN
    assert steps == sorted(set(steps)) and (steps[0], steps[-1]) == (0, 39_999)
    assert all(values[step] == value for step, value in zip(map(int, steps), shown, strict=True))  # points, no means
    assert {12_345: 50.0, 30_001: -50.0}.items() <= dict(zip(steps, shown, strict=True)).items()
    assert len(run.answer("/api/run/metrics")[2]) < 40_000


@pytest.mark.parametrize("seed", range(5))
def test_thinning_keeps_first_last_least_and_greatest_of_every_stretch(seed):
    rng = np.random.default_rng(seed)
    places = np.cumsum(rng.integers(1, 9, 3000))
    values = rng.normal(size=3000)
    values[rng.integers(0, 3000, 100)] = np.nan
    kept = thin(places, values, 100)
    assert len(kept) <= 100 and (np.diff(kept) > 0).all()
    stretch = (places - places[0]) * 20 // (places[-1] - places[0] + 1)
    for which in range(20):
        inside, stays = np.flatnonzero(stretch == which), kept[stretch[kept] == which]
        assert {inside[0], inside[-1]} <= set(stays)
        assert np.nanmin(values[inside]) == np.nanmin(values[stays])
        assert np.nanmax(values[inside]) == np.nanmax(values[stays])
        assert np.isnan(values[inside]).any() == np.isnan(values[stays]).any()


def test_metrics_without_end_are_bounded_and_counted(run, monkeypatch):
    monkeypatch.setattr(curves_module, "CURVES", 5)
    log(run.folder, {"step": 1} | {f"m{index}": index for index in range(9)}, {"step": 2, "x" * 300: 1, "m0": 7})
    found = run.metrics()
    assert list(found["curves"]) == ["m0", "m1", "m2", "m3", "m4"] and found["left_out"] == 5
    assert found["curves"]["m0"]["values"] == [0, 7]


def test_a_resumed_run_that_was_cut_back_is_sent_afresh(run):
    log(run.folder, *({"step": step, "kl": float(step)} for step in (1, 2, 3)))
    first = run.metrics()
    (run.folder / "metrics.jsonl").unlink()
    log(run.folder, {"step": 1, "kl": 1.0}, *({"step": step, "kl": step / 2} for step in range(2, 9)))  # longer by now
    then = run.metrics(first["cursor"])
    assert then["fresh"] and then["curves"]["kl"]["values"] == [1.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]


def test_many_lines_are_read_once(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(f'{{"step": {step}, "kl": {step % 997}}}\n' for step in range(100_000)))
    curves, cursor = Curves(path), ""
    while (found := curves.since(cursor))["more"]:
        cursor = found["cursor"]
    read, record = [], curves_module.record_of
    monkeypatch.setattr(curves_module, "record_of", lambda line: read.append(line) or record(line))
    for _ in range(20):
        curves.since(found["cursor"])
    log(tmp_path, {"step": 100_000, "kl": 0})
    curves.since(found["cursor"])
    assert read == [b'{"step": 100000, "kl": 0}']
    whole = curves.since("")["curves"]["kl"]
    assert (max(whole["values"]), min(whole["values"]), len(whole["steps"]) <= curves_module.SHOWN) == (996, 0, True)
    assert not any(math.isnan(value) for value in whole["values"])
