"""A server in a thread of its own, beside the run that it lets people see."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from heed.errors import HeedError
from heed.web.limits import Limits

START_S = 10.0


@dataclass(frozen=True)
class Tls:
    """What a server shows itself with, so that nobody on the way reads tokens and pictures.

    Args:
        cert: a certificate, with those that vouch for it behind it, as PEM.
        key: its private key, without a passphrase, as PEM.

    Raises:
        HeedError: files that cannot be read, or that do not belong together.
    """

    cert: Path
    key: Path

    def __post_init__(self) -> None:
        try:
            # Without a passphrase at hand openssl would ask the terminal for one.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.cert, self.key, password="")
        except (OSError, ValueError) as error:  # ssl's own errors are OSErrors
            fix = "give a certificate and its private key as PEM, the key without a passphrase"
            raise HeedError(
                f"TLS cannot be served: {error}", f"--tls-cert {self.cert}, --tls-key {self.key}", fix
            ) from error


def tls_from(cert: str | None, key: str | None) -> Tls | None:
    """What the options of a command ask for; None if they ask for none.

    Raises:
        HeedError: one of the two, or files that `Tls` refuses.

    >>> tls_from("cert.pem", None)
    Traceback (most recent call last):
    heed.errors.HeedError: a certificate and its key are needed (--tls-cert, --tls-key): give both of them, or none
    """
    if cert is not None and key is not None:
        return Tls(Path(cert), Path(key))
    if cert is not None or key is not None:
        fix = "give both of them, or none"
        raise HeedError("a certificate and its key are needed", "--tls-cert, --tls-key", fix)
    return None


def at_stake(
    host: str, tls: Tls | None = None, fix: str = "give --tls-cert and --tls-key, or put TLS in front"
) -> str | None:
    """What is at stake where others can reach a server, in a line; None where they cannot, or cannot read along.

    Args:
        host: where it listens.
        tls: what it shows itself with.
        fix: what can be done.

    >>> at_stake("127.0.0.1", None), at_stake("localhost", None), at_stake("::1", None)
    (None, None, None)
    >>> at_stake("0.0.0.0", None)[:56]
    'tokens, texts and pictures cross the network in the clea'
    """
    try:
        here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    if here or tls is not None:
        return None
    return (
        "tokens, texts and pictures cross the network in the clear, and whoever reads a token judges in its name: "
        + fix
    )


@contextmanager
def serving(
    app: FastAPI, host: str = "127.0.0.1", port: int = 0, limits: Limits | None = None, tls: Tls | None = None
) -> Iterator[str]:
    """Within: an app is served, and answers; yields the address that it answers at, as ``http://host:port``.

    Args:
        app: what is served.
        host: where to listen; others than this machine can connect only if it says so.
        port: 0 takes a free one.
        limits: how large a websocket's message may be.
        tls: what it shows itself with; then the address begins with ``https``.

    Raises:
        HeedError: nothing can listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named, asyncio lets small messages go at once (TCP_NODELAY); else each waits 40 ms for another.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        fix = "another run may be there: give another port, or 0 for a free one"
        raise HeedError(f"nothing can listen at {host}:{port}: {error}", "--host, --port", fix) from error
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        ws_max_size=(limits or Limits()).message_bytes,
        ws="websockets-sansio",
        timeout_graceful_shutdown=1,
        ssl_certfile=None if tls is None else tls.cert,
        ssl_keyfile=None if tls is None else tls.key,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="heed server", daemon=True)
    thread.start()
    try:
        deadline = threading.Event()
        for _ in range(int(START_S / 0.01)):
            if server.started or not thread.is_alive():
                break
            deadline.wait(0.01)
        if not server.started:
            raise HeedError("the server did not start", f"{host}:{port}", "see what it logged")
        shown = f"[{host}]" if ":" in host else host
        yield f"http{'' if tls is None else 's'}://{shown}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(5.0)
        listener.close()
