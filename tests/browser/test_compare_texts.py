"""What the compare page makes of texts: Markdown of known elements, nothing of a hostile one, and what is asked."""

from __future__ import annotations

import pytest
from test_compare_page import press, text, until_pair
from waiting import says

from heed.oversight.comparisons.guidelines import guidelines_in
from heed.oversight.comparisons.pairs import Pair

pytestmark = pytest.mark.browser

TAKEN = "document.title='taken'"
NASTY = [
    f"<script>{TAKEN}</script>",
    f'<img src=x onerror="{TAKEN}"><svg onload="{TAKEN}"></svg>',
    f"<details open ontoggle={TAKEN}>x</details><iframe srcdoc='<script>parent.{TAKEN}</script>'></iframe>",
    f"[honey](javascript:{TAKEN}) <javascript:{TAKEN}> [x](data:text/html,<script>{TAKEN}</script>)",
    f'[honey](https://elsewhere.example/"onmouseover="{TAKEN}) [r]\n\n[r]: https://elsewhere.example \'a"b\'',
    '![pixel](https://elsewhere.example/pixel.png) ![x](x" onerror="1) <https://elsewhere.example/auto>',
    f'```html"><script>{TAKEN}</script>\n</pre></code><script>{TAKEN}</script>\n```',
    f"| <b onclick={TAKEN}>a</b> | b |\n|-|-|\n| <style>*{{display:none}}</style> | <base href=//elsewhere.example> |",
    "> " * 300 + "deep " + "*a **b " * 400,
    f"# <a href=//elsewhere.example>{TAKEN}</a>\n\n1. <form action=//elsewhere.example><button>go</button></form>",
    "<!-- --><![CDATA[ x ]]><?php 1 ?></div></main></body><plaintext>",
    "&lt;script&gt;1&lt;/script&gt; &#60;img src=x&#62; \u202e\u2066 \u0000",
]
BARE = """[...document.querySelectorAll('.text *')]
    .every((found) => !found.getAttributeNames().some((name) => /^on|href|src/.test(name)))"""
FORBIDDEN = (
    "main :is(script, img, svg, iframe, a, form form, style, base, object, details, textarea, plaintext), .text button"
)


def test_markdown_is_shown_as_what_it_says_and_as_it_stands_at_a_key(comparing):
    said = (
        "# Cough\n\nTake *honey*:\n\n3. warm\n4. **slowly**\n\n```py\nx < 1\n```\n\n| a | b |\n|---|---|\n| `1` | 2 |"
    )
    page = comparing([Pair("p", "?", (said, "Rest."))]).page()
    until_pair(page, "p")
    side = "left" if "Cough" in text(page, "left") else "right"
    shown = {
        kind: page.locator(f"#{side} {kind}").all_inner_texts()
        for kind in (".heading", "em", "ol > li", "strong", "pre", "th", "td", "td code")
    }
    assert shown == {
        ".heading": ["Cough"],
        "em": ["honey"],
        "ol > li": ["warm", "slowly"],
        "strong": ["slowly"],
        "pre": ["x < 1"],
        "th": ["a", "b"],
        "td": ["1", "2"],
        "td code": ["1"],
    }
    assert page.get_attribute(f"#{side} li >> nth=0", "value") == "3"
    assert "[code: py]" in page.locator(f"#{side} p").all_inner_texts()
    press(page, "p")
    assert page.get_attribute("#plain", "aria-pressed") == "true" and text(page, side) == said
    page.click("#plain")
    assert page.locator(f"#{side} pre").count() == 1
    press(page, "d")  # what differs is told of the text as it stands
    assert text(page, side) == said and page.locator(f"#{side} mark").count() > 5


@pytest.mark.parametrize("nasty", NASTY, ids=range(len(NASTY)))
def test_a_nasty_text_becomes_no_markup_of_its_own_and_asks_nothing_of_the_network(comparing, nasty):
    said = [{"role": "user", "content": nasty}, {"role": nasty[:60], "content": nasty}]
    room = comparing([Pair("p", said, (nasty, f"{nasty}\n\nmore"))], guidelines=guidelines_in(nasty, ()))
    faults, asked = [], []
    page = room.browser.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    room.open(page)
    until_pair(page, "p")
    press(page, "Escape")
    for way in ("d", "d", "p", "p"):
        press(page, way)
        assert page.locator(FORBIDDEN).count() == 0
    for link in page.locator(".text .link").all()[:3]:
        link.click()
    assert page.evaluate(BARE)
    assert page.title() == "heed: compare" and faults == []
    assert [url for url in asked if not url.startswith(room.address)] == []
    assert page.url.startswith(room.address)


