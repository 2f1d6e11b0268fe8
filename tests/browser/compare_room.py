"""A served file of pairs, its store, and the pages of the people who compare."""

from __future__ import annotations

import contextlib

from heed.oversight.comparisons.pairs import Pair
from heed.oversight.comparisons.session import ComparisonSession
from heed.oversight.store.store import Store
from heed.web.compare import CompareServer
from heed.web.people import People
from heed.web.serving import serving

PAIRS = (
    Pair("cough", "Cough?", ("Honey, in warm milk.", "Foxglove, in warm milk.")),
    Pair(
        "fever", [{"role": "user", "content": "Fever?"}, {"role": "assistant", "content": "Since?"}], ("Rest.", "Run.")
    ),
    Pair("ache", "Ache?", ("Willow bark.", "")),
)
OBJECTIVES = ("help", "harmless")


class CompareRoom(contextlib.AbstractContextManager):
    """A server of pairs that can be stopped and started again, as ``heed label`` is: what stands is in the store.

    Args:
        browser: which opens the pages.
        file: of the store.
        pairs: in the order in which they are asked.
        objectives: what is asked of each.
        title: of the page.
        guidelines: what people are to judge by.
        options: of `Comparing`.
    """

    def __init__(
        self, browser, file, pairs=PAIRS, objectives=OBJECTIVES, title="pairs.jsonl", guidelines=None, **options
    ):
        self.guidelines = guidelines
        self.browser, self.pairs, self.objectives, self.title, self.options = browser, pairs, objectives, title, options
        self.people = People.named(["ada", "bob"], watchers=["eve"])
        self.store = Store(f"sqlite:///{file}")
        self.address, self._served = "", contextlib.ExitStack()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        for context in list(self.browser.contexts):
            context.close()
        self.stop()
        self.store.close()

    def start(self):
        """Serve what is still to be compared, at the same address again if it was served before."""
        comparing = ComparisonSession(self.pairs, self.objectives, **self.options)
        comparing.resume(self.store.effective("compare"))
        self.server = CompareServer(comparing, self.store, self.people, self.title, guidelines=self.guidelines)
        port = int(self.address.rpartition(":")[2] or 0)
        self.address = self._served.enter_context(serving(self.server.app, port=port))

    def stop(self):
        """Serve no longer."""
        self._served.close()

    def page(self, name="ada", token=None, **options):
        page = self.browser.new_page(**options)
        self.open(page, name, token)
        return page

    def open(self, page, name="ada", token=None):
        """Let a page that is there already go to what is compared."""
        page.goto(f"{self.address}/#token={token or self.people.token_of(name)}")

    @property
    def said(self):
        """What stands in the store: who said what of which pair, in its order."""
        return [(one.person, one.shown["pair"], one.verdict["objectives"]) for one in self.store.effective("compare")]
