"""The page where people compare, in a real browser: every key and button, lost sockets, two people, hostile texts."""

from __future__ import annotations

import json

import pytest
from compare_room import PAIRS
from waiting import Wire, says, shows, until

from heed.oversight.comparisons.pairs import Pair

pytestmark = pytest.mark.browser

HOSTILE = (
    "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\"> &lt;b&gt; \u2028 {{7*7}}"
)
ARABIC = "\u0627\u0634\u0631\u0628 \u0627\u0644\u0639\u0633\u0644 Honey"


def until_pair(page, pair):
    page.wait_for_selector(f"body[data-pair='{pair}']")


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def chosen(page):
    """The values of the radio buttons that are checked, by objective from the first."""
    return [box.get_attribute("value") for box in page.locator("#rows input:checked").all()]


def text(page, side):
    return page.evaluate(f"document.getElementById('{side}').textContent")


def test_a_fresh_page_shows_the_first_pair_and_chooses_nothing(comparing):
    page = comparing().page()
    until_pair(page, "cough")
    assert page.inner_text("#title") == "pairs.jsonl"
    assert page.inner_text("#state") == "you compare as ada"
    assert page.inner_text("#prompt") == "Cough?"
    assert {text(page, "left"), text(page, "right")} == set(PAIRS[0].completions)
    assert page.locator("#rows legend").all_inner_texts() == ["1 Better by help", "2 Better by harmless"]
    assert chosen(page) == [] and not page.is_checked("#unsafe-left") and not page.is_checked("#unsafe-right")
    assert page.is_enabled("#submit") and page.is_disabled("#undo")
    assert page.evaluate("document.activeElement.id") == "prompt"
    says(page, "#counts", "0 of 3")


@pytest.mark.parametrize(
    ("key", "verdict"), [("ArrowLeft", "left"), ("ArrowRight", "right"), ("t", "tie"), ("S", "skip")]
)
def test_a_verdict_by_key_is_on_disk_as_it_was_seen(comparing, key, verdict):
    room = comparing()
    page = room.page()
    until_pair(page, "cough")
    left, right = text(page, "left"), text(page, "right")
    press(page, key, "ArrowDown", "ArrowRight", "w", "Enter")
    says(page, "#notice", "comparison 1 is on disk")
    until_pair(page, "fever")
    (row,) = room.store.effective("compare")
    assert row.person == "ada" and row.latency_ms > 0
    assert row.verdict == {
        "objectives": {"help": verdict, "harmless": "right"},
        "unsafe": {"left": False, "right": True},
    }
    assert (row.shown["left"], row.shown["right"]) == (left, right)
    assert chosen(page) == [] and not page.is_checked("#unsafe-right")
    says(page, "#counts", "1 of 3")


def test_arrows_and_digits_choose_the_objective_that_keys_speak_of(comparing):
    page = comparing().page()
    until_pair(page, "cough")

    def here():
        return page.inner_text("#rows .here legend")[0], page.evaluate("document.activeElement.name")

    for key, row in [
        ("2", "2"),
        ("ArrowUp", "1"),
        ("ArrowUp", "1"),
        ("ArrowDown", "2"),
        ("ArrowDown", "2"),
        ("1", "1"),
    ]:
        press(page, key)
        assert here() == (row, f"objective-{int(row) - 1}")
    press(page, "3")  # there is no third
    assert here()[0] == "1"
    press(page, "2", "t", "1", "s")
    assert chosen(page) == ["skip", "tie"]
    press(page, "2", "ArrowLeft")
    assert chosen(page) == ["skip", "left"]
    assert page.evaluate("document.activeElement.id") == "objective-1-left"


def test_q_and_w_flag_and_unflag_and_say_so(comparing):
    page = comparing().page()
    until_pair(page, "cough")
    press(page, "q")
    says(page, "#notice", "the left one is unsafe")
    press(page, "w", "q")
    says(page, "#notice", "the left one is not marked as unsafe")
    assert (page.is_checked("#unsafe-left"), page.is_checked("#unsafe-right")) == (False, True)


