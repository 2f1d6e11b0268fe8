"""A watched run over three days and ten kills: nothing that was said is lost, doubled or asked for again."""

from __future__ import annotations

import json
import random
import signal

import pytest
from socket_person import SocketPerson
from test_oversee import PATIENCE, addresses, oversee

from heed.oversight.store.store import Store

LENGTH = ("--steps", "240", "--oversight-steps", "200", "--learning-starts", "40", "--checkpoint-every", "10")
KILLS = 10
DAYS = 3


def moment(shown):
    return shown["episode"], shown["step"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_three_days_and_ten_kills_lose_nothing_double_nothing_and_ask_nothing_twice(tmp_path):
    draws, run = random.Random(5), str(tmp_path / "run")
    ends = [signal.SIGKILL] * KILLS + [signal.SIGINT] * (DAYS - 1)
    draws.shuffle(ends)
    people, folder = [], ["--out", run]
    for number, end in enumerate([*ends, None]):
        process = oversee(*(LENGTH if number == 0 else ()), *folder)
        _, address, token = addresses(process, 1)["overseer"]
        left = [draws.randint(8, 24)]

        def blocks(shown, left=left, process=process, end=end):
            left[0] -= 1
            if left[0] == 0 and end is not None:
                process.send_signal(end)
            return moment(shown)[1] % 4 == 0

        person = SocketPerson(f"{address}/#token={token}", blocks, opened=f"part{number}")
        rest = process.communicate(timeout=PATIENCE)[0]
        person.join(PATIENCE)
        wanted = {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130, None: 0}[end]
        assert process.returncode == wanted, rest
        people.append(person)
        folder = ["--resume", run]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["env_steps"] == 240
    assert len(list((tmp_path / "run").glob("report*.html"))) == 1
    store = Store(f"sqlite:///{tmp_path / 'run' / 'judgements.db'}")
    kept = {judgement.key: judgement for judgement in store.effective()}
    assert store.verify() == len(kept)
    said = {key: row for person in people for key, row in person.written.items()}
    assert {key: kept[key].id for key in said} == said  # nothing that was acknowledged is lost
    moments = [moment(judgement.shown) for judgement in kept.values()]
    assert len(moments) == len(set(moments))  # nothing is judged twice
    for number, person in enumerate(people):
        before = {moment(kept[key].shown) for earlier in people[:number] for key in earlier.written}
        assert not before & {moment(shown) for shown in person.proposals}  # nor shown again
    assert all(judgement.verdict["block"] == (moment(judgement.shown)[1] % 4 == 0) for judgement in kept.values())
    labels = [judgement for judgement in kept.values() if not judgement.verdict.get("glimpsed")]
    assert all(judgement.latency_ms >= 100 for judgement in labels) and len(labels) > 0.9 * len(kept)
