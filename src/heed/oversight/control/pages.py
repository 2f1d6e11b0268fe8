"""The pages that a desk is connected to: whose they are, whether they live, who holds the block, who looks back."""

from __future__ import annotations

from heed.oversight.control.records import Judging


class Pages(dict[str, Judging]):
    """Pages by name.

    >>> pages = Pages()
    >>> pages["page 1"], pages["page 2"] = Judging("ada", True, 0.0), Judging("eve", False, 9.0)
    >>> pages.people, pages.silent(now=10.0, after=2.0), pages.beat("page 1", 10.0), pages.silent(10.0, 2.0)
    (['ada'], ['page 1'], True, [])
    """

    @property
    def people(self) -> list[str]:
        """Who is there and may judge, each once."""
        return sorted({page.person for page in self.values() if page.judges})

    @property
    def holding(self) -> str | None:
        """Who holds the block down, so that every proposal is blocked; None if nobody."""
        return next((page.person for page in self.values() if page.holds), None)

    @property
    def looking_back(self) -> list[str]:
        """Who may judge and looks at the past on every page of theirs, so that nothing is in their view."""
        present = {page.person for page in self.values() if not page.looks_back}
        return [person for person in self.people if person not in present]

    def look(self, name: str, back: bool) -> bool:
        """A page shows the past, or the present again; whether that is new. Who looks back holds nothing."""
        page = self.get(name)
        if page is None or page.looks_back == back:
            return False
        page.looks_back, page.since, page.holds = back, None, page.holds and not back
        return True

    def beat(self, name: str, now: float) -> bool:
        """A page says that it is alive; whether it still counts as connected."""
        if name in self:
            self[name].heartbeat = now
        return name in self

    def silent(self, now: float, after: float) -> list[str]:
        """The pages that were not heard of for so many seconds."""
        return [name for name, page in self.items() if now - page.heartbeat > after]

    def let_go(self) -> None:
        """Nobody holds the block any more."""
        for page in self.values():
            page.holds = False
