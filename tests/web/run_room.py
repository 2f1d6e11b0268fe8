"""A served run folder, and what is asked of it by HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request

from heed.web.app import create_app
from heed.web.people import People
from heed.web.run import add_run
from heed.web.serving import serving


class RunRoom:
    """A served folder, and who asks."""

    def __init__(self, opened, folder, report=lambda folder: f"<p>{folder.name}</p>"):
        self.folder, self.people = folder, People.named(["ada"], watchers=["eve"])
        app = create_app()
        add_run(app, folder, self.people, report)
        self.address = opened.enter_context(serving(app))

    def answer(self, path, token="eve", data=None, **parameters):
        headers = {} if token is None else {"Authorization": f"Bearer {self.people.token_of(token)}"}
        address = f"{self.address}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(urllib.request.Request(address, data, headers)) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    def ask(self, path, **parameters):
        status, _, body = self.answer(path, **parameters)
        assert status == 200, body
        return json.loads(body)

    def metrics(self, since="", name=""):
        return self.ask("/api/run/metrics", since=since, name=name)

    def status(self, name=""):
        return self.ask("/api/run", name=name)


def begin(folder, config="steps: 100\n", **summary):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps({"kind": "guard", "completed": False} | summary))
    (folder / "config.yaml").write_text(config)
    return folder


def log(folder, *lines, end="\n"):
    with (folder / "metrics.jsonl").open("a") as file:
        file.write("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + end)
