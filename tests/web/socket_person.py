"""A person made of a few lines, at a socket in place of a page: decides on each proposal by a rule."""

from __future__ import annotations

import json
import threading
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from heed.oversight.control.records import Pace

BEAT_S = 0.5
TOO_SOON = "look at it first"
"""What a busy machine's server says, which heard late that a proposal was in view."""
LOOKS_S = 1.2 * Pace().glance
"""Before a key: what was in view for less says nothing."""


class SocketPerson(threading.Thread):
    """Judges whatever is proposed until the server ends.

    Args:
        address: of their page, with the token.
        blocks: whether to block, from what the page is sent of a proposal; lets all pass by default.
        opened: the page's own mark in the keys of its judgements.
        watches: lets all pass in silence, as fast as it goes.

    Attributes:
        proposals: what their page was sent.
        written: the ids of their judgements on disk, by key.
    """

    def __init__(self, address, blocks=lambda proposal: False, opened="key", watches=False):
        super().__init__(daemon=True)
        self.address, self.blocks, self.opened, self.watches = address, blocks, opened, watches
        self.proposals, self.written = [], {}
        self.start()

    def run(self):
        place, _, token = self.address.partition("/#token=")
        with connect(place.replace("http", "ws") + "/watch") as self.socket:
            self.say(token=token)
            try:
                while True:
                    self.receive()
            except ConnectionClosed:
                return

    def say(self, **message):
        self.socket.send(json.dumps(message))

    def receive(self):
        try:
            message = self.socket.recv(timeout=BEAT_S)
        except TimeoutError:
            self.say()  # as a page does: it is alive
            return
        message = {} if isinstance(message, bytes) else json.loads(message)
        if message.get("desk", {}).get("state") == "paused":
            for do in ["faster"] * 9 + ["go"] if self.watches else ["each"]:
                self.say(order={"do": do})
        if "proposal" in message:
            self.proposals.append(message["proposal"])
            number = message["proposal"]["number"]
            self.say(rendered=number)
            if self.watches:
                return
            time.sleep(LOOKS_S)
            do = "block" if self.blocks(message["proposal"]) else "allow"
            self.order = {"do": do, "proposal": number, "key": f"{self.opened}-{number}"}
            self.say(order=self.order)
        if TOO_SOON in message.get("refused", {}).get("why", ""):
            time.sleep(LOOKS_S)
            self.say(order=self.order)
        if "written" in message:
            self.written[message["written"]["key"]] = message["written"]["id"]
