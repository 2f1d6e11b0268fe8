"""The app behind every page: what it serves, what a page may load, how large and how many requests may be."""

from __future__ import annotations

import http.client
import urllib.error

import pytest
from socket_page import PATIENCE


def test_pages_carry_their_policy_and_nothing_else_is_served(echo_room):
    room = echo_room()
    headers, body = room.get("/")
    assert b"An agent under your eyes" in body
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    for path in ("/app.py", "/../app.py", "/%2e%2e/app.py", "/assets/watch.html", "/compare.js", "/docs"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            room.get(path)


def test_scripts_make_no_markup_of_text(echo_room):
    room = echo_room()
    for name in ("watch.js", "common.js"):
        code = room.get(f"/{name}")[1].decode()
        for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser"):
            assert unsafe not in code


@pytest.mark.parametrize(
    ("headers", "status"), [({"Content-Length": "101"}, 413), ({"Transfer-Encoding": "chunked"}, 411)]
)
def test_a_body_has_a_known_and_a_largest_length(echo_room, headers, status):
    room = echo_room(message_bytes=100)
    line = http.client.HTTPConnection(room.address.removeprefix("http://"), timeout=PATIENCE)
    line.putrequest("POST", "/who")
    for name, value in headers.items():
        line.putheader(name, value)
    line.endheaders()
    answer = line.getresponse()
    assert answer.status == status
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    line.close()


def test_requests_are_bounded_in_number(echo_room):
    room = echo_room(messages=0)
    with pytest.raises(urllib.error.HTTPError, match="429"):
        room.get("/health")
