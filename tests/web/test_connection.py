"""The gate of every page, over real sockets: who gets in, how much they may say, what a page and a request may do."""

from __future__ import annotations

import contextlib
import http.client
import json
import urllib.error
import urllib.request

import pytest
from fastapi import Depends
from socket_page import PATIENCE, SocketPage
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from heed.web import connection as gate_module
from heed.web.app import add_page, app_of
from heed.web.authentication import bearer
from heed.web.connection import FULL, LARGEST, REFUSED, TOO_MUCH, Gate, Strict
from heed.web.people import People, Person
from heed.web.serving import serving


class Word(Strict):
    word: str


class Echo(SocketPage):
    path = "/echo"


class Room:
    """A server that says what it hears, to those whom the gate lets in."""

    def __init__(self, opened, **options):
        self.opened, self.people = opened, People.named(["ada"], watchers=["eve"])
        self.gate = Gate(self.people, Word, **options)
        app = app_of()
        add_page(app, "/", "watch")

        async def echo(page):
            page.note({"hello": page.person.name})

            async def hear():
                async for message in page.messages():
                    if message.word == "fall":
                        raise ZeroDivisionError("a fault of the server's own")
                    page.note({"echo": message.word})

            async def tell():
                while True:
                    await page.news.wait()
                    page.news.clear()
                    while page.notes:
                        await page.send(page.notes.pop(0))

            await page.talk(hear(), tell())

        known = Depends(bearer(self.people))

        @app.get("/who")
        async def who(person: Person = known) -> dict[str, str]:
            return {"name": person.name}

        async def admitted(socket: gate_module.WebSocket) -> None:
            await self.gate.admit(socket, echo)

        app.add_api_websocket_route("/echo", admitted)
        self.address = opened.enter_context(serving(app, largest=LARGEST))

    def page(self, name="ada", token=None, **options):
        return Echo(self.opened, self.address, self.people.token_of(name) if token is None else token, **options)

    def get(self, path, **headers):
        with urllib.request.urlopen(urllib.request.Request(self.address + path, headers=headers)) as answer:
            return answer.headers, answer.read()


@pytest.fixture
def room():
    with contextlib.ExitStack() as opened:
        yield Room(opened)


def test_whoever_says_their_token_comes_in_under_their_name(room):
    ada, eve = room.page(), room.page("eve")
    assert (ada.until("hello"), eve.until("hello")) == ("ada", "eve")
    ada.say(word="hi")
    assert ada.until("echo") == "hi"
    assert {page.person.name for page in room.gate.pages} == {"ada", "eve"}


@pytest.mark.parametrize("token", ["", "guess", "\u00fc" * 30, "x" * 300])
def test_a_wrong_token_is_let_nowhere(room, token):
    assert room.page(token=token).code() == REFUSED
    assert room.gate.pages == set()


def test_where_only_judges_may_enter_a_watcher_does_not():
    with contextlib.ExitStack() as opened:
        room = Room(opened, only_judges=True)
        assert room.page("ada").until("hello") == "ada"
        assert room.page("eve").code() == REFUSED


def test_a_page_that_never_says_its_token_is_closed(room, monkeypatch):
    monkeypatch.setattr(gate_module, "GREETING_S", 0.05)
    with connect(room.address.replace("http", "ws") + "/echo") as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=PATIENCE)
    assert closed.value.rcvd.code == REFUSED


def test_pages_of_other_origins_are_refused_before_they_say_a_word(room):
    for origin in ("https://elsewhere.example", "null"):
        with pytest.raises(InvalidStatus, match="403"):
            room.page(origin=origin)
    assert room.page(origin=room.address).until("hello") == "ada"


@pytest.mark.parametrize("message", ["{", b'{"word": "binary"}', "[]", '{"word": 1}', '{"word": "a", "more": 1}', "{}"])
def test_what_is_not_understood_ends_the_connection(room, message):
    ada = room.page()
    ada.until("hello")
    ada.socket.send(message)
    assert ada.code() == REFUSED


def test_sizes_rates_and_counts_of_messages_are_bounded(room, monkeypatch):
    large = room.page()
    large.until("hello")
    large.socket.send(" " * (LARGEST + 1))
    assert large.code() == 1009
    monkeypatch.setattr(gate_module, "MESSAGES", 5)
    fast = room.page()
    fast.until("hello")
    with contextlib.suppress(ConnectionClosed):  # while it still sends
        for _ in range(100):
            fast.say(word="again")
    assert fast.code() == TOO_MUCH
    monkeypatch.setattr(gate_module, "PAGES", 0)
    with connect(room.address.replace("http", "ws") + "/echo") as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=PATIENCE)  # it is not even asked for a token
    assert closed.value.rcvd.code == FULL


def test_a_fault_of_the_server_ends_that_connection_alone(room, caplog):
    ada, eve = room.page(), room.page("eve")
    eve.until("hello")
    ada.say(word="fall")
    assert ada.code() == 1000
    assert "ZeroDivisionError: a fault of the server's own" in caplog.text
    eve.say(word="still here")
    assert eve.until("echo") == "still here"


def test_pages_carry_their_policy_and_nothing_else_is_served(room):
    headers, body = room.get("/")
    assert b"An agent under your eyes" in body
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    for path in ("/gate.py", "/../gate.py", "/%2e%2e/gate.py", "/pages/watch.html", "/compare.js", "/docs"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            room.get(path)


def test_scripts_make_no_markup_of_text(room):
    for name in ("watch.js", "common.js"):
        code = room.get(f"/{name}")[1].decode()
        for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser"):
            assert unsafe not in code


def test_a_request_is_whose_token_it_bears(room):
    token = room.people.token_of("eve")
    assert json.loads(room.get("/who", Authorization=f"Bearer {token}")[1]) == {"name": "eve"}
    for headers in ({}, {"Authorization": "Bearer guess"}, {"Authorization": f"Basic {token}"}):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            room.get("/who", **headers)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        room.get(f"/who?token={token}")  # an address is logged, and stays in a browser's history


def test_bodies_and_requests_are_bounded(room, monkeypatch):
    line = http.client.HTTPConnection(room.address.removeprefix("http://"), timeout=PATIENCE)
    for headers, status in (({"Content-Length": str(LARGEST + 1)}, 413), ({"Transfer-Encoding": "chunked"}, 411)):
        line.putrequest("POST", "/who")
        for name, value in headers.items():
            line.putheader(name, value)
        line.endheaders()
        answer = line.getresponse()
        assert answer.status == status
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        line.close()
    monkeypatch.setattr(gate_module, "MESSAGES", 0)
    with pytest.raises(urllib.error.HTTPError, match="429"):
        room.get("/health")
