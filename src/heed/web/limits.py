"""What a server of pages allows at most."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How much pages may send, and how long they may take.

    Args:
        message_bytes: of a message from a page, and of a request's body.
        messages: of a page in a second, and requests of all.
        connections: at once.
        greeting_s: seconds in which a page must have sent its token.
        rendering_s: seconds after which a page that has not confirmed that it rendered a frame is sent the next one all
            the same.
    """

    message_bytes: int = 8192
    messages: int = 200
    connections: int = 100
    greeting_s: float = 5.0
    rendering_s: float = 1.0
