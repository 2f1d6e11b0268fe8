"""One connection to a server of pages, as a page keeps it."""

from __future__ import annotations

import json

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

PATIENCE = 10.0


class SocketPage:
    """Says what it is told to, and collects what it hears."""

    path = "/"

    def __init__(self, opened, address, token, origin=None):
        self.socket = opened.enter_context(connect(address.replace("http", "ws") + self.path, origin=origin))
        self.say(token=token)

    def say(self, **message):
        self.socket.send(json.dumps(message))

    def until(self, kind, right=lambda found: True):
        """The next message of a kind that is right; pictures are passed over."""
        while True:
            heard = self.socket.recv(timeout=PATIENCE)
            message = {} if isinstance(heard, bytes) else json.loads(heard)
            if kind in message and right(message[kind]):
                return message[kind]

    def code(self):
        """With what the server closed the connection."""
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                self.socket.recv(timeout=PATIENCE)
        return closed.value.rcvd.code
