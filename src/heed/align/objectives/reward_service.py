"""An objective that is scored by a service over HTTP, and how the command line names one: by its URL."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from torch import Tensor
from urllib3.util.retry import Retry

from heed.align.data.conversations import Completion, Prompt
from heed.align.objectives.base import Objective, ObjectiveSpec, values_to_column
from heed.align.objectives.kinds import COMMON_KEYS, ObjectiveKind, ObjectiveText, register_objective_kind
from heed.errors import HeedError

RETRIED_STATUSES = (429, 500, 502, 503, 504)


def without_credentials(url: str) -> str:
    """A URL as it may be shown: without user, password, query and fragment.

    >>> without_credentials("https://ann:secret@judge.example:8080/score?key=123")
    'https://judge.example:8080/score'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class RewardService(Objective):
    """An objective scored by an HTTP service.

    Each batch is one ``POST`` of ``{"prompts": [...], "completions": [...], "columns": {...}}``; the answer is
    ``{"rewards": [...]}`` with one number, or null, for each completion. A refused or broken connection, a
    time-out and the statuses 429, 500, 502, 503 and 504 are tried again, after twice as long each time, up to
    30 s. The request must therefore be safe to repeat.

    Args:
        url: where to post to; user and password, if any, are never shown.
        name: the objective's name, else the last part of the URL's path.
        sign: +1 if more is better, -1 if less is.
        scale: positive factor on the values.
        unit: what the values are measured in.
        timeout: seconds for connecting, and for each wait for bytes.
        retries: how many times a failed request is repeated.
        backoff: seconds before the second repetition.

    Raises:
        HeedError: the URL is not one of http or https.
    """

    def __init__(
        self,
        url: str,
        name: str | None = None,
        sign: float = 1.0,
        scale: float = 1.0,
        unit: str = "",
        timeout: float = 60.0,
        retries: int = 3,
        backoff: float = 0.5,
    ) -> None:
        self.url, self.timeout, self.retries = url, timeout, retries
        self.shown = without_credentials(url)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise HeedError(
                "a reward service needs an http or https URL", where=self.shown, fix="give http://host:port/path"
            )
        last = parts.path.rstrip("/").rpartition("/")[2]
        self.specs = (ObjectiveSpec(name or last or parts.hostname, sign, scale, unit),)
        policy = Retry(
            total=retries,
            status_forcelist=RETRIED_STATUSES,
            allowed_methods={"POST"},
            backoff_factor=backoff,
            backoff_max=30,
            respect_retry_after_header=False,  # a service could otherwise hold the run for hours
            raise_on_status=False,
        )
        self._session = requests.Session()
        self._session.mount("http://", HTTPAdapter(max_retries=policy))
        self._session.mount("https://", HTTPAdapter(max_retries=policy))

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], columns: Mapping[str, Sequence[Any]]
    ) -> Tensor:
        """Score a batch; see ``Objective.score``.

        Raises:
            HeedError: no answer after the retries, an error status, or an answer of another form.
        """
        name = self.specs[0].name
        answer = self._post(self._body(prompts, completions, columns))
        if not isinstance(answer, dict) or "rewards" not in answer:
            raise self._error(f"reward service {name!r} answered without 'rewards'", 'answer {"rewards": [...]}')
        return values_to_column(answer["rewards"], name, completions, source=self.shown)

    def _body(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], columns: Mapping[str, Sequence[Any]]
    ) -> bytes:
        listed = {key: list(values) for key, values in columns.items() if key != "completion_ids"}
        try:
            text = json.dumps({"prompts": list(prompts), "completions": list(completions), "columns": listed})
        except (TypeError, ValueError) as error:
            raise self._error(f"a column cannot be sent as JSON: {error}", "remove it from the data") from error
        return text.encode()

    def _post(self, body: bytes) -> object:
        name = self.specs[0].name
        try:
            response = self._session.post(
                self.url, data=body, headers={"Content-Type": "application/json"}, timeout=self.timeout
            )
        except requests.RequestException as error:
            # The exception's text and its chain carry the whole URL, with what secrets it holds.
            kind = "timed out" if isinstance(error, requests.Timeout) or "timed out" in str(error) else "is unreachable"
            attempts = f"{self.retries + 1} attempts with a time-out of {self.timeout:g} s"
            raise self._error(
                f"reward service {name!r} {kind} ({attempts})", "start the service, or raise timeout= and retries="
            ) from None
        if not response.ok:
            raise self._error(
                f"reward service {name!r} answered {response.status_code} {response.reason}", "read the service's log"
            )
        try:
            return response.json()
        except requests.JSONDecodeError:
            raise self._error(f"reward service {name!r} answered no JSON", 'answer {"rewards": [...]}') from None

    def _error(self, what: str, fix: str) -> HeedError:
        return HeedError(what, where=self.shown, fix=fix)


def _from_text(text: ObjectiveText) -> RewardService:
    options = text.options(COMMON_KEYS | {"timeout": float, "retries": int})
    return RewardService(text.target, name=text.name, **options)


register_objective_kind(
    ObjectiveKind("http://... or https://...", lambda target: target.startswith(("http://", "https://")), _from_text)
)
