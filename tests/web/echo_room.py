"""A server that sends back what its pages send: what is true of it is true of every page's server."""

from __future__ import annotations

import urllib.request

from fastapi import Depends, WebSocket
from socket_page import SocketPage

from heed.web.app import add_page, create_app
from heed.web.authentication import bearer
from heed.web.connection import Connections, Strict
from heed.web.limits import Limits
from heed.web.people import People, Person
from heed.web.serving import serving


class Word(Strict):
    word: str


class Echo(SocketPage):
    path = "/echo"


class EchoRoom:
    """A server that sends back what it receives, to those who may connect.

    Args:
        opened: an exit stack.
        only_judges: see `Connections`.
        **limits: of it.
    """

    def __init__(self, opened, only_judges=False, **limits):
        self.opened, self.people = opened, People.named(["ada"], watchers=["eve"])
        bounds = Limits(**limits)
        self.connections = Connections(self.people, Word, only_judges, bounds)
        app = create_app(limits=bounds)
        add_page(app, "/", "watch")

        async def echo(page):
            page.note({"hello": page.person.name})

            async def receive():
                async for message in page.messages():
                    if message.word == "fall":
                        raise ZeroDivisionError("a fault of the server's own")
                    page.note({"echo": message.word})

            async def send():
                while True:
                    await page.news.wait()
                    page.news.clear()
                    while page.notes:
                        await page.send(page.notes.pop(0))

            await page.talk(receive(), send())

        known = Depends(bearer(self.people))

        @app.get("/who")
        async def who(person: Person = known) -> dict[str, str]:
            return {"name": person.name}

        async def admitted(socket: WebSocket) -> None:
            await self.connections.admit(socket, echo)

        app.add_api_websocket_route("/echo", admitted)
        self.address = opened.enter_context(serving(app, limits=bounds))

    @property
    def socket_address(self):
        return self.address.replace("http", "ws") + "/echo"

    def page(self, name="ada", token=None, **options):
        return Echo(self.opened, self.address, self.people.token_of(name) if token is None else token, **options)

    def get(self, path, **headers):
        with urllib.request.urlopen(urllib.request.Request(self.address + path, headers=headers)) as answer:
            return answer.headers, answer.read()