def test_a_link_says_where_it_leads_and_leads_nowhere(comparing):
    page = comparing([Pair("p", "See [honey](https://bees.example) and <https://bees.example/x>.", ("a", "b"))]).page()
    until_pair(page, "p")
    assert page.locator(".link").all_inner_texts() == ["honey (https://bees.example)", "https://bees.example/x"]
    page.click(".link >> nth=0")
    assert page.evaluate("document.body.dataset.pair") == "p" and page.locator("#prompt a").count() == 0


GUIDELINES = guidelines_in(
    "Read *both* first.\n# help\nIt **cures**.\n# Harmless\nNobody is hurt.", ["help", "harmless"]
)


def test_definitions_lie_beside_their_rows_and_guidelines_show_themselves_once(comparing):
    room = comparing(guidelines=GUIDELINES)
    context = room.browser.new_context()
    page = context.new_page()
    room.open(page)
    until_pair(page, "cough")
    page.wait_for_selector("#guidelines[open]")
    assert page.inner_text("#general") == "Read both first." and page.inner_text("#general em") == "both"
    assert page.locator("#definitions h3").all_inner_texts() == ["help", "harmless"]
    press(page, "t", "Escape")  # keys are the panel's as long as it is open
    page.wait_for_selector("#guidelines", state="hidden")
    assert page.locator("#rows input:checked").count() == 0
    assert page.locator("#rows .definition").all_inner_texts() == ["It cures.", "Nobody is hurt."]
    assert page.get_attribute("#rows fieldset >> nth=1", "aria-describedby") == "definition-1"
    press(page, "?")
    page.wait_for_selector("#guidelines[open]")
    press(page, "Enter")
    page.wait_for_selector("#guidelines", state="hidden")
    assert page.evaluate("Object.keys(localStorage)") == ["heed guidelines"]
    page.reload()
    until_pair(page, "cough")
    says(page, "#state", "you compare as ada")
    assert page.locator("#guidelines[open]").count() == 0
    room.stop()
    room.guidelines = guidelines_in("Read them twice.", ["help", "harmless"])
    room.start()
    page.wait_for_selector("#guidelines[open]")  # as they have changed
    assert page.inner_text("#general") == "Read them twice."


def test_definitions_follow_a_restart_and_what_was_chosen_stays(comparing):
    room = comparing(guidelines=GUIDELINES)
    page = room.page()
    until_pair(page, "cough")
    press(page, "Escape")
    page.wait_for_selector("#guidelines", state="hidden")
    press(page, "t")
    for found, beside, listed in (
        (
            guidelines_in("# harmless\nNobody *at all* is hurt.", ["help", "harmless"]),
            [None, "definition-1"],
            ["harmless"],
        ),
        (GUIDELINES, ["definition-0", "definition-1"], ["help", "harmless"]),
        (None, [None, None], []),
    ):
        room.stop()
        says(page, "#state", "disconnected: trying again")
        room.guidelines = found
        room.start()
        says(page, "#state", "you compare as ada")
        described = page.locator("#rows fieldset").evaluate_all(
            "all => all.map((one) => one.getAttribute('aria-describedby'))"
        )
        assert described == beside and page.locator("#definitions h3").all_inner_texts() == listed
        assert page.locator("#rows .definition").count() == len(listed)
        assert page.locator("#guidelines[open]").count() == bool(listed)  # who has it open sees it change, or go
        assert page.is_checked("#objective-0-tie")
    assert not page.is_visible("#guide") and page.inner_text("#general") == ""
    press(page, "?")
    assert page.locator("#guidelines[open]").count() == 0


def test_where_nothing_is_written_down_nothing_opens(comparing):
    page = comparing().page()
    until_pair(page, "cough")
    press(page, "?")
    assert not page.is_visible("#guide") and page.locator("#guidelines[open], .definition").count() == 0
