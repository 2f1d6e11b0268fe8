"""The desk between an agent that proposes and the people who watch it: who may act now, as one explicit machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from heed.errors import HeedError
from heed.oversight.control.credit import Credit
from heed.oversight.control.pages import Pages
from heed.oversight.control.records import JUDGING, STEPPED, DeskRecord, Judging, Order, Owed, Pace, State, agreed
from heed.oversight.overseers.base import Verdict


class Desk:
    """Holds one proposed action at a time and decides what becomes of it. Knows no threads, no sockets, no store.

    Nothing passes unseen: a proposal passes only after a page has rendered it, while a person is connected. A page that
    falls silent is disconnected, and with the last one the desk stops; whoever comes back finds it paused.

    Args:
        pace: how long things may take.
        clock: seconds.
        votes: how many different people judge each proposal. Who holds the block or acts decides alone.

    Attributes:
        state: what it does now.
        why: in words, why it stopped by itself; "" otherwise.
        rate: index of the pace's rate that proposals pass at.
        acting: who acts in the agent's place; None if nobody.
        alone: the agent acts by itself, and puts down only what it is unsure of.
        halted: whether somebody paused it then.
        pages: that are connected.
        begun: whether anything has been let go since the desk was set up.
        empty_since: when the last proposal left the desk.

    >>> now = [0.0]
    >>> desk = Desk(Pace(rates=(2.0,), rate=0), clock=lambda: now[0])
    >>> desk.connect("page 1", "ada"); desk.order("page 1", Order("go"))
    >>> _ = desk.put(1); desk.rendered("page 1", 1); desk.collect() is None
    True
    >>> now[0] = 0.5; desk.collect().block
    False
    >>> _ = desk.put(2); desk.rendered("page 1", 2); desk.order("page 1", Order("block", proposal=2, key="k"))
    >>> desk.collect().person
    'ada'
    """

    def __init__(self, pace: Pace | None = None, clock: Callable[[], float] = time.monotonic, votes: int = 1) -> None:
        self.pace = Pace() if pace is None else pace
        self.clock, self.votes = clock, votes
        self.state, self.why = State.DISCONNECTED, ""
        self.rate = self.pace.rate
        self.pages = Pages()
        self._record: DeskRecord | None = None
        self._credit = Credit(self.pace.reaction, self.pace.glance)
        self._owed: Owed | None = None
        self._last: tuple[int, Verdict] | None = None  # the proposal that left the desk last
        self._last_act: Any = None
        self._one_step = False
        self.acting: str | None = None
        self.alone, self.halted, self.begun = False, False, False
        self._last_order = self.empty_since = clock()

    @property
    def reactions(self) -> dict[str, float]:
        """Measured, by person, in seconds."""
        return self._credit.reactions

    @property
    def stepping(self) -> bool:
        """Whether one step passes, and the desk pauses after it."""
        return self._one_step

    @property
    def proposal(self) -> int | None:
        """Number of the proposal that lies on the desk."""
        return None if self._record is None else self._record.number

    @property
    def judged_by(self) -> list[str]:
        """Who has judged that proposal."""
        return [] if self._record is None else list(self._record.verdicts)

    @property
    def left(self) -> float | None:
        """Seconds until a proposal that the agent asks about is blocked by itself; None where there is none."""
        return None if self._record is None else self._record.left(self.clock(), self.pace.patience)

    def connect(self, page: str, person: str, judges: bool = True) -> None:
        """A page is there; the desk stays paused until somebody orders to go, unless the agent acts by itself."""
        self.pages[page] = Judging(person, judges, self.clock())
        if judges and self.state is State.DISCONNECTED:
            if self.alone and not self.halted:
                self._run(State.WATCHING)
            else:
                self._pause("")

    def go_alone(self) -> None:
        """From now on the agent acts by itself; it waits first if it was paused, or somebody acted in its place."""
        self.alone = True
        self.pages.let_go()
        if self.state is State.TAKEN_OVER:
            self._pause("from now on the agent acts by itself")
        self.halted = self.state is State.PAUSED

    def disconnect(self, page: str) -> None:
        """A page is gone; with the last person who may judge, the desk stops."""
        left = self.pages.pop(page, None)
        if self._record is not None:
            self._record.rendered.pop(page, None)
        if left is not None and left.person not in self.pages.people and self.acting == left.person:
            self._pause(f"{left.person}, who acted, is gone")
        if not self.pages.people and self.state is not State.DISCONNECTED:
            self._run(State.DISCONNECTED)
            self.why = "nobody is watching"

    def heartbeat(self, page: str) -> bool:
        """A page says that it is alive; whether it still counts as connected."""
        return self.pages.beat(page, self.clock())

    def look(self, page: str, back: bool) -> None:
        """A page shows the past, or the present again: meanwhile nothing is in view on it, so nothing passes there."""
        if self.pages.look(page, back) and self._record is not None:
            self._record.rendered.pop(page, None)

    def put(self, number: int, asked: bool = False, begins: bool = False) -> str:
        """Put a proposal on the desk.

        Args:
            number: larger than any before.
            asked: the agent is unsure and asks; it waits for a verdict, and in vain no longer than the patience.
            begins: an episode begins with it. A block that came before it was meant for the last one: it blocks, and
                says nothing of this one.

        Returns:
            The key of such an order, which is about nothing; "" if there was none.
        """
        owed, self._owed = self._owed, None
        self._record = DeskRecord(number, asked, self.clock())
        self._credit.begin(number, begins)
        if owed is None:
            return ""
        if begins:
            self._record.forced = Verdict(True, failed=True, reason="a block came as the last episode ended")
            return owed.verdict.key
        credit = self._credit.steps(number, owed.since)
        self._record.verdicts[owed.verdict.person] = replace(owed.verdict, credit=credit, glimpsed=True)
        return ""

    def rendered(self, page: str, number: int) -> None:
        """A page of somebody who may judge has rendered a proposal."""
        self.heartbeat(page)
        record, by = self._record, self.pages.get(page)
        if record is not None and by is not None and by.sees and record.number == number:
            by.since = number if by.since is None else by.since
            if record.in_view_since is None:
                self._credit.came_into_view(number, self.clock())
            record.seen = self.clock() if record.seen is None else record.seen
            record.rendered.setdefault(page, (by.person, self.clock()))

    def order(self, page: str, order: Order) -> None:
        """Do what a person orders.

        Raises:
            HeedError: an unknown order, one of a page that is not connected or may not judge, or one that makes no
                sense now.
        """
        by = self.pages.get(page)
        if by is None or not by.judges:
            raise HeedError("this page may only watch", order.do, "connect with an overseer's token")
        if by.looks_back and order.do in JUDGING:
            raise HeedError("this page shows the past", order.do, "come back to the present first")
        if order.do not in _ORDERS:
            raise HeedError(f"'{order.do}' is no order", "page", f"send one of {', '.join(_ORDERS)}")
        self.heartbeat(page)
        self._by = by
        if order.do != "act" or order.action != self._last_act:  # a page acts on by itself while keys are held
            self._last_order = self.clock()
        _ORDERS[order.do](self, by.person, order)

    def collect(self) -> Verdict | None:
        """The verdict on the proposal on the desk, which then is empty; None as long as the proposal waits."""
        self._drop_silent_pages()
        record, now = self._record, self.clock()
        if record is None:
            return None
        if self.state is State.PAUSED or (self.state is State.DISCONNECTED and (self.halted or not self.alone)):
            return None
        verdict = record.decided(self.votes) or self._by_time(record, now)
        if verdict is not None:
            self._record, self._last, self.empty_since = None, (record.number, verdict), now
            if self._one_step:
                self._pause(STEPPED)
                self.halted = self.alone
        return verdict

    def halts(self, stepped: bool) -> bool:
        """Whether an agent that acts by itself, and just took a step or did not, is to wait, as somebody paused it."""
        self._drop_silent_pages()
        if self._one_step and stepped:
            self._pause(STEPPED)
            self.halted = True
        return self.halted

    def due(self) -> float:
        """Seconds until time itself may change something; nothing else can before then."""
        now, times = self.clock(), [page.heartbeat + self.pace.heartbeat for page in self.pages.values()]
        if self._record is not None:
            times += self._record.times(1 / self.pace.rates[self.rate], self.pace.glance, self.pace.patience)
        ahead = [when - now for when in times if when > now]
        return min(ahead, default=math.inf)

    @property
    def _passing(self) -> bool:
        """Whether proposals pass by themselves, so that a key may come too late for the one it was meant for."""
        return self.state is State.WATCHING and not self._one_step

    def _drop_silent_pages(self) -> None:
        now = self.clock()
        for page in self.pages.silent(now, self.pace.heartbeat):
            self.disconnect(page)
        moves = (self._passing and not self.alone) or self.state is State.TAKEN_OVER
        if moves and now - self._last_order > self.pace.idle:
            self._pause(f"nobody pressed a key for {self.pace.idle:.0f} s")

    def _by_time(self, record: DeskRecord, now: float) -> Verdict | None:
        """The verdict where no key gave one: by a held block, by silence, or by patience that is over."""
        seen = record.in_view_since
        asks = record.asked and (self.alone or record.seen is not None)
        if self.state is State.TAKEN_OVER or (seen is None and not asks):
            return None
        waited = now - record.waits_since  # who asks in vain waits no longer, seen or not
        if (holding := self.pages.holding) is not None:
            held = record.seen_by(holding, now)
            if held is None or held < self.pace.glance:
                return None
            others = tuple(given for name, given in record.verdicts.items() if name != holding)
            return Verdict(True, 1e3 * held, person=holding, others=others)
        if record.asked:
            if waited < self.pace.patience:
                return None
            blocks = [given for given in record.verdicts.values() if given.block]
            # Else it is nobody's verdict, from which nothing is learnt.
            first = blocks[0] if blocks else Verdict(True, 1e3 * waited, failed=True, reason="nobody answered in time")
            return replace(first, others=tuple(given for given in record.verdicts.values() if given is not first))
        if self.state is State.DECIDING:
            return None
        silent = record.silent(now, 1 / self.pace.rates[self.rate])
        spare = max(0, self.votes - len(record.verdicts))
        return agreed(record.verdicts | dict(list(silent.items())[:spare]), self.votes)

    def _pause(self, why: str) -> None:
        self.state, self.why, self._one_step, self.acting = State.PAUSED, why, False, None

    def _run(self, state: State) -> None:
        self.halted &= state is State.DISCONNECTED  # whoever leaves has not ordered to go
        self.begun |= state is not State.DISCONNECTED
        self.state, self.why, self._one_step, self.acting = state, "", False, None

    def _since(self, person: str, order: Order, number: int) -> int:
        """The first proposal that a block pressed now is about, where the next to be judged is this one."""
        if not self._passing or self._by.since is None:  # since it was in the past, it has shown nothing
            return number
        return max(self._by.since, self._credit.since(person, order.proposal, number, self.clock()))

    def _block(self, person: str, order: Order, catastrophe: bool = False) -> None:
        """Block what lies on the desk, rendered or not; between two proposals, the next one: no block is too late."""
        record = self._record
        own = None if record is None else record.verdicts.get(person)
        owed = None if self._owed is None else self._owed.verdict
        before = owed if record is None else record.decided(self.votes)
        decided = record is not None and before is not None
        if record is None and before is None and self._last is not None and order.proposal == self._last[0]:
            before = self._last[1]
        if record is None:
            self._require_oversight(order)
        blocked = next((given for given in (before, own) if given is not None and given.block), None)
        if blocked is not None:
            raise HeedError(
                f"it is blocked already, by {blocked.person or 'the time'}", order.do, "nothing is left to do"
            )
        if record is None or decided:
            last = 0 if self._last is None else self._last[0]
            verdict = Verdict(True, person=person, key=order.key, catastrophe=catastrophe, reason=order.reason)
            self._owed = Owed(verdict, self._since(person, order, last))
            return
        seen = record.seen_by(person, self.clock())
        record.verdicts[person] = Verdict(
            True,
            latency_ms=1e3 * (seen or 0.0),
            person=person,
            key=order.key,
            credit=0 if record.asked else self._credit.steps(record.number, self._since(person, order, record.number)),
            catastrophe=catastrophe,
            glimpsed=seen is None or seen < self.pace.glance,
            reason=order.reason,
        )

    def _require_oversight(self, order: Order) -> None:
        if self.alone:
            raise HeedError("the agent acts by itself now", order.do, "pause it")

    def _catastrophe(self, person: str, order: Order) -> None:
        self._block(person, order, catastrophe=True)

    def _allow(self, person: str, order: Order) -> None:
        record = self._record
        seen = None if record is None else record.seen_by(person, self.clock())
        if record is None or seen is None or record.decided(self.votes) is not None:
            raise HeedError("nothing is in view to be judged", order.do, "wait for the next proposal")
        if person in record.verdicts:
            raise HeedError("you have judged it already", order.do, "the others are still at it")
        if order.proposal != record.number:
            raise HeedError(f"proposal {order.proposal} is not in view", order.do, f"judge proposal {record.number}")
        if seen < self.pace.glance:
            raise HeedError(f"it has been in view for {1e3 * seen:.0f} ms", order.do, "look at it first")
        record.verdicts[person] = Verdict(False, 1e3 * seen, person=person, key=order.key)

    def _react(self, person: str, order: Order) -> None:
        self._credit.measured(person, order)

    def _stop(self, _person: str, _order: Order) -> None:
        self._pause("")
        self.halted = True

    def _go(self, _person: str, _order: Order) -> None:
        self._run(State.WATCHING)

    def _each(self, _person: str, _order: Order) -> None:
        self._run(State.DECIDING)

    def _step(self, _person: str, _order: Order) -> None:
        """One proposal passes as if nobody had blocked it, and the desk pauses again."""
        self._run(State.WATCHING)
        self._one_step = True

    def _slower(self, _person: str, _order: Order) -> None:
        self.rate = max(0, self.rate - 1)

    def _faster(self, _person: str, _order: Order) -> None:
        self.rate = min(len(self.pace.rates) - 1, self.rate + 1)

    def _hold(self, person: str, order: Order) -> None:
        self._require_oversight(order)
        if self.pages.holding not in (None, person):
            raise HeedError(f"{self.pages.holding} holds the block already", order.do, "nothing is left to do")
        self._by.holds = True

    def _loose(self, _person: str, order: Order) -> None:
        if not self._by.holds:
            raise HeedError(
                f"{self.pages.holding or 'nobody'} holds the block", order.do, "only who holds it can let go"
            )
        self._by.holds = False

    def _take(self, person: str, order: Order) -> None:
        self._require_oversight(order)
        self._run(State.TAKEN_OVER)
        self.acting = person

    def _act(self, person: str, order: Order) -> None:
        record = self._record
        if self.state is not State.TAKEN_OVER or self.acting != person:
            raise HeedError("you do not act in the agent's place", order.do, "take over first")
        seen = None if record is None or record.forced is not None else record.in_view_since
        if record is None or seen is None or order.proposal not in (None, record.number):
            raise HeedError("nothing is in view to act in", order.do, "wait for the next proposal")
        if person in record.verdicts:
            raise HeedError("you have judged it already", order.do, "the others are still at it")
        self._last_act = order.action
        given = Verdict(True, 1e3 * (self.clock() - seen), order.action, person=person, key=order.key, acted=True)
        record.verdicts[person] = replace(given, silent=order.silent)


_ORDERS: dict[str, Callable[[Desk, str, Order], None]] = {
    "block": Desk._block,
    "allow": Desk._allow,
    "catastrophe": Desk._catastrophe,
    "pause": Desk._stop,
    "go": Desk._go,
    "each": Desk._each,
    "step": Desk._step,
    "slower": Desk._slower,
    "faster": Desk._faster,
    "hold": Desk._hold,
    "loose": Desk._loose,
    "take": Desk._take,
    "act": Desk._act,
    "react": Desk._react,
}
ORDERS = tuple(_ORDERS)
"""What a person may order. ``go`` lets proposals pass by themselves, ``each`` lets every one wait for a verdict,
``step`` lets one pass; ``hold`` and ``loose`` are the two ends of a held block; ``take`` takes the agent's place until
``go``, ``each`` or ``pause``, and ``act`` acts in it; ``catastrophe`` says that what is in view is one; ``react`` sets
a measured reaction time."""
