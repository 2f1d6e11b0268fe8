"""A server in a thread of its own, beside the run that it lets people see."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from heed.errors import HeedError
from heed.web.limits import Limits

START_S = 10.0


@contextmanager
def serving(app: FastAPI, host: str = "127.0.0.1", port: int = 0, limits: Limits | None = None) -> Iterator[str]:
    """Within: an app is served; yields the address that it answers at, as ``http://host:port``.

    Args:
        app: what is served.
        host: where to listen; others than this machine can connect only if it says so.
        port: 0 takes a free one.
        limits: how large a websocket's message may be.

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
        yield f"http://{shown}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(5.0)
        listener.close()
