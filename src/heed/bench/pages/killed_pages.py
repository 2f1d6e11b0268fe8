"""The simulated pages of `heed bench kills`: they judge, note what is acknowledged, and repeat what is not."""

from __future__ import annotations

import json
import random
import socket
import time
import uuid
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from heed.bench.pages.killed_servers import OBJECTIVES
from heed.errors import RunFailed
from heed.oversight.comparisons.session import VERDICTS
from heed.oversight.store.store import Judgement

PATIENCE_S = 60.0
"""Seconds without a word after which a server is taken for broken."""
BEAT_S = 0.5
"""Seconds without a word after which a page says that it is alive."""
PACE_S = 0.006
"""Seconds between two messages at least: a page may send `heed.web.limits.Limits.messages` a second."""
UNDONE = 0.1
"""Share of the judgements that are taken back."""
NOT_IN_VIEW = "nothing is in view"
"""Why a watch page's verdict may be turned away after the line was cut."""
DROPPED = 0.05
"""Share of the judgements after which the page loses its connection, and comes back."""


class Page(ABC):
    """One person's page, through all lives of the server.

    Args:
        draws: the random generator of its judgements.

    Attributes:
        sent: every judgement that was sent, by key: what it is about, and the verdict.
        active: keys of judgements that are acknowledged and not retracted.
        retracted: keys whose retraction is acknowledged.
        abandoned: keys that were sent, and not repeated to the next server.
        uncertain: keys whose retraction was sent, and neither acknowledged nor refuted.
        repeated: when a judgement was last sent again, by key.
        turned_away: keys that were repeated after the line was cut, and refused, as nothing was in view any more: these
            must not be written.
        refused: the reasons of what else the server refused.
        heard: when this server first acknowledged something, by `time.monotonic`; None before.
    """

    kind: str
    path: str

    def __init__(self, draws: random.Random) -> None:
        self.draws = draws
        self.sent: dict[str, tuple[Any, Any]] = {}
        self.active: set[str] = set()
        self.retracted: set[str] = set()
        self.abandoned: set[str] = set()
        self.uncertain: set[str] = set()
        self.repeated: dict[str, datetime] = {}
        self.turned_away: set[str] = set()
        self.refused: list[str] = []
        self.heard: float | None = None
        self._rows: dict[int, str] = {}
        self._unwritten: tuple[str, dict[str, Any]] | None = None  # what is not acknowledged: its key, its message
        self._undoing: str | None = None
        self._line: ClientConnection | None = None
        self._sent_at = 0.0
        self._asked = False  # whether this server was sent something that it is to acknowledge

    @property
    def acknowledged(self) -> int:
        """How many judgements are known to be written, retracted ones included."""
        return len(self._rows)

    @property
    def waiting(self) -> bool:
        """Whether something that was sent is not acknowledged."""
        return self._unwritten is not None or self._undoing is not None

    @property
    def cut(self) -> bool:
        """Whether this server was sent something that it has not acknowledged."""
        return self.waiting and self._asked

    def visit(self, address: str, token: str, until: float = float("inf")) -> None:
        """Judge until the server is gone, or so many are acknowledged; now and then the connection is lost.

        Raises:
            RunFailed: the server is there, and says nothing, or no more.
        """
        while self.acknowledged < until or self.waiting:
            try:
                with connect(address.replace("http", "ws") + self.path, open_timeout=PATIENCE_S) as self._line:
                    self._say({"token": token})
                    while self.acknowledged < until or self.waiting:
                        self._hear(self._next(self._line))
                        self._go_on()
            except ConnectionClosed as closed:
                if closed.rcvd is not None:
                    raise RunFailed(f"the server of {self.path} closed the connection: {closed.rcvd}") from closed
            except (OSError, EOFError, InvalidHandshake):
                return  # nobody is there any more

    def restarted(self) -> None:
        """Another server takes the last one's place."""
        self.heard, self._asked = None, False

    def _next(self, line: ClientConnection) -> dict[str, Any]:
        """The server's next message; between messages the page sends its heartbeat."""
        for _ in range(int(PATIENCE_S / BEAT_S)):
            try:
                message: dict[str, Any] = json.loads(line.recv(timeout=BEAT_S))
                return message
            except TimeoutError:
                self._say({})
        raise RunFailed(f"the server of {self.path} said nothing for {PATIENCE_S:.0f} s")

    @abstractmethod
    def content(self, judgement: Judgement) -> tuple[Any, Any]:
        """What a stored judgement is about, and its verdict, as in `sent`."""

    @abstractmethod
    def _hear(self, message: dict[str, Any]) -> None:
        """Take in a message of the server."""
        if "written" in message:
            self.heard = self.heard or time.monotonic()
            key = message["written"]["key"]
            self._rows[message["written"]["id"]] = key
            if self._unwritten is not None and self._unwritten[0] == key:
                self._unwritten = None
                self.active.add(key)
        if "undone" in message:
            key, self._undoing = self._rows[message["undone"]["id"]], None
            self.active.discard(key)
            self.retracted.add(key)
        if "refused" in message:
            self._refused(**message["refused"])
            self._unwritten = self._undoing = None

    @abstractmethod
    def _go_on(self) -> None:
        """Send the next judgement, if it is the person's turn."""

    def _refused(self, why: str, key: str = "", **_: Any) -> None:  # noqa: ARG002 - of whatever it was
        """The server refused what was sent."""
        self.refused.append(why)

    def _judge(self, key: str, about: Any, verdict: Any, message: dict[str, Any]) -> None:
        self.sent[key], self._unwritten = (about, verdict), (key, message)
        self._ask(message)
        if self.draws.random() < DROPPED and self._line is not None:
            self._line.socket.shutdown(socket.SHUT_RDWR)

    def _repeat(self) -> None:
        """Send again what is not acknowledged, with the same key."""
        if self._unwritten is not None:
            self.repeated[self._unwritten[0]] = datetime.now(UTC)
            self._ask(self._unwritten[1])

    def _ask(self, message: dict[str, Any]) -> None:
        """Send what is to be acknowledged."""
        self._asked = True
        self._say(message)

    def _say(self, message: dict[str, Any]) -> None:
        time.sleep(max(0.0, self._sent_at + PACE_S - time.monotonic()))
        self._sent_at = time.monotonic()
        if self._line is not None:
            self._line.send(json.dumps(message))

    def _new_key(self) -> str:
        return str(uuid.UUID(int=self.draws.getrandbits(128), version=4))