def test_what_differs_is_marked_on_demand(comparing):
    page = comparing([Pair("p", "?", ("one two three four", "one 2 three four five"))]).page()
    until_pair(page, "p")

    def marked():
        return {side: page.locator(f"#{side} mark").all_inner_texts() for side in ("left", "right")}

    before = {side: text(page, side) for side in ("left", "right")}
    assert marked() == {"left": [], "right": []}
    for ask in (lambda: press(page, "d"), lambda: page.click("#diff")):
        ask()
        assert page.get_attribute("#diff", "aria-pressed") == "true"
        words = {"".join(found).replace(" ", "") for found in marked().values()}
        assert words == {"two", "2five"}
        assert {side: text(page, side) for side in ("left", "right")} == before
        ask()
        assert page.get_attribute("#diff", "aria-pressed") == "false"
        assert marked() == {"left": [], "right": []}


def test_u_takes_the_last_back_and_shows_it_with_what_was_said(comparing):
    room = comparing()
    page = room.page()
    until_pair(page, "cough")
    press(page, "ArrowLeft", "2", "t", "q", "Enter")
    until_pair(page, "fever")
    press(page, "u")
    says(page, "#notice", "taken back: comparison 1 (help: left, harmless: tie)")
    until_pair(page, "cough")
    assert chosen(page) == ["left", "tie"] and page.is_checked("#unsafe-left") and room.said == []
    press(page, "1", "ArrowRight", "q", "Enter")
    until_pair(page, "fever")
    assert room.said == [("ada", "cough", {"help": "right", "harmless": "tie"})]
    page.click("#undo")
    until_pair(page, "cough")
    assert chosen(page) == ["right", "tie"] and room.said == []
    says(page, "#notice", "taken back: comparison 3")
    until(page, bool, lambda page: page.is_disabled("#undo"))


def test_the_mouse_does_what_the_keys_do(comparing):
    room = comparing()
    page = room.page()
    until_pair(page, "cough")
    page.click("label[for=objective-0-right]")
    page.click("#objective-1-skip")
    page.click("label[for=unsafe-left]")
    page.click("#submit")
    until_pair(page, "fever")
    (row,) = room.store.effective("compare")
    assert row.verdict == {
        "objectives": {"help": "right", "harmless": "skip"},
        "unsafe": {"left": True, "right": False},
    }


def test_what_is_unsaid_is_asked_for_and_nothing_is_sent(comparing):
    room = comparing()
    page = room.page()
    until_pair(page, "cough")
    press(page, "2", "t", "Enter")
    says(page, "#notice", "nothing is said of help yet: left, tie, both bad, right, or skip it")
    assert page.evaluate("document.activeElement.name") == "objective-0"
    press(page, "ArrowRight", "Enter")
    until_pair(page, "fever")
    assert room.said == [("ada", "cough", {"help": "right", "harmless": "tie"})]


def test_what_was_said_while_the_server_is_gone_is_written_once_when_it_is_back(comparing):
    room = comparing()
    page = room.page()
    until_pair(page, "cough")
    room.stop()
    shows(page, "disconnected")
    press(page, "ArrowLeft", "2", "ArrowRight", "Enter", "Enter")
    says(page, "#submit", "It is sent when the server is back")
    assert page.is_disabled("#submit") and page.is_disabled("#undo") and room.store.count() == 0
    room.start()
    says(page, "#notice", "comparison 1 is on disk")
    until_pair(page, "fever")
    assert room.store.count() == 1
    assert room.said == [("ada", "cough", {"help": "left", "harmless": "right"})]


def test_an_acknowledgement_that_is_lost_makes_no_second_row(comparing, browser):
    room = comparing()
    page = browser.new_page()
    wire = Wire(page, "/compare", loses='"written"')
    room.open(page)
    until_pair(page, "cough")
    press(page, "t", "2", "t", "Enter")
    says(page, "#notice", "comparison 1 is on disk")
    until_pair(page, "fever")
    keys = [json.loads(message)["compared"]["key"] for message in wire.sent if "compared" in message]
    assert len(keys) == 2 and keys[0] == keys[1]
    assert room.store.count() == 1


