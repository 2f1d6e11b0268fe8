"""A desk whose clock the test turns, before the pages of several people."""

from __future__ import annotations

from heed.oversight.control.desk import Desk
from heed.oversight.control.records import Order, Pace
from heed.oversight.control.said import said_of
from heed.oversight.overseers.human import HumanOverseer

PATIENCE, RATE, LONG = 8.0, 2.0, 1000.0


class Room:
    """A desk whose clock the test turns, before ada's and bob's pages."""

    def __init__(self, votes=1, people=("ada", "bob")):
        self.now = 50.0
        pace = Pace(rates=(RATE,), rate=0, patience=PATIENCE, heartbeat=2 * LONG, idle=2 * LONG, glance=0.0)
        self.human = HumanOverseer(Desk(pace, clock=lambda: self.now, votes=votes))
        self.desk = self.human.desk
        for name in people:
            self.human.connect(f"{name}'s", name, judges=True)

    def put(self, number=1, asked=False, seen=True):
        self.desk.put(number, asked)
        if seen:
            self.see(number)

    def see(self, number=1):
        for name in self.desk.pages.people:
            self.human.rendered(f"{name}'s", number)

    def order(self, name, do, **rest):
        self.human.order(f"{name}'s", Order(do, **rest))

    def said(self, name="ada", judges=True):
        return said_of(self.human.status(), name, judges)

    def after(self, seconds):
        self.now += seconds
        return self.desk.collect()
