"""Logins at the pages: one that was ended says so, and pages work over TLS."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from test_compare_page import press, until_pair
from waiting import says

from heed.web.judgements import add_judgements
from heed.web.serving import Tls, serving
from heed.web.tokens import Tokens

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("path", ["/", "/judgements"])
def test_whose_login_was_ended_is_told_so_and_nothing_is_tried_again(comparing, tmp_path, path):
    room = comparing()
    old = Tokens(tmp_path / "tokens.json").people(["ada"]).token_of("ada")
    room.stop()
    room.people = Tokens(tmp_path / "tokens.json", rotate=["ada"]).people(["ada"])
    room.start()
    add_judgements(room.server.app, lambda: room.store, room.people)
    page, asked = room.browser.new_page(), []
    page.on("websocket", lambda line: asked.append(line.url))
    page.goto(f"{room.address}{path}#token={old}")
    says(page, "#state", "disconnected: this login was ended: ask whoever runs heed for a new address")
    page.wait_for_timeout(1500)  # longer than a page waits before it tries again
    assert len(asked) == (path == "/")
    room.open(page)  # with the new one
    page.reload()
    until_pair(page, "cough")


def test_a_page_that_is_not_understood_is_told_so_and_not_that_its_token_is_wrong(comparing):
    room = comparing()
    page, asked = room.browser.new_page(), []
    page.on("websocket", lambda line: asked.append(line.url))
    room.open(page)
    until_pair(page, "cough")
    press(page, "t", "2", "t")
    page.evaluate("document.getElementById('comment').value = 'x'.repeat(501)")  # as a page of another version might
    press(page, "Enter")
    says(page, "#state", "disconnected: this page sent what the server does not understand: reload it")
    page.wait_for_timeout(1500)  # longer than a page waits before it tries again
    assert len(asked) == 1 and room.store.count() == 0


def test_the_page_works_over_tls(browser, comparing, tmp_path, monkeypatch):
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    monkeypatch.setattr("compare_room.serving", lambda app, port: serving(app, port=port, tls=Tls(cert, key)))
    room = comparing()
    assert room.address.startswith("https://")
    page = browser.new_context(ignore_https_errors=True).new_page()
    lines = []
    page.on("websocket", lambda line: lines.append(line.url))
    room.open(page)
    until_pair(page, "cough")
    press(page, "t", "2", "t", "Enter")
    says(page, "#notice", "comparison 1 is on disk")
    assert lines[0].startswith("wss://") and room.store.count() == 1