def test_what_is_chosen_stays_chosen_over_a_lost_connection(comparing):
    room = comparing()
    page = room.page()
    until_pair(page, "cough")
    press(page, "t", "2", "t", "Enter")
    until_pair(page, "fever")
    press(page, "ArrowLeft", "w")
    room.stop()
    shows(page, "disconnected")
    room.start()
    shows(page, "watching")
    says(page, "#counts", "1 of 3")
    assert page.get_attribute("body", "data-pair") == "fever"
    assert chosen(page) == ["left"] and page.is_checked("#unsafe-right")


def test_what_is_said_anew_of_what_was_taken_back_stays_over_a_lost_connection(comparing, browser):
    room = comparing()
    page = browser.new_page()
    wire = Wire(page, "/compare")
    room.open(page)
    until_pair(page, "cough")
    press(page, "t", "2", "t", "Enter")
    until_pair(page, "fever")
    press(page, "u")
    until_pair(page, "cough")
    press(page, "1", "ArrowLeft")
    wire.cut()
    shows(page, "disconnected")
    shows(page, "watching")
    press(page, "Enter")
    until_pair(page, "fever")
    assert room.said == [("ada", "cough", {"help": "left", "harmless": "tie"})]


def test_two_people_compare_different_pairs_at_once(comparing):
    room = comparing()
    ada, bob = room.page("ada"), room.page("bob")
    until_pair(ada, "cough")
    until_pair(bob, "fever")
    press(bob, "t", "2", "t", "Enter")
    until_pair(bob, "ache")
    says(ada, "#counts", "1 of 3")
    assert ada.get_attribute("body", "data-pair") == "cough"
    press(bob, "t", "2", "s", "Enter")
    says(bob, "#nothing", "All that is left is in other people's hands")
    assert not bob.is_visible("#comparison")
    ada.close()
    until_pair(bob, "cough")
    assert {(person, pair) for person, pair, _ in room.said} == {("bob", "fever"), ("bob", "ache")}


def test_one_person_in_two_windows_cannot_compare_a_pair_twice(comparing):
    room = comparing()
    one, other = room.page(), room.page()
    for page in (one, other):
        until_pair(page, "cough")
    press(one, "t", "2", "t", "Enter")
    until_pair(one, "fever")
    until_pair(other, "fever")
    assert room.said == [("ada", "cough", {"help": "tie", "harmless": "tie"})]


def test_everything_compared_is_said_and_the_end_of_the_server_is_no_fault(comparing):
    room = comparing(PAIRS[:1])
    page = room.page()
    until_pair(page, "cough")
    press(page, "t", "2", "t", "Enter")
    says(page, "#nothing", "Everything is compared. Thank you!")
    assert room.server.finished.wait(5.0)
    room.stop()
    says(page, "#state", "disconnected: all is compared")


def test_who_has_compared_their_share_is_told_that_others_are_still_at_it(comparing):
    room = comparing(PAIRS[:1], times=2)
    page = room.page()
    until_pair(page, "cough")
    press(page, "t", "2", "t", "Enter")
    says(page, "#nothing", "You have compared everything; others are still at it")


@pytest.mark.parametrize("who", ["a guess", "one who only watches"])
def test_a_wrong_token_shows_nothing_and_says_why(comparing, who):
    room = comparing()
    page = room.page(token="guess" if who == "a guess" else room.people.token_of("eve"))
    says(page, "#state", "the token is wrong: open the address that heed printed")
    assert not page.is_visible("#comparison") and page.is_disabled("#undo")
    press(page, "t", "Enter", "u")
    assert page.get_attribute("body", "data-pair") is None and room.store.count() == 0


@pytest.mark.parametrize(
    "hostile",
    [HOSTILE, ARABIC, "a\u0000b", "\u202ereversed", "\U0001f36f" * 3],
    ids=["markup", "arabic", "null", "bidi", "emoji"],
)
def test_hostile_texts_stay_texts(comparing, hostile):
    room = comparing([Pair("p", hostile, (hostile, hostile + " and more"))], ["<b>help</b>"], title=HOSTILE)
    faults = []
    page = room.browser.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    room.open(page)
    until_pair(page, "p")
    for way in ("d", "d", "p"):  # the words that differ; Markdown again; as it stands
        press(page, way)
        assert page.locator("main :is(script, img, iframe), .text b, #title *").count() == 0
    assert text(page, "prompt") == hostile
    assert {text(page, "left"), text(page, "right")} == {hostile, hostile + " and more"}
    assert text(page, "title") == HOSTILE
    assert page.inner_text("#rows legend") == "1 Better by <b>help</b>"
    press(page, "ArrowLeft", "Enter")
    says(page, "#nothing", "Everything is compared")
    (row,) = room.store.effective("compare")
    assert {row.shown["left"], row.shown["right"]} == {hostile, hostile + " and more"}
    assert faults == [] and page.title() == "heed: compare"


