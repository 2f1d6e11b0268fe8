"""The API of the pages does what its OpenAPI schema says, whatever it is sent: schemathesis asks, in process."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from judgements_room import block, comparison
from schemathesis.config import SchemathesisConfig

from heed.oversight import gate
from heed.oversight.gate import app_of
from heed.oversight.judgements import Store
from heed.oversight.judgements_server import add_judgements
from heed.oversight.people import People

PEOPLE = People.named(["ada"])


def app():
    """With all that is asked by HTTP, over a store in memory."""
    store, made = Store("sqlite://"), app_of()
    store.add_all([block("ada", 0), comparison("bob"), block("eve", 1)])
    add_judgements(made, lambda: store, PEOPLE)
    return made


KNOWN = {"auth": {"openapi": {"HTTPBearer": {"bearer": PEOPLE.token_of("ada")}}}}
schema = schemathesis.openapi.from_asgi("/openapi.json", app(), config=SchemathesisConfig.from_dict(KNOWN))


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    """Without the bound of requests in a second, which has a test of its own."""
    monkeypatch.setattr(gate, "MESSAGES", 10**9)


@schema.parametrize()
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_the_schema_says(case):
    case.call_and_validate()
