"""Tokens outlast a restart, are replaced and ended, and lie where nobody else reads them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import urllib.error
import urllib.request

import pytest
from socket_page import SocketPage

import heed.web
from heed.errors import HeedError
from heed.oversight.comparisons.pairs import Pair
from heed.oversight.comparisons.session import ComparisonSession
from heed.oversight.store.store import Store
from heed.web.authentication import ENDED as WORDS
from heed.web.compare import CompareServer
from heed.web.connection import ENDED, REFUSED
from heed.web.judgements import add_judgements
from heed.web.people import People
from heed.web.serving import serving
from heed.web.tokens import Tokens

NAMES = ["ada", "bob"]


class ComparePage(SocketPage):
    path = "/compare"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "tokens.json"


def test_a_token_outlasts_a_restart_and_a_new_name_gets_one_of_its_own(file):
    first = Tokens(file).people(["ada"])
    again = Tokens(file).people(NAMES, ["eve"])
    assert again.token_of("ada") == first.token_of("ada")
    assert len({again.token_of(name) for name in ("ada", "bob", "eve")}) == 3
    assert again.whose(again.token_of("eve")).judges is False
    assert Tokens(file).people(["eve"]).whose(again.token_of("eve")).judges is True  # what one may do is said anew


def test_the_file_is_its_owners_alone_from_the_first_moment(file, monkeypatch):
    modes = []

    def noted(content, out, **how):
        modes.append(stat.S_IMODE(os.fstat(out.fileno()).st_mode))
        out.write(json.dumps(content))

    monkeypatch.setattr("heed.web.tokens.json.dump", noted)
    Tokens(file).people(NAMES)
    assert modes == [0o600] and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_file_that_others_can_read_is_refused_with_what_to_do(file, mode):
    Tokens(file).people(NAMES)
    file.chmod(mode)
    with pytest.raises(HeedError, match=f"others can read the tokens .mode {mode:o}.*chmod 600"):
        Tokens(file).people(NAMES)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"tokens": {"ada": ""}, "revoked": [], "ended": []}',
        '{"tokens": {"ada": 1}, "revoked": [], "ended": []}',
        '{"tokens": [], "revoked": [], "ended": []}',
        '{"tokens": {}, "revoked": [1], "ended": []}',
    ],
)
def test_a_file_that_holds_no_tokens_is_refused_and_left_as_it_is(file, content):
    file.touch(0o600)
    file.write_text(content)
    with pytest.raises(HeedError, match=r"tokens\.json"):
        Tokens(file).people(NAMES)
    assert file.read_text() == content


def test_a_rotated_token_is_replaced_and_the_old_one_is_known_as_ended(file):
    old = Tokens(file).people(NAMES)
    new = Tokens(file, rotate=["ada"]).people(NAMES)
    assert new.token_of("ada") != old.token_of("ada") and new.token_of("bob") == old.token_of("bob")
    assert new.whose(old.token_of("ada")) is None and new.ended(old.token_of("ada"))
    assert not new.ended("a guess") and not new.ended(new.token_of("ada"))
    assert old.token_of("ada") not in file.read_text()
    assert Tokens(file).people(NAMES).ended(old.token_of("ada"))  # after the next restart too


def test_a_revoked_login_stays_away_until_it_is_rotated(file):
    old = Tokens(file).people(NAMES)
    for how in ({"revoke": ["ada"]}, {}):
        people = Tokens(file, **how).people(NAMES)
        assert [person.name for person in people.all] == ["bob"] and people.ended(old.token_of("ada"))
    back = Tokens(file, rotate=["ada"]).people(NAMES)
    assert [person.name for person in back.all] == NAMES and back.token_of("ada") != old.token_of("ada")
    assert back.ended(old.token_of("ada"))


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"rotate": ["eve"]}, "nobody is called 'eve'.*--rotate.*ada, bob"),
        ({"revoke": ["eve"]}, "nobody is called 'eve'.*--revoke"),
        ({"revoke": ["ada"], "rotate": ["ada"]}, "cannot get a new login and lose it"),
        ({"revoke": NAMES}, "nobody is left"),
    ],
)
def test_what_cannot_be_changed_is_refused_and_changes_nothing(file, changes, wrong):
    Tokens(file).people(NAMES)
    before = file.read_text()
    with pytest.raises(HeedError, match=wrong):
        Tokens(file, **changes).people(NAMES)
    assert file.read_text() == before


def test_what_is_read_is_written_when_it_is_asked_for(file):
    people, keep = Tokens(file).read(NAMES)
    assert not file.exists()
    keep()
    assert Tokens(file).people(NAMES).token_of("ada") == people.token_of("ada")


def test_two_names_with_one_token_are_refused_and_not_one_person(file):
    Tokens(file).people(NAMES)
    content = json.loads(file.read_text())
    content["tokens"]["bob"] = content["tokens"]["ada"]
    file.write_text(json.dumps(content))
    with pytest.raises(HeedError, match=r"'ada' and 'bob' have the same token .*tokens\.json"):
        Tokens(file).people(["ada"])


def test_a_link_to_the_file_stays_one(file, tmp_path):
    link = tmp_path / "link.json"
    (tmp_path / "far").mkdir()
    link.symlink_to(tmp_path / "far" / "tokens.json")
    first = Tokens(link).people(["ada"])
    again = Tokens(link).people(NAMES)
    assert link.is_symlink() and again.token_of("ada") == first.token_of("ada")
    assert [each.name for each in (tmp_path / "far").iterdir()] == ["tokens.json"]
    assert stat.S_IMODE(link.stat().st_mode) == 0o600


def test_who_cannot_be_served_keeps_the_address_that_they_had(file):
    before = Tokens(file).people(["ada"]).token_of("ada")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for options, wrong in (({"votes": 2}, "cannot judge each action"), ({"port": port}, "nothing can listen")):
            refused = heed.web.serve("heed/PointHazard-v0", ["ada"], tokens=Tokens(file, rotate=["ada"]), **options)
            with pytest.raises(HeedError, match=wrong), refused:
                pass
    assert Tokens(file).people(["ada"]).token_of("ada") == before


def test_a_place_where_nothing_can_be_written_is_refused(tmp_path):
    with pytest.raises(HeedError, match="cannot be written"):
        Tokens(tmp_path / "none" / "tokens.json").people(NAMES)


def test_addresses_of_served_people_stay_the_same(file):
    addresses = []
    for _ in range(2):
        with heed.web.serve("heed/PointHazard-v0", people=["ada"], tokens=file) as person:
            addresses.append(person.addresses["ada"].partition("#")[2])
    assert addresses[0] == addresses[1]
    with heed.web.serve("heed/PointHazard-v0", people=NAMES, tokens=Tokens(file, revoke=["ada"])) as person:
        assert list(person.addresses) == ["bob"]
    two = heed.web.serve("heed/PointHazard-v0", people=NAMES, votes=2, tokens=str(file))
    with pytest.raises(HeedError, match="1 cannot judge each action 2 times"), two:
        pass


def test_whose_login_was_ended_is_told_so_on_every_line_and_a_guess_is_not(file):
    old = Tokens(file).people(NAMES).token_of("ada")
    people = Tokens(file, revoke=["ada"]).people(NAMES)
    with contextlib.ExitStack() as opened:
        store = Store("sqlite://")
        opened.callback(store.close)
        server = CompareServer(ComparisonSession([Pair("p", "?", ("a", "b"))], ["help"]), store, people, "pairs")
        add_judgements(server.app, lambda: store, people)
        address = opened.enter_context(serving(server.app))
        codes = []
        for token in (old, "guess"):
            codes.append(ComparePage(opened, address, token).code())
        assert codes == [ENDED, REFUSED]
        for token, words in ((old, WORDS), ("guess", "a token is needed")):
            asked = urllib.request.Request(f"{address}/api/judgements", headers={"Authorization": f"Bearer {token}"})
            with pytest.raises(urllib.error.HTTPError, match="401") as refused:
                urllib.request.urlopen(asked)
            assert json.loads(refused.value.read()) == {"detail": words}


def test_without_a_file_every_start_has_fresh_tokens():
    assert People.named(["ada"]).token_of("ada") != People.named(["ada"]).token_of("ada")
