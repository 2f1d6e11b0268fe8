"""A served store of judgements, and what people ask of it by HTTP."""

from __future__ import annotations

import json
import sqlite3
import urllib.error
import urllib.request
from urllib.parse import urlencode

from heed.oversight.store.store import Judgement, Store
from heed.web.app import create_app
from heed.web.judgements import add_judgements
from heed.web.people import People
from heed.web.serving import serving

HOSTILE = "</script><img src=x onerror=alert(1)>\u2028\"'&"


def block(person, step, blocks=True, run="walk-1", **said):
    shown = {"env": "Walk", "observation": [0.5, None], "action": 1, "step": step, "episode": 0}
    return Judgement("block", person, shown, {"block": blocks, **said}, run, "0", latency_ms=100.0 * step)


def comparison(person, prompt="Cough?", left=HOSTILE, right="Rest.", says="left", **options):
    shown = {"pair": "p0", "prompt": prompt, "left": left, "right": right, "swapped": False}
    verdict = {"objectives": {"help": says}, "unsafe": {"left": True, "right": False}}
    return Judgement("compare", person, shown, verdict, "pairs.jsonl", latency_ms=900.5, **options)


class JudgementsRoom:
    """A server of the page of judgements alone.

    Args:
        opened: an exit stack.
        file: of the store.
        given: what is in it.

    Attributes:
        opened: what gives the store to the server.
        retracted: the judgements of which the server reported that they were retracted.
    """

    def __init__(self, opened, file, given=()):
        self.file, self.people = file, People.named(["ada", "bob"], watchers=["eve"])
        self.store = Store(f"sqlite:///{file}")
        opened.callback(self.store.close)
        self.store.add_all(list(given))
        self.retracted = []

        async def on_retracted(judgement):
            self.retracted.append(judgement)

        self.app = create_app()
        self.opened = lambda: self.store
        add_judgements(self.app, lambda: self.opened(), self.people, on_retracted)
        self.address = opened.enter_context(serving(self.app))

    def request(self, path, by="ada", body=None, **query):
        """Status, headers and content of an answer."""
        url = f"{self.address}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {} if by is None else {"Authorization": f"Bearer {self.people.token_of(by)}"}
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            headers["Content-Type"] = "application/json"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, content, headers)) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.headers, refused.read()

    def ask(self, path="", by="ada", body=None, **query):
        """Status and what is said."""
        status, headers, content = self.request(f"/api/judgements{path}", by, body, **query)
        assert headers["Content-Type"] == "application/json"
        return status, json.loads(content)

    def rows(self, **query):
        status, told = self.ask(**query)
        assert status == 200, told
        return told["rows"]

    def tamper(self, statement):
        with sqlite3.connect(self.file) as connection:
            connection.execute("PRAGMA foreign_keys=OFF")
            connection.execute(statement)
        connection.close()


def retract(address, token, number):
    """Retract a judgement as the page of judgements does; what is answered."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = json.dumps({"why": "mistaken"}).encode()
    with urllib.request.urlopen(
        urllib.request.Request(f"{address}/api/judgements/{number}/retract", body, headers)
    ) as answer:
        return json.loads(answer.read())
