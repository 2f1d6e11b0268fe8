"""The page of judgements in a real browser: browsing, filters, one judgement, taking back, files, verifying."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from judgements_room import HOSTILE, JudgementsRoom, block, comparison
from waiting import PATIENCE, says, shows, until

from heed.errors import HeedError

pytestmark = pytest.mark.browser


@pytest.fixture
def room(browser, tmp_path):
    given = [block("ada", step, blocks=step % 2 == 0) for step in range(55)]
    given += [block("bob", step, blocks=step % 4 == 0) for step in range(10)] + [comparison("ada"), comparison("bob")]
    with contextlib.ExitStack() as opened:
        made = JudgementsRoom(opened, tmp_path / "judgements.db", given)

        def page(name="ada", token=None, **options):
            page = browser.new_page(**options)
            opened.callback(page.context.close)
            page.goto(f"{made.address}/judgements#token={token or made.people.token_of(name)}")
            return page

        made.page = page
        yield made


def listed(page, count):
    until(page, lambda found: found == str(count), lambda page: page.get_attribute("body", "data-listed"))


def opens(page, number):
    page.click(f"#row-{number} button")
    until(page, lambda text: text == f"Judgement {number}", lambda page: page.inner_text("#one-title"))


def test_newest_first_and_older_ones_on_demand(room):
    page = room.page()
    shows(page, "watching")
    listed(page, 50)
    assert page.inner_text("#state") == "you judge as ada"
    assert page.inner_text("#rows tr:first-child td:first-child") == "67"
    page.click("#older")
    listed(page, 67)
    assert page.evaluate("document.activeElement.textContent") == "17"  # where reading goes on
    assert page.is_hidden("#older")


def test_filters_by_keyboard_alone(room):
    page = room.page()
    listed(page, 50)
    page.focus("#person")
    page.keyboard.type("bob")
    page.keyboard.press("Enter")
    listed(page, 11)
    page.select_option("#kind", "compare")
    page.click("#show")
    listed(page, 1)
    page.select_option("#status", "retracted")
    page.click("#show")
    says(page, "#none", "None is as chosen.")


def test_hostile_text_is_text(room):
    page = room.page()
    alarms = []
    page.on("dialog", lambda dialog: (alarms.append(dialog.message), dialog.dismiss()))
    listed(page, 50)
    opens(page, 66)
    assert page.text_content("#left") == HOSTILE
    assert HOSTILE in json.loads(page.text_content("#raw"))["shown"].values()
    assert page.locator("img").count() == 0 and alarms == []


def test_one_is_opened_walked_to_and_closed_by_keys(room):
    page = room.page()
    listed(page, 50)
    page.focus("#row-67 button")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    until(page, lambda text: text == "Judgement 65", lambda page: page.inner_text("#one-title"))
    told = page.inner_text("#facts")
    assert "bob" in told and "900 ms" in told and "walk-1" in told
    assert page.inner_text("#chain") == "Its row is as it was written, after the row before it."
    page.keyboard.press("Escape")
    until(page, lambda shown: not shown, lambda page: page.is_visible("#one"))
    assert page.evaluate("document.activeElement.textContent") == "65"


def test_taking_back_needs_a_reason_and_stays(room):
    page = room.page()
    listed(page, 50)
    opens(page, 65)
    assert "cannot be undone" in page.inner_text("#retract")
    page.click("#take")  # the browser asks for the reason
    assert len(room.store.effective()) == 67
    page.fill("#why", "pressed by mistake")
    page.keyboard.press("Enter")
    until(page, bool, lambda page: page.is_visible("#back"))
    assert "Taken back by ada" in page.inner_text("#back") and "pressed by mistake" in page.inner_text("#back")
    assert page.is_hidden("#retract") and 65 not in [given.id for given in room.store.effective()]
    page.click("#close")
    assert "(taken back)" in page.inner_text("#row-65")


def test_whoever_watches_is_not_offered_to_take_back(room):
    page = room.page("eve")
    listed(page, 50)
    assert page.inner_text("#state") == "you watch as eve"
    opens(page, 65)
    assert page.is_hidden("#retract")


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_files_are_saved_as_chosen(room, ending):
    page = room.page()
    listed(page, 50)
    page.fill("#person", "bob")
    with page.expect_download(timeout=1000 * PATIENCE) as download:
        page.click(f"#{ending}")
    assert download.value.suggested_filename == f"judgements.{ending}"
    content = Path(download.value.path()).read_bytes()
    assert content == room.request(f"/api/judgements/export/{ending}?person=bob")[2]


def test_verifying_says_what_it_found(room):
    page = room.page()
    listed(page, 50)
    page.click("#verify")
    says(page, "#verified", "67 rows, each as it was written.")
    room.tamper("UPDATE judgements SET person = 'eve' WHERE id = 65")
    page.click("#verify")
    says(page, "#verified", "row 65 is not as it was written")
    opens(page, 65)
    assert page.get_attribute("#chain", "data-unbroken") == "false"


def test_agreement_is_worked_out(room):
    page = room.page()
    listed(page, 50)
    page.click("#agree")
    until(page, bool, lambda page: page.is_visible("#agreement"))
    questions = page.locator("#questions tr").all_inner_texts()
    assert [row.split("\t") for row in questions] == [
        ["help", "2", "1", "\u2013"],
        ["block", "65", "10", f"{1 - 19 * 2 / (8 * 12):.3f}"],
    ]
    (blocks,) = (row for row in page.locator("#pairs tr").all_inner_texts() if row.startswith("block"))
    assert blocks.split("\t") == ["block", "ada", "bob", "10", "80 %", "0.600"]
    assert page.locator("#habits tr").first.inner_text().split("\t")[:3] == ["ada", "56", "2650 ms"]


def test_a_wrong_token_is_told(room):
    page = room.page(token="guess")
    says(page, "#state", "the token is wrong")
    assert page.locator("#rows tr").count() == 0


def test_a_server_that_is_gone_is_told(room):
    page = room.page()
    listed(page, 50)
    page.route("**/api/**", lambda route: route.abort())
    page.click("#show")
    says(page, "#state", "the server does not answer")


def test_what_is_not_there_yet_is_looked_for_again(room):
    opened = room.opened

    def nothing():
        raise HeedError("there is no store of judgements")

    room.opened = nothing
    page = room.page()
    says(page, "#none", "There are no judgements yet")
    room.opened = opened
    page.click("#show")
    listed(page, 50)
