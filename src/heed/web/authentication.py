"""Whose request it is: a token in a header or a first message, and pages of this very server alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, HTTPException, WebSocket
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from heed.web.people import People, Person


class Refusal(BaseModel):
    """Why a request is refused."""

    detail: str


UNAUTHORIZED: dict[int | str, dict[str, Any]] = {401: {"model": Refusal, "description": "A token is needed."}}
"""How a request may be refused that needs a token, for the OpenAPI schema."""


ENDED = "this login was ended: ask whoever runs heed for a new address"
"""What is said to whoever has a token that was revoked or replaced; `web/assets/common.js` says it too."""


def same_origin(socket: WebSocket) -> bool:
    """Whether a browser's page of this very server asks; other programs name no origin."""
    origin = socket.headers.get("origin")
    return origin is None or origin.partition("://")[2] == socket.headers.get("host")


def bearer(people: People) -> Callable[..., Person]:
    """For FastAPI's ``Depends``: who asks, by the token in the header ``Authorization: Bearer``; nobody is 401."""

    def whose(given: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]) -> Person:
        person = None if given is None else people.whose(given.credentials)
        if person is None:
            why = ENDED if given is not None and people.ended(given.credentials) else "a token is needed"
            raise HTTPException(401, why, {"WWW-Authenticate": "Bearer"})
        return person

    return whose
