"""Reports in a real browser: numbers of a wide table stay whole, and the page is no wider than its window."""

import pytest

from heed.report.common.blocks import Exchange, Exchanges, Page, Reply, Section, Table
from heed.report.page import render

pytestmark = pytest.mark.browser
COLUMNS = [f"harmless-others {number} (held out)" for number in range(12)]
METHODS = ["before", "single:helpful", "single:harmless", "linear", "mgda", "gapo:p=1"]
CELL = "\u22120.0976 [\u22120.156, \u22120.0312]"
WIDTHS = """() => {
    const lines = (element) => {
        const range = document.createRange();
        range.selectNodeContents(element);
        return new Set([...range.getClientRects()].map((each) => Math.round(each.top))).size;
    };
    const sheet = document.querySelector(".sheet");
    return {
        page: document.documentElement.scrollWidth,
        sheet: sheet.scrollWidth - sheet.clientWidth,
        cells: Math.max(...[...document.querySelectorAll("td")].map(lines)),
        labels: Math.max(...[...document.querySelectorAll(".reply .label")].map(lines)),
    };
}"""


def widths(browser, columns):
    replies = [Reply(name, "To make spicy buffalo sauce, start by", []) for name in METHODS]
    sections = [
        Section("What changed", [Table(["method", *columns], [["gapo:p=1", *[CELL] * len(columns)]])]),
        Section("Answers", [Exchanges([Exchange("How to make it?", replies)], "Not picked.")]),
    ]
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.set_content(render(Page("heed", "A page", "Of tables.", [], sections)))
    found = page.evaluate(WIDTHS)
    page.close()
    return found


def test_a_table_that_is_too_wide_scrolls_by_itself_and_its_numbers_break_at_spaces_alone(browser):
    found = widths(browser, COLUMNS)
    assert found["page"] <= 1300 and found["sheet"] > 0
    assert found["cells"] <= len(CELL.split())
    assert found["labels"] == 1


def test_a_narrow_table_does_not_scroll(browser):
    assert widths(browser, COLUMNS[:2])["sheet"] == 0
