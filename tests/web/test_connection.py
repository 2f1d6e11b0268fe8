"""Connections of pages, over real sockets: of what shape, how large and how many their messages may be."""

from __future__ import annotations

import contextlib

import pytest
from socket_page import PATIENCE
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from heed.web.connection import FULL, REFUSED, TOO_MUCH, UNKNOWN
from heed.web.limits import Limits


def code_without_a_word(room):
    """With what the server closes a connection that sends nothing."""
    with connect(room.socket_address) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=PATIENCE)
    return closed.value.rcvd.code


def test_whoever_sends_their_token_is_connected_under_their_name(echo_room):
    room = echo_room()
    ada, eve = room.page(), room.page("eve")
    assert (ada.until("hello"), eve.until("hello")) == ("ada", "eve")
    ada.say(word="hi")
    assert ada.until("echo") == "hi"
    assert {page.person.name for page in room.connections.pages} == {"ada", "eve"}


def test_a_page_that_never_sends_its_token_is_closed(echo_room):
    assert code_without_a_word(echo_room(greeting_s=0.05)) == REFUSED


@pytest.mark.parametrize(
    "greeting", ["{", b'{"token": "binary"}', "[]", "{}", '{"token": 1}', '{"token": "", "more": 1}']
)
def test_a_greeting_that_is_none_is_told_apart_from_a_wrong_token(echo_room, greeting):
    with connect(echo_room().socket_address) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.send(greeting)
        socket.recv(timeout=PATIENCE)
    assert closed.value.rcvd.code == UNKNOWN


@pytest.mark.parametrize("message", ["{", b'{"word": "binary"}', "[]", '{"word": 1}', '{"word": "a", "more": 1}', "{}"])
def test_what_is_not_understood_ends_the_connection(echo_room, message):
    ada = echo_room().page()
    ada.until("hello")
    ada.socket.send(message)
    assert ada.code() == UNKNOWN


def test_a_message_has_a_largest_size(echo_room):
    large = echo_room(message_bytes=100).page()
    large.until("hello")
    large.socket.send(" " * 101)
    assert large.code() == 1009


def test_a_page_that_sends_too_many_messages_is_closed(echo_room):
    fast = echo_room(messages=5).page()
    fast.until("hello")
    with contextlib.suppress(ConnectionClosed):  # while it still sends
        for _ in range(100):
            fast.say(word="again")
    assert fast.code() == TOO_MUCH


def test_a_page_too_many_is_not_even_asked_for_a_token(echo_room):
    room = echo_room(connections=1)
    assert room.page().until("hello") == "ada"
    assert code_without_a_word(room) == FULL


def test_a_fault_of_the_server_ends_that_connection_alone(echo_room, caplog):
    room = echo_room()
    ada, eve = room.page(), room.page("eve")
    eve.until("hello")
    ada.say(word="fall")
    assert ada.code() == 1000
    assert "ZeroDivisionError: a fault of the server's own" in caplog.text
    eve.say(word="still here")
    assert eve.until("echo") == "still here"


def test_the_defaults_leave_room_for_people_and_not_for_floods():
    limits = Limits()
    assert (limits.message_bytes, limits.messages, limits.connections) == (8192, 200, 100)
    assert (limits.greeting_s, limits.rendering_s) == (5.0, 1.0)
