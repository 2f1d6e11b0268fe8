"""What tests of several rooms share: a prepared world that is made in seconds, and databases.

What a fixture stands on is imported by the fixture: a machine where some of it is missing runs the other tests.
"""

import os

import pytest

collect_ignore_glob = ["*conftest.py", "postgres_server.py"]
"""They hold no doctests; conftests share one name, and the server stands on PostgreSQL's client."""

SMALL = {"hidden": 32, "layers": 1, "demonstrations": 1600, "comparisons": 128, "judge_epochs": 1}


@pytest.fixture(scope="session")
def heed_cache(tmp_path_factory):
    """A cache that holds a small world where the default one is looked for, by this process and by those it starts."""
    from heed.align.run.apothecary import ApothecarySetup, prepare, prepared_folders

    folder = tmp_path_factory.mktemp("cache")
    for objectives in (("help", "harmless"), ("help",)):
        small, looked_for = ApothecarySetup(objectives, **SMALL), ApothecarySetup(objectives)
        prepare(small, judges=len(objectives) > 1, folder=folder)
        for made, name in zip(prepared_folders(small, folder), prepared_folders(looked_for, folder), strict=True):
            if made.exists():
                made.rename(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEED_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def postgres_server():
    """A running PostgreSQL."""
    from postgres_server import HERE, PostgresServer

    server = PostgresServer.named(os.environ[HERE]) if HERE in os.environ else PostgresServer.started()
    yield server
    server.remove()


@pytest.fixture
def postgres_url(postgres_server):
    """An empty database of PostgreSQL."""
    url = postgres_server.database()
    yield url
    postgres_server.drop(url)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store_url(request, tmp_path):
    """Where a store can be made: what holds for one database holds for the other."""
    return (
        f"sqlite:///{tmp_path / 'judgements.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
