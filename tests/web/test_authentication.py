"""Whose request it is, over real sockets: tokens, and pages of this very server alone."""

from __future__ import annotations

import json
import urllib.error

import pytest
from websockets.exceptions import InvalidStatus

from heed.web.connection import REFUSED


@pytest.mark.parametrize("token", ["", "guess", "\u00fc" * 30, "x" * 300])
def test_a_wrong_token_is_let_nowhere(echo_room, token):
    room = echo_room()
    assert room.page(token=token).code() == REFUSED
    assert room.connections.pages == set()


def test_where_only_judges_may_connect_a_watcher_may_not(echo_room):
    room = echo_room(True)
    assert room.page("ada").until("hello") == "ada"
    assert room.page("eve").code() == REFUSED


def test_pages_of_other_origins_are_refused_before_they_send_a_word(echo_room):
    room = echo_room()
    for origin in ("https://elsewhere.example", "null"):
        with pytest.raises(InvalidStatus, match="403"):
            room.page(origin=origin)
    assert room.page(origin=room.address).until("hello") == "ada"


def test_a_request_is_whose_token_it_bears(echo_room):
    room = echo_room()
    token = room.people.token_of("eve")
    assert json.loads(room.get("/who", Authorization=f"Bearer {token}")[1]) == {"name": "eve"}
    for headers in ({}, {"Authorization": "Bearer guess"}, {"Authorization": f"Basic {token}"}):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            room.get("/who", **headers)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        room.get(f"/who?token={token}")  # an address is logged, and stays in a browser's history
