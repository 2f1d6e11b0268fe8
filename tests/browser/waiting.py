"""Waiting for what a page shows: its policy forbids the scripts that playwright would wait by, so it is asked."""

from __future__ import annotations

import time

PATIENCE = 20.0
"""Seconds, far more than any wait takes on a quiet machine."""


def until(page, right, what):
    """Ask the page until its answer is right; that answer."""
    deadline = time.monotonic() + PATIENCE
    while not right(found := what(page)):
        assert time.monotonic() < deadline, f"still {found!r}"
        page.wait_for_timeout(20)  # in which playwright hears what the browser has to say
    return found


def says(page, selector, text):
    """Wait until an element's text has this in it."""
    until(page, lambda found: text in found, lambda page: page.inner_text(selector))


def shows(page, state):
    """Wait until the page says this state."""
    page.wait_for_selector(f"#state[data-state='{state}']", timeout=1000 * PATIENCE)


class Wire:
    """Lies between a page and its server, so that the line between them can be cut.

    Args:
        page: before it goes anywhere.
        path: of its socket.
        loses: a text in something that either says, which is lost once, and the line with it.

    Attributes:
        sent: what the page said, in order.
    """

    def __init__(self, page, path, loses=None):
        self.sent, self._loses, self._ends = [], loses, ()
        page.route_web_socket(f"**{path}", self._open)

    def _open(self, end):
        server = end.connect_to_server()
        self._ends = end, server

        def up(message):
            self.sent.append(message)
            self._pass(message, server)

        end.on_message(up)
        server.on_message(lambda message: self._pass(message, end))

    def _pass(self, message, to):
        if self._loses is not None and isinstance(message, str) and self._loses in message:
            self._loses = None
            self.cut()
        else:
            to.send(message)

    def cut(self):
        """The line is lost; the page may try again."""
        end, server = self._ends
        server.close()
        end.close(code=1012)
