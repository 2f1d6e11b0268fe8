"""Why the overseer's page was let nowhere: each reason has a sentence of its own, and none is tried again."""

from __future__ import annotations

import pytest
from waiting import says

from heed.web.people import digest_of

pytestmark = pytest.mark.browser

WRONG = "the token is wrong: open the address that heed printed"
ENDED = "this login was ended: ask whoever runs heed for a new address"
UNKNOWN = "this page sent what the server does not understand: reload it"


@pytest.mark.parametrize(
    ("token", "greeting", "code", "sentence"),
    [
        ("guess", None, 4401, WRONG),
        ("x" * 300, None, 4401, WRONG),
        ("", None, 4401, WRONG),
        ("an old one", None, 4403, ENDED),
        (None, '{"tokens": ["as another version might"]}', 4400, UNKNOWN),
        (None, "{", 4400, UNKNOWN),
    ],
)
def test_each_refusal_has_its_own_sentence_and_is_not_tried_again(watching, token, greeting, code, sentence):
    watched = watching()
    watched.people._ended = frozenset({digest_of("an old one")})
    page, lines, codes = watched.browser.new_page(), [], []

    def through(end):
        server = end.connect_to_server()
        end.on_message(lambda message: server.send(message if greeting is None else greeting))
        server.on_close(lambda told, why: (codes.append(told), end.close(code=told, reason=why)))
        lines.append(end)

    page.route_web_socket("**/watch", through)
    page.goto(f"{watched.address}/#token={watched.people.token_of('ada') if token is None else token}")
    says(page, "#state", f"disconnected: the agent waits: {sentence}")
    page.wait_for_timeout(1500)  # longer than a page waits before it tries again
    assert (codes, len(lines)) == ([code], 1)
    assert page.get_attribute("body", "data-proposal") is None and page.is_disabled("#block")