class ComparePage(Page):
    """Compares pairs; what was not acknowledged is sent to the next server too, with the same key."""

    kind, path = "compare", "/compare"

    def __init__(self, draws: random.Random) -> None:
        super().__init__(draws)
        self._pair: str | None = None
        self._last: str | None = None  # the key that an undo retracts
        self._in_doubt = False

    def content(self, judgement: Judgement) -> tuple[Any, Any]:
        """See `Page.content`."""
        return judgement.shown["pair"], judgement.verdict

    def _hear(self, message: dict[str, Any]) -> None:
        written = message.get("written", {}).get("key")
        super()._hear(message)
        if "hello" in message:
            self._pair, self._in_doubt = None, self._undoing is not None
            self._repeat()
        if "pair" in message:
            self._pair = message["pair"]["pair"]
            self._settle()
        if written is not None:
            self._last = written
        if (written is not None and self.sent[written][0] == self._pair) or "undone" in message:
            self._pair = None  # another is on its way

    def _settle(self) -> None:
        """After a lost connection, infer from the pair that is shown whether a judgement was retracted."""
        if self._in_doubt and self._undoing is not None:
            key, self._undoing, self._in_doubt = self._undoing, None, False
            if self.sent[key][0] == self._pair:
                self.active.discard(key)
                self.retracted.add(key)

    def _go_on(self) -> None:
        if self.waiting or self._pair is None:
            return
        if self._last is not None and self.draws.random() < UNDONE:
            self._undoing, self._last = self._last, None
            self._ask({"undo": True})
            return
        key, self._last = self._new_key(), None
        verdict = {
            "objectives": {name: self.draws.choice(VERDICTS) for name in OBJECTIVES},
            "unsafe": {side: self.draws.random() < 0.2 for side in ("left", "right")},
        }
        said = {"key": key, "pair": self._pair, "latency_ms": 1.0} | verdict
        self._judge(key, self._pair, verdict, {"compared": said})


class WatchPage(Page):
    """Blocks and lets pass; what was not acknowledged is not repeated to the next server, which proposes anew."""

    kind, path = "block", "/watch"

    def __init__(self, draws: random.Random) -> None:
        super().__init__(draws)
        self._proposal: dict[str, Any] | None = None
        self._judged = 0  # number of the last proposal that was judged
        self._last: str | None = None

    def restarted(self) -> None:
        """Proposals are counted anew, and nobody knows what became of what was not acknowledged."""
        super().restarted()
        if self._unwritten is not None:
            self.abandoned.add(self._unwritten[0])
        self._give_up_undoing()
        self._unwritten, self._proposal, self._judged, self._last = None, None, 0, None

    def content(self, judgement: Judgement) -> tuple[Any, Any]:
        """See `Page.content`."""
        return tuple(judgement.shown["observation"]), judgement.verdict["block"]

    def _refused(self, why: str, key: str = "", **of: Any) -> None:
        """A verdict that is repeated on a new line is about what is not in view there yet, and refused."""
        if key in self.repeated and NOT_IN_VIEW in why:
            self.turned_away.add(key)
        else:
            super()._refused(why, key, **of)

    def _give_up_undoing(self) -> None:
        if self._undoing is not None:
            self.active.discard(self._undoing)
            self.uncertain.add(self._undoing)
            self._undoing = None

    def _hear(self, message: dict[str, Any]) -> None:
        super()._hear(message)
        if "hello" in message:
            self._proposal = None  # nothing is in view here until it is shown here
            self._give_up_undoing()
            self._repeat()
        if "refused" in message:
            self._judged = 0  # it is asked again
        if message.get("desk", {}).get("state") == "paused":  # as it is when a page comes, or comes back
            self._say({"order": {"do": "each"}})
        if "written" in message:
            self._last = message["written"]["key"]
        if "proposal" in message:
            self._proposal = message["proposal"]
            self._say({"rendered": self._proposal["number"]})

    def _go_on(self) -> None:
        if self.waiting:
            return
        if self._last is not None and self.draws.random() < UNDONE:
            self._undoing, self._last = self._last, None
            self._ask({"order": {"do": "undo"}})
            return
        self._last = None
        if self._proposal is not None and self._proposal["number"] > self._judged:
            key, number, block = self._new_key(), self._proposal["number"], self.draws.random() < 0.5
            self._judged = number
            order = {"do": "block" if block else "allow", "proposal": number, "key": key}
            self._judge(key, tuple(self._proposal["observation"]), block, {"order": order})


PAGES: dict[str, type[ComparePage] | type[WatchPage]] = {"compare": ComparePage, "watch": WatchPage}
