"""A PostgreSQL server for tests: Debian's binaries over a folder of its own, or one that HEED_TEST_POSTGRES names."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
from sqlalchemy import URL, make_url

PASSWORD = "of the tests"
HERE = "HEED_TEST_POSTGRES"


class PostgresServer:
    """Gives each test an empty database. Its URLs name a file with the password, as people keep it.

    Attributes:
        ours: whether it can be stopped and started.
    """

    def __init__(self, url: URL, password: str, ours: bool) -> None:
        self.folder, self.ours = Path(tempfile.mkdtemp(prefix="heed-postgres-")), ours
        passwords = self.folder / "passwords"
        passwords.write_text(f"*:*:*:*:{password}\n")
        passwords.chmod(0o600)
        self.url = url.update_query_dict({"passfile": str(passwords)})
        self._names = (f"heed_test_{os.getpid()}_{n}" for n in itertools.count())

    @classmethod
    def started(cls) -> PostgresServer:
        """A new server that listens at a socket of its folder, and nowhere else; it waits for its disk."""
        server = cls(make_url("postgresql://heed@/postgres"), PASSWORD, ours=True)
        server.url = server.url.update_query_dict({"host": str(server.folder)})
        try:
            given = server.folder / "password"
            given.write_text(PASSWORD)
            if os.geteuid() == 0:
                for place in (server.folder, given):
                    shutil.chown(place, "postgres", "postgres")
            asked = ["--username=heed", "--auth=scram-sha-256", f"--pwfile={given}", "--encoding=UTF8", "--locale=C"]
            server._run("initdb", *asked)
            server.start()
        except BaseException:
            shutil.rmtree(server.folder)
            raise
        return server

    @classmethod
    def named(cls, place: str) -> PostgresServer:
        """One that runs already, whose user may make databases and users."""
        url = make_url(place)
        return cls(url.set(password=None), str(url.password or ""), ours=False)

    def start(self) -> None:
        """Up again, with all that it had committed."""
        settings = f"-c listen_addresses= -c unix_socket_directories={self.folder}"
        self._run("pg_ctl", "start", "--wait", f"--log={self.folder / 'log'}", f"--options={settings}")

    def stop(self, how: str = "immediate") -> None:
        """Down, as a crash is; "fast" lets it end well."""
        self._run("pg_ctl", "stop", "--wait", f"--mode={how}")

    def remove(self) -> None:
        """Stop it, if it is ours, and leave nothing."""
        if self.ours:
            self.stop("fast")
        shutil.rmtree(self.folder)

    def database(self, *options: str) -> str:
        """The URL of a new database."""
        name = next(self._names)
        self.does(f"CREATE DATABASE {name} {' '.join(options)}")
        return self.url.set(database=name).render_as_string()

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        self.does(f"DROP DATABASE IF EXISTS {make_url(url).database} WITH (FORCE)")

    def does(self, statement: str, url: str | None = None) -> list[tuple]:
        """Execute a statement as its owner."""
        with psycopg.connect((url or self.url.render_as_string()), autocommit=True) as connection:
            done = connection.execute(statement)
            return done.fetchall() if done.description else []

    def settled(self, setting: str, value: str) -> None:
        """Wait until a setting that was reloaded is in force for who connects."""
        deadline = time.monotonic() + 10
        while self.does(f"SHOW {setting}") != [(value,)]:
            assert time.monotonic() < deadline, f"{setting} is not {value}"

    def _run(self, program: str, *arguments: str) -> None:
        who = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        command = [binary(program), f"--pgdata={self.folder / 'data'}", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **who
        )
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}"


def binary(program: str) -> str:
    """Where a program of PostgreSQL is: on the path, or where Debian keeps its newest."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda place: float(place.parts[4]))
    place = shutil.which(program) or (str(found[-1]) if found else None)
    assert place, (
        f"{program} is not here: install Debian's postgresql package, or name a server by {HERE}=postgresql://..."
    )
    return place