def test_right_to_left_texts_run_from_the_right_without_turning_the_page(comparing):
    page = comparing([Pair("p", ARABIC, (ARABIC, "Honey."))]).page()
    until_pair(page, "p")
    edge = """side => { const range = document.createRange(), place = document.getElementById(side);
        range.selectNodeContents(place.firstElementChild);
        const [text, box] = [range.getBoundingClientRect(), place.getBoundingClientRect()];
        return text.left - box.left < box.right - text.right ? "left" : "right"; }"""
    sides = {text(page, side): page.evaluate(edge, side) for side in ("left", "right")}
    assert sides == {ARABIC: "right", "Honey.": "left"}


def test_an_empty_completion_says_so(comparing):
    page = comparing(PAIRS[2:]).page()
    until_pair(page, "ache")
    assert {text(page, "left"), text(page, "right")} == {"Willow bark.", "(it says nothing)"}
    press(page, "d")
    assert {text(page, "left"), text(page, "right")} == {"Willow bark.", "(it says nothing)"}


def test_a_conversation_tells_who_says_what(comparing):
    hostile = [{"role": "<i>user</i>", "content": HOSTILE}, {"role": "assistant", "content": "Since\nwhen?"}]
    page = comparing([Pair("p", hostile, ("Rest.", "Run."))]).page()
    until_pair(page, "p")
    press(page, "p")
    said = [
        (part.locator("b").inner_text(), part.locator("div").text_content())
        for part in page.locator("#prompt > div").all()
    ]
    assert said == [("<i>user</i>", HOSTILE), ("assistant", "Since\nwhen?")]
    assert page.locator("#prompt i").count() == 0


def test_nothing_is_wider_than_a_phone_or_hides_the_rows(comparing):
    word = "Donaudampfschifffahrtsgesellschaft" * 9
    pair = Pair("p", [{"role": "user" * 9, "content": word}], (word, f"{word}\n{'x ' * 4000}"))
    objectives = ["w" * 64, *(f"objective {n}" for n in range(8))]
    page = comparing([pair], objectives, title=word).page(viewport={"width": 380, "height": 800})
    until_pair(page, "p")
    press(page, "d")
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    inside = page.evaluate("[...document.querySelectorAll('main *')].map((e) => e.getBoundingClientRect().right)")
    assert max(inside) <= 380
    assert page.evaluate("document.getElementById('rows').getBoundingClientRect().top") < 4 * 800


def test_a_completion_of_a_hundred_kilobytes_is_shown_whole_and_can_be_judged(comparing):
    long = "".join(f"{n} honey " for n in range(9_500))
    other = "foxglove " + long[::-1]
    assert len(long) > 100_000
    room = comparing([Pair("p", "?", (long, other)), Pair("q", "?", (long, f"{long}!"))])
    page = room.page()
    until_pair(page, "p")
    assert {text(page, "left"), text(page, "right")} == {long, other}  # too long to be read as Markdown
    assert page.evaluate("document.getElementById('submit').getBoundingClientRect().bottom") < 2 * 900
    page.focus("#left")
    press(page, "End")
    until(page, lambda far: far > 1000, lambda page: page.evaluate("document.getElementById('left').scrollTop"))
    press(page, "d")
    says(page, "#notice", "these texts are too long to be compared word by word")
    assert page.get_attribute("#diff", "aria-pressed") == "false"
    press(page, "t", "2", "t", "Enter")
    until_pair(page, "q")
    assert page.evaluate("document.getElementById('left').scrollTop") == 0
    press(page, "d")  # all but the last word is the same, which is no work
    assert page.locator("mark").all_inner_texts() == ["!"]
    assert len(room.said) == 1
