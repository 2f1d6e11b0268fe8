"""The desk between an agent that proposes and the people who watch it: who may act now, as one explicit machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from heed.errors import HeedError
from heed.oversight.control.records import LONGEST_REACTION, Answer, DeskRecord, Order, Pace, State, ViewTimes, agreed


@dataclass
class _Page:
    person: str
    judges: bool
    beat: float


class Desk:
    """Holds one proposed action at a time and says what becomes of it. Knows no threads, no sockets, no store.

    Nothing passes unseen: a moment passes only after a page has drawn it, while a person is connected. A page that
    falls silent is gone, and when the last one goes the desk stops; whoever comes back finds it paused.

    Args:
        pace: how long things may take.
        clock: seconds.
        votes: how many different people judge each moment. Who holds the block or acts decides alone.

    Attributes:
        state: what it does now.
        why: in words, why it stopped by itself; "" otherwise.
        rate: number of the pace's rate that moments pass at.
        holding: who holds the block down, so that every moment is blocked; None if nobody.
        acting: who acts in the agent's place; None if nobody.
        reactions: measured, by person, in seconds.
        alone: the agent acts by itself, and lays down only what it is unsure of.

    >>> now = [0.0]
    >>> desk = Desk(Pace(rates=(2.0,), rate=0), clock=lambda: now[0])
    >>> desk.connect("page 1", "ada"); desk.order("page 1", Order("go"))
    >>> _ = desk.put(1); desk.drawn("page 1", 1); desk.answer() is None
    True
    >>> now[0] = 0.5; desk.answer().block
    False
    >>> _ = desk.put(2); desk.drawn("page 1", 2); desk.order("page 1", Order("block", moment=2, key="k"))
    >>> desk.answer().person
    'ada'
    """

    def __init__(self, pace: Pace | None = None, clock: Callable[[], float] = time.monotonic, votes: int = 1) -> None:
        self.pace = Pace() if pace is None else pace
        self.clock, self.votes = clock, votes
        self.state, self.why = State.DISCONNECTED, ""
        self.rate = self.pace.rate
        self.holding: str | None = None
        self._pages: dict[str, _Page] = {}
        self._moment: DeskRecord | None = None
        self._passed = ViewTimes()
        self._owed: Answer | None = None  # a block that came between two moments
        self._last: tuple[int, Answer] | None = None  # the moment that left the desk last
        self._last_act: Any = None
        self._one_step = False
        self.acting: str | None = None
        self.reactions: dict[str, float] = {}
        self.alone, self._halted = False, False
        self._last_order = clock()

    @property
    def people(self) -> list[str]:
        """Who is connected and may judge, each once."""
        return sorted({page.person for page in self._pages.values() if page.judges})

    @property
    def watched(self) -> bool:
        """Whether any page is connected."""
        return bool(self._pages)

    @property
    def moment(self) -> int | None:
        """Number of the moment that lies on the desk."""
        return None if self._moment is None else self._moment.number

    @property
    def said(self) -> list[str]:
        """Who has said something of that moment."""
        return [] if self._moment is None else list(self._moment.said)

    def connect(self, page: str, person: str, judges: bool = True) -> None:
        """A page is there; the desk stays paused until somebody says go, unless the agent acts by itself."""
        self._pages[page] = _Page(person, judges, self.clock())
        if judges and self.state is State.DISCONNECTED:
            if self.alone and not self._halted:
                self._run(State.WATCHING)
            else:
                self._pause("")

    def go_alone(self) -> None:
        """From now on the agent acts by itself; it waits first if it was paused, or somebody acted in its place."""
        self.alone, self.holding = True, None
        if self.state is State.TAKEN_OVER:
            self._pause("from now on the agent acts by itself")
        self._halted = self.state is State.PAUSED

    def gone(self, page: str) -> None:
        """A page is gone; with the last person who may judge, the desk stops."""
        left = self._pages.pop(page, None)
        if self._moment is not None:
            self._moment.drawn.pop(page, None)
        if left is not None and left.person not in self.people:
            if self.holding == left.person:
                self.holding = None
            if self.acting == left.person:
                self._pause(f"{left.person}, who acted, is gone")
        if not self.people and self.state is not State.DISCONNECTED:
            self._run(State.DISCONNECTED)
            self.why, self.holding = "nobody is watching", None

    def beat(self, page: str) -> bool:
        """A page says that it is alive; whether it is still taken for connected."""
        if page in self._pages:
            self._pages[page].beat = self.clock()
        return page in self._pages

    def put(self, number: int, asked: bool = False, begins: bool = False) -> str:
        """Lay a moment on the desk.

        Args:
            number: larger than any before.
            asked: the agent is unsure and asks; it waits for a verdict, and in vain no longer than the patience.
            begins: an episode begins with it. A block that came before it was meant for the last one: it blocks, and
                says nothing of this one.

        Returns:
            The key of such an order, which is about nothing; "" if there was none.
        """
        owed, self._owed = self._owed, None
        self._moment = DeskRecord(number, asked, self.clock())
        if owed is None:
            return ""
        if begins:
            self._moment.forced = Answer(True)
            return owed.key
        self._moment.said[owed.person] = owed
        return ""

    def drawn(self, page: str, number: int) -> None:
        """A page of somebody who may judge has drawn a moment."""
        self.beat(page)
        here, by = self._moment, self._pages.get(page)
        if here is not None and by is not None and by.judges and here.number == number:
            if here.seen is None:
                self._passed.times.append((number, self.clock()))
            here.drawn.setdefault(page, self.clock())

    def order(self, page: str, order: Order) -> None:
        """Do what a person says.

        Raises:
            HeedError: an unknown order, one of a page that is not connected or may not judge, or one that makes no
                sense now.
        """
        by = self._pages.get(page)
        if by is None or not by.judges:
            raise HeedError("this page may only watch", order.do, "connect with an overseer's token")
        if order.do not in _ORDERS:
            raise HeedError(f"'{order.do}' is no order", "page", f"send one of {', '.join(_ORDERS)}")
        self.beat(page)
        if order.do != "act" or order.action != self._last_act:  # a page acts on by itself while keys are held
            self._last_order = self.clock()
        _ORDERS[order.do](self, by.person, order)

    def answer(self) -> Answer | None:
        """What becomes of the moment on the desk; None as long as it waits. Once it is told, the desk is empty."""
        self._look_around()
        here, now = self._moment, self.clock()
        if here is None:
            return None
        if self.state is State.PAUSED or (self.state is State.DISCONNECTED and not self.alone):
            return None
        found = here.decided(self.votes) or self._by_time(here, now)
        if found is not None:
            self._moment, self._last = None, (here.number, found)
            if self._one_step:
                self._pause("")
        return found

    def rests(self, stepped: bool) -> bool:
        """Whether an agent that acts by itself, and just took a step or did not, is to wait, as somebody said pause."""
        self._look_around()
        if self._one_step and stepped:
            self._pause("")
            self._halted = True
        return self._halted

    def due(self) -> float:
        """Seconds until time itself may change something; nothing else can before then."""
        now, times = self.clock(), [page.beat + self.pace.heartbeat for page in self._pages.values()]
        if (here := self._moment) is not None:
            times += [since + 1 / self.pace.rates[self.rate] for since in here.drawn.values()]
            times.append((here.since if here.seen is None else here.seen) + self.pace.patience)
        ahead = [moment - now for moment in times if moment > now]
        return min(ahead, default=math.inf)

    @property
    def _passing(self) -> bool:
        """Whether moments pass by themselves, so that a key may come too late for the one it was meant for."""
        return self.state is State.WATCHING and not self._one_step

    def _look_around(self) -> None:
        now = self.clock()
        for page in [name for name, page in self._pages.items() if now - page.beat > self.pace.heartbeat]:
            self.gone(page)
        moves = (self._passing and not self.alone) or self.state is State.TAKEN_OVER
        if moves and now - self._last_order > self.pace.idle:
            self._pause(f"nobody pressed a key for {self.pace.idle:.0f} s")

    def _by_time(self, here: DeskRecord, now: float) -> Answer | None:
        if self.state is State.TAKEN_OVER or (here.seen is None and not (self.alone and here.asked)):
            return None
        waited = now - (here.since if here.seen is None else here.seen)  # who asks in vain waits no longer, seen or not
        if self.holding is not None:
            held = Answer(True, self.holding, since=here.number, seconds=waited)
            return replace(held, others=tuple(said for name, said in here.said.items() if name != self.holding))
        if here.asked:
            if waited < self.pace.patience:
                return None
            blocks = [said for said in here.said.values() if said.block]  # else nobody's, from which nothing is learnt
            first = blocks[0] if blocks else Answer(True, seconds=waited)
            return replace(first, others=tuple(said for said in here.said.values() if said is not first))
        if self.state is State.DECIDING:
            return None
        silent: dict[str, Answer] = {}
        for page, since in sorted(here.drawn.items(), key=lambda drawn: drawn[1]):
            person = self._pages[page].person
            if person not in here.said and now - since >= 1 / self.pace.rates[self.rate]:
                silent.setdefault(person, Answer(False, person, seconds=now - since, silent=True))
        spare = max(0, self.votes - len(here.said))
        return agreed(here.said | dict(list(silent.items())[:spare]), self.votes)

    def _pause(self, why: str) -> None:
        self.state, self.why, self._one_step, self.acting = State.PAUSED, why, False, None

    def _run(self, state: State) -> None:
        self._halted &= state is State.DISCONNECTED  # whoever leaves has not said go
        self.state, self.why, self._one_step, self.acting = state, "", False, None

    def _since(self, person: str, order: Order, number: int) -> int:
        """The first moment that a block pressed now is about, where the next to be judged is this one."""
        if not self._passing:
            return number
        now, reaction = self.clock(), self.reactions.get(person, self.pace.reaction)
        meant = number if order.moment is None else min(order.moment, number)
        seen = self._passed.in_view(now - reaction)
        earliest = self._passed.in_view(now - LONGEST_REACTION)
        since = meant if seen is None else min(meant, seen)
        return since if earliest is None else max(since, earliest)

    def _block(self, person: str, order: Order, struck: bool = False) -> None:
        """Block what lies on the desk, drawn or not; between two moments, the next one: no block comes too late."""
        here, now = self._moment, self.clock()
        own = None if here is None else here.said.get(person)
        before = self._owed if here is None else here.decided(self.votes)
        decided = here is not None and before is not None
        if here is None and before is None and self._last is not None and order.moment == self._last[0]:
            before = self._last[1]
        if here is None:
            self._not_alone(order)
        blocked = next((said for said in (before, own) if said is not None and said.block), None)
        if blocked is not None:
            raise HeedError(
                f"it is blocked already, by {blocked.person or 'the time'}", order.do, "nothing is left to do"
            )
        if here is None or decided:
            last = 0 if self._last is None else self._last[0]
            self._owed = Answer(True, person, order.key, since=self._since(person, order, last), struck=struck)
            return
        seconds = 0.0 if here.seen is None else now - here.seen
        since = here.number if here.asked else self._since(person, order, here.number)
        here.said[person] = Answer(True, person, order.key, since=since, seconds=seconds, struck=struck)

    def _not_alone(self, order: Order) -> None:
        if self.alone:
            raise HeedError("the agent acts by itself now", order.do, "pause it")

    def _catastrophe(self, person: str, order: Order) -> None:
        self._block(person, order, struck=True)

    def _allow(self, person: str, order: Order) -> None:
        here = self._moment
        if here is None or here.seen is None or here.decided(self.votes) is not None:
            raise HeedError("nothing is in view to be judged", order.do, "wait for the next moment")
        if person in here.said:
            raise HeedError("you have judged it already", order.do, "the others are still at it")
        if order.moment != here.number:
            raise HeedError(f"moment {order.moment} is not in view", order.do, f"judge moment {here.number}")
        here.said[person] = Answer(False, person, order.key, seconds=self.clock() - here.seen)

    def _react(self, person: str, order: Order) -> None:
        seconds = order.action[0] if isinstance(order.action, list) and order.action else None
        if not isinstance(seconds, int | float) or not 0 < seconds <= LONGEST_REACTION:
            raise HeedError(f"a reaction time of {seconds} s", order.do, f"send one up to {LONGEST_REACTION} s")
        self.reactions[person] = float(seconds)

    def _stop(self, _person: str, _order: Order) -> None:
        self._pause("")
        self._halted = True

    def _go(self, _person: str, _order: Order) -> None:
        self._run(State.WATCHING)

    def _each(self, _person: str, _order: Order) -> None:
        self._run(State.DECIDING)

    def _step(self, _person: str, _order: Order) -> None:
        """One moment passes as if nobody had blocked it, and the desk pauses again."""
        self._run(State.WATCHING)
        self._one_step = True

    def _slower(self, _person: str, _order: Order) -> None:
        self.rate = max(0, self.rate - 1)

    def _faster(self, _person: str, _order: Order) -> None:
        self.rate = min(len(self.pace.rates) - 1, self.rate + 1)

    def _hold(self, person: str, order: Order) -> None:
        self._not_alone(order)
        if self.holding not in (None, person):
            raise HeedError(f"{self.holding} holds the block already", order.do, "nothing is left to do")
        self.holding = person

    def _loose(self, person: str, order: Order) -> None:
        if self.holding != person:
            raise HeedError(f"{self.holding or 'nobody'} holds the block", order.do, "only who holds it can let go")
        self.holding = None

    def _take(self, person: str, order: Order) -> None:
        self._not_alone(order)
        self._run(State.TAKEN_OVER)
        self.acting = person

    def _act(self, person: str, order: Order) -> None:
        here = self._moment
        if self.state is not State.TAKEN_OVER or self.acting != person:
            raise HeedError("you do not act in the agent's place", order.do, "take over first")
        if here is None or here.forced is not None or here.seen is None or order.moment not in (None, here.number):
            raise HeedError("nothing is in view to act in", order.do, "wait for the next moment")
        if person in here.said:
            raise HeedError("you have judged it already", order.do, "the others are still at it")
        self._last_act = order.action
        seconds = self.clock() - here.seen
        here.said[person] = Answer(True, person, order.key, order.action, here.number, seconds, acted=True)


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
"""What a person may order. ``go`` lets moments pass by themselves, ``each`` lets every one wait for a verdict, ``step``
lets one pass; ``hold`` and ``loose`` are the two ends of a held block; ``take`` takes the agent's place until ``go``,
``each`` or ``pause``, and ``act`` acts in it; ``catastrophe`` says that what is in view is one; ``react`` tells a
measured reaction time."""
