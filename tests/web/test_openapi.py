"""The API of the pages does what its OpenAPI schema says, whatever it is sent: schemathesis asks, in process."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import schemathesis
from hypothesis import HealthCheck, settings
from judgements_room import block, comparison
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig

from heed.errors import HeedError
from heed.oversight.store.store import Store
from heed.web.app import create_app
from heed.web.judgements import add_judgements
from heed.web.limits import Limits
from heed.web.people import People
from heed.web.run import add_run

PEOPLE = People.named(["ada"])
RUN = tempfile.TemporaryDirectory()
UNHURRIED = Limits(messages=10**9)
"""Without the bound of requests in a second, which has a test of its own."""


def page_of(folder):
    """In place of a run's report."""
    return f"<!doctype html><title>{folder.name}</title>"


def no_page_of(folder):
    """In place of the report of a run that is half written."""
    raise HeedError("there is nothing to report", str(folder), "wait")


def asked(report):
    """The schema of all that is asked by HTTP, over a store in memory and the folder of a run."""
    store, made, folder = Store("sqlite://"), create_app(limits=UNHURRIED), Path(RUN.name)
    store.add_all([block("ada", 0), comparison("bob"), block("eve", 1)])
    (folder / "config.yaml").write_text("steps: 5\nworld: {size: .inf}\n")
    (folder / "summary.json").write_text('{"completed": false, "steps": 1e999}')
    (folder / "metrics.jsonl").write_text("".join(json.dumps({"step": n, "loss": None}) + "\n" for n in range(3)))
    add_judgements(made, lambda: store, PEOPLE)
    add_run(made, folder, PEOPLE, report)
    return schemathesis.openapi.from_asgi("/openapi.json", made, config=SchemathesisConfig.from_dict(KNOWN))


KNOWN = {
    "auth": {"openapi": {"HTTPBearer": {"bearer": PEOPLE.token_of("ada")}}},
    # What is wrong with a request is refused for its first fault, which may be its length (411, 413).
    "checks": {"negative_data_rejection": {"expected-statuses": ["400", "401", "404", "411", "413", "422", "429"]}},
}
schema = asked(page_of)
unreported = asked(no_page_of).include(path="/api/run/report")


@schema.parametrize()
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_the_schema_says(case):
    case.call_and_validate()


@unreported.parametrize()
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_so_is_that_there_is_no_report(case):
    case.call_and_validate(excluded_checks=[not_a_server_error])  # 503 is what the schema says
