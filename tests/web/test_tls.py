"""Pages over TLS: certificates that cannot be served are refused, those that can carry pages and their sockets."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import urllib.request

import pytest
from websockets.sync.client import connect

from heed.errors import HeedError
from heed.web.app import create_app
from heed.web.serving import Tls, at_stake, serving


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate of 127.0.0.1, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    whose = ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *whose, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


def test_pages_are_served_over_tls_and_not_in_the_clear(certificate):
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    with serving(create_app(), tls=Tls(*certificate)) as address:
        assert address.startswith("https://127.0.0.1:")
        with urllib.request.urlopen(address + "/health", context=trusting) as answer:
            assert answer.status == 200
        with pytest.raises(OSError, match="certificate verify failed"):
            urllib.request.urlopen(address + "/health")
        with pytest.raises((OSError, ValueError)):
            urllib.request.urlopen(address.replace("https", "http") + "/health", timeout=5)


def test_sockets_work_over_tls_for_pages_of_this_very_server(certificate, echo_room, monkeypatch):
    monkeypatch.setattr("echo_room.serving", lambda app, **how: serving(app, tls=Tls(*certificate), **how))
    room = echo_room()
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    line = room.address.replace("https", "wss")
    with connect(f"{line}/echo", origin=room.address, ssl=trusting) as socket:
        socket.send(json.dumps({"token": room.people.token_of("ada")}))
        assert json.loads(socket.recv(timeout=10)) == {"hello": "ada"}


def test_what_is_no_certificate_is_refused_before_anything_listens(certificate, tmp_path):
    cert, key = certificate
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    for files in ((wrong, key), (cert, wrong), (cert, tmp_path / "none.pem"), (cert, cert)):
        with pytest.raises(HeedError, match=r"TLS cannot be served.*--tls-cert.*PEM"):
            Tls(*files)


def test_a_key_with_a_passphrase_is_refused_and_asks_no_terminal(certificate, tmp_path):
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "ec", "-in", str(certificate[1]), "-aes128", "-passout", "pass:honey", "-out", str(locked)],
        check=True,
        capture_output=True,
    )
    with pytest.raises(HeedError, match="without a passphrase"):
        Tls(certificate[0], locked)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "heed.example", ""])
def test_what_is_at_stake_is_said_where_others_can_reach_it_in_the_clear(host, certificate):
    assert "in the clear" in at_stake(host, None)
    assert at_stake(host, Tls(*certificate)) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_of_this_machine_alone_nothing_is_said(host):
    assert at_stake(host, None) is None
