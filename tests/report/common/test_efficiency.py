"""The curves of a comparison of guards: what lies where, and what the page says of them."""

import numpy as np
from matplotlib.collections import PolyCollection
from reading import read
from synthetic_runs import write_json

from heed.report.common.efficiency import plot_efficiency
from heed.report.common.plot_style import NARROW, WIDE, colour_of


def band(median, width=1.0):
    values = np.array(median, float)
    return {"low": (values - width).tolist(), "median": values.tolist(), "high": (values + width).tolist()}


CURVES = {
    "steps": {
        "at": [0, 50, 100],
        "methods": {
            "none": {"return": band([np.nan, 1, 2]), "catastrophes": band([0, 5, 10])},
            "mbhi": {"return": band([np.nan, 2, 4]), "catastrophes": band([0, 2, 3])},
        },
    },
    "judgements": {
        "at": [0, 25, 50],
        "methods": {
            "none": {"return": band([2, 2, 2]), "catastrophes": band([10, 10, 10])},
            "mbhi": {"return": band([np.nan, 1, 4]), "catastrophes": band([0, 1, 3])},
        },
    },
}
TABLES = [
    {
        "title": "By steps",
        "columns": ["return at 100"],
        "rows": [{"method": "mbhi", "return at 100": {"mean": 4.0, "low": 3.0, "high": 5.0}}],
        "notes": [],
    }
]


def test_lines_are_medians_bands_are_quartiles_and_each_panel_names_its_measure_and_axis():
    figure = plot_efficiency(WIDE, CURVES)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    told = [(axes.get_title(loc="left"), axes.get_xlabel()) for axes in panels]
    assert told == [
        ("return, latest episodes", "steps of the environment"),
        ("return, latest episodes", "judgements asked"),
        ("catastrophes so far", "steps of the environment"),
        ("catastrophes so far", "judgements asked"),
    ]
    lines = panels[2].get_lines()
    assert [line.get_ydata().tolist() for line in lines] == [[0, 5, 10], [0, 2, 3]]
    assert [line.get_color() for line in lines] == [colour_of(0), colour_of(1)]
    edges = [
        path.vertices for band in panels[2].collections if isinstance(band, PolyCollection) for path in band.get_paths()
    ]
    assert edges[0][:, 1].max() == 11 and edges[1][:, 1].max() == 4
    curves, ends = panels[3].get_lines()[::2], panels[3].get_lines()[1::2]
    assert [line.get_ydata().tolist() for line in curves] == [[10, 10, 10], [0, 1, 3]]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in ends] == [(50, 10), (50, 3)]
    assert panels[3].get_lines()[0].get_drawstyle() == "steps-post" and panels[2].get_ylim()[0] == 0


def test_an_axis_on_which_nothing_moves_is_left_out_and_a_phone_has_one_column():
    still = CURVES | {"judgements": {"at": [0.0], "methods": CURVES["judgements"]["methods"]}}
    assert len([axes for axes in plot_efficiency(WIDE, still).axes if axes.get_visible()]) == 2
    narrow = plot_efficiency(NARROW, CURVES)
    assert {round(axes.get_position().x0, 1) for axes in narrow.axes} == {round(narrow.axes[0].get_position().x0, 1)}


def test_the_page_of_a_comparison_has_them_where_they_are_told(compare_run):
    assert "Sample efficiency" not in read(compare_run).text
    write_json(compare_run / "efficiency.json", CURVES)
    table = {"title": "Guards", "columns": [], "rows": [], "efficiency": TABLES}
    write_json(compare_run / "compare.json", table)
    text = read(compare_run).text
    assert "Sample efficiency" in text and "Lines are medians over seeds" in text
    assert "mbhi 4.00 [3.00, 5.00]" in text and "By steps: median over seeds" in text
