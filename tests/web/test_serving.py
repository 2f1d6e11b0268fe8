"""How the pages are served: small messages go at once."""

from __future__ import annotations

import socket
import urllib.request

import uvicorn

from heed.web.app import create_app
from heed.web.serving import serving


def test_small_messages_do_not_wait_for_others(monkeypatch):
    """asyncio sets TCP_NODELAY on connections whose listener names its protocol; without it each way takes 40 ms."""
    listeners, run = [], uvicorn.Server.run

    def noted(self, sockets=None):
        listeners.extend(sockets)
        run(self, sockets)

    monkeypatch.setattr(uvicorn.Server, "run", noted)
    with serving(create_app()) as address, urllib.request.urlopen(address + "/health") as answer:
        assert answer.status == 200
        assert [listener.proto for listener in listeners] == [socket.IPPROTO_TCP]
