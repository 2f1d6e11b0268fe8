import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from heed.align.objectives.base import ObjectiveSet
from heed.align.objectives.reward_service import RewardService
from heed.errors import HeedError

BATCH = (["fever", "cough"], ["tea", "honey and rest"], {"age": [30, 40]})


class Judge(ThreadingHTTPServer):
    """Answers each request by the next of its answers (the last one for ever); None never answers."""

    def __init__(self, answers):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.bodies, self.closing = answers, [], threading.Event()

    @property
    def url(self):
        return f"http://ann:secret@127.0.0.1:{self.server_port}/score?key=hidden"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(json.loads(body))
        answers = self.server.answers
        answer = answers[min(len(self.server.bodies), len(answers)) - 1]
        if answer is None:
            self.server.closing.wait()
            self.close_connection = True
            return
        status, text = answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments):
        pass


@pytest.fixture
def judge():
    servers = []

    def start(*answers):
        server = Judge(answers)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        servers.append((server, thread))
        return server

    yield start
    for server, thread in servers:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def rewards(*values):
    return 200, json.dumps({"rewards": values})


def service(server, **options):
    return RewardService(server.url, name="kind", backoff=0.0, **{"retries": 2, "timeout": 5.0, **options})


def test_a_batch_is_one_post_of_prompts_completions_and_columns(judge):
    server = judge(rewards(1, None))
    scores = ObjectiveSet([service(server, sign=-1, scale=2.0)]).score(*BATCH)
    assert scores[0].item() == -2.0
    assert scores[1].isnan().item()
    assert server.bodies == [{"prompts": BATCH[0], "completions": BATCH[1], "columns": BATCH[2]}]


def test_a_service_that_fails_twice_is_asked_again(judge):
    server = judge((503, "busy"), (429, "slower"), rewards(0.5, 1.5))
    assert torch.equal(service(server).score(*BATCH), torch.tensor([[0.5], [1.5]]))
    assert server.bodies[0] == server.bodies[1] == server.bodies[2]


def test_retries_are_bounded(judge):
    server = judge((503, "busy"))
    with pytest.raises(HeedError, match="reward service 'kind' answered 503 Service Unavailable"):
        service(server).score(*BATCH)
    assert len(server.bodies) == 3


def test_a_mistake_of_the_request_is_not_repeated(judge):
    server = judge((422, "what?"))
    with pytest.raises(HeedError, match="answered 422"):
        service(server).score(*BATCH)
    assert len(server.bodies) == 1


def test_a_service_that_hangs_is_given_up(judge):
    server = judge(None)
    with pytest.raises(HeedError, match=r"'kind' timed out \(2 attempts with a time-out of 0.1 s\)"):
        service(server, timeout=0.1, retries=1).score(*BATCH)


def test_a_service_that_hangs_once_is_asked_again(judge):
    server = judge(None, rewards(1, 2))
    assert service(server, timeout=0.2).score(*BATCH).T.tolist() == [[1.0, 2.0]]


def test_a_service_that_is_not_there_is_unreachable(judge):
    server = judge(rewards(1, 2))
    server.server_close()
    with pytest.raises(HeedError, match="'kind' is unreachable"):
        service(server, retries=1).score(*BATCH)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (rewards(1.0), "returned 1 values for 2 completions"),
        (rewards(1.0, float("nan")), "returned nan .completion 1 'honey and rest'"),
        (rewards(1.0, "good"), "returned 'good', which is not a number"),
        ((200, '{"scores": [1, 2]}'), "answered without 'rewards'"),
        ((200, "<html>"), "answered no JSON"),
    ],
)
def test_an_answer_of_another_form_is_refused(judge, answer, message):
    with pytest.raises(HeedError, match=message):
        service(judge(answer)).score(*BATCH)


@pytest.mark.parametrize("answer", [(500, "no"), (200, "<html>"), rewards(1.0), None])
def test_no_error_shows_credentials(judge, answer):
    server = judge(answer)
    with pytest.raises(HeedError) as caught:
        service(server, timeout=0.1, retries=0).score(*BATCH)
    assert f"127.0.0.1:{server.server_port}/score" in str(caught.value)
    assert caught.value.__cause__ is None
    assert not any(secret in str(caught.value) for secret in ("ann", "secret", "key", "hidden"))


def test_a_column_that_json_cannot_hold_is_named(judge):
    with pytest.raises(HeedError, match=r"a column cannot be sent as JSON: .*set"):
        service(judge(rewards(1, 2))).score(["a"], ["b"], {"tags": [{1}]})


def test_other_schemes_are_refused():
    with pytest.raises(HeedError, match="needs an http or https URL"):
        RewardService("ftp://judge.example/score")
