"""A person made of a few lines: sees what the watch page shows, and presses its keys."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from playwright.sync_api import Page

from heed.oversight.control.records import Pace

LOOKS_S = 1.3 * Pace().glance  # before a key: what was in view for less says nothing
TOO_SOON = "look at it first"  # a busy machine's server heard late that it was in view
PATIENCE = 120.0  # s; the models may be fitted meanwhile, on a slow machine
SHOWN = "[document.body.dataset.proposal, document.getElementById('allow').ariaDisabled === 'true']"


class ScriptedPerson:
    """Decides on each proposal by a rule, through the page.

    Args:
        page: opened, but not yet sent anywhere.
        blocks: whether to block, from the observation and the proposed action.
        looks_s: seconds before each key, of a person whom a desk takes for one.
    """

    def __init__(
        self, page: Page, blocks: Callable[[list[float], list[float]], bool], looks_s: float = LOOKS_S
    ) -> None:
        self.page, self.blocks, self.looks_s, self.proposal, self.pressed = page, blocks, looks_s, {}, 0
        page.on("websocket", lambda socket: socket.on("framereceived", self._receive))

    def _receive(self, frame: str | bytes) -> None:
        if isinstance(frame, str) and "proposal" in (message := json.loads(frame)):
            self.proposal = message["proposal"]

    def judge(self, while_: Callable[[], bool]) -> None:
        """Decide on each proposal in turn, as long as something is true."""
        self.page.keyboard.press("e")
        last, since = "", time.monotonic()
        while while_():
            number, closed = self.page.evaluate(SHOWN)
            if closed or number == last or number != str(self.proposal.get("number")):
                assert time.monotonic() < since + PATIENCE, f"nothing new after proposal {last}"
                if number == last and TOO_SOON in self.page.inner_text("#notice"):
                    self.page.wait_for_timeout(1000 * self.looks_s)
                    self.page.keyboard.press("a")
                continue
            self.page.wait_for_timeout(1000 * self.looks_s)
            self.page.keyboard.press("b" if self.blocks(self.proposal["observation"], self.proposal["action"]) else "a")
            self.pressed += 1
            last, since = number, time.monotonic()
