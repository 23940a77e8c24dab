"""The API that ``prove`` delivers to, as it talks to it: its own function's, or any at ``--api URL``."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import httpx

from fifo_cli.aws.resources.gateway import Pending, TimedOut, Waiter
from fifo_cli.errors import AwsError, UsageError
from fifo_cli.model.receiver_protocol import (
    RECEIVED_PATH,
    RULES_PATH,
    SECRET_HEADER,
    AnswerRules,
    Received,
)
from fifo_cli.model.urls import check_url, host_of, is_this_machine

_CALL_TIMEOUT: Final = 30.0
# What AWS takes until a new URL, its permissions and its role are known everywhere; a receiver's own moments.
_READY_LIMIT: Final = 120.0
_CALL_LIMIT: Final = 120.0
# Where nothing listens, no load passes; whoever starts a receiver again has done so by then.
_REFUSED_LIMIT: Final = 20.0
_PAGES_MAX: Final = 10_000
_REFUSALS: Final = {
    403: "with --api: its secret is not the one in $FIFO_PROVE_SECRET",
    404: "it does not speak the protocol of docs/prove.md",
}


class ReceiverError(AwsError):
    """The API did not answer as the protocol says."""


class UnreachableError(ReceiverError):
    """The API does not answer at all; it was asked again for as long as a moment's failure lasts."""


@dataclass(frozen=True, slots=True)
class HttpReceiver:
    """The API at a URL. Its own moments of failure are waited out; every call here may be repeated."""

    url: str
    secret: str = field(repr=False)
    waiter: Waiter = field(default_factory=Waiter, repr=False)
    transport: httpx.BaseTransport | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        try:
            check_url(self.url)
        except ValueError as error:
            raise UsageError(f"--api {self.url}: not {error}", hint="give its URL, without a path") from None
        if self.url.startswith("http://") and not is_this_machine(host_of(self.url)):
            raise UsageError(
                f"--api {self.url}: the secret would be sent unencrypted", hint="use an https:// URL"
            )
        if "?" in self.url:
            raise UsageError(
                f"--api {self.url.partition('?')[0]}: a query cannot be a part of it",
                hint="what is secret in it belongs into the receiver's own secret",
            )
        object.__setattr__(self, "url", self.url.rstrip("/"))

    def set_rules(self, rules: AnswerRules) -> None:
        """Say how it answers deliveries from now on."""
        self._call("PUT", RULES_PATH, rules.document())

    def received(self, after: int = 0) -> list[Received]:
        """Return what it received after a number, in order."""
        found: list[Received] = []
        for _ in range(_PAGES_MAX):
            answer = self._call("GET", f"{RECEIVED_PATH}?after={after}")
            try:
                page = [Received.from_document(one) for one in answer["received"]]
                after = max(after, int(answer["next"]))
            except (KeyError, TypeError, ValueError):
                raise ReceiverError(f"{self.url} answered what is not a list of deliveries") from None
            found += page
            if not page:
                return found
        raise ReceiverError(f"{self.url} says again and again that there is more")

    def forget(self) -> None:
        """Have it forget what it received."""
        self._call("DELETE", RECEIVED_PATH)

    def strangers_get(self) -> set[int]:
        """Return the statuses of the answers to requests without the secret, and with another one."""
        try:
            with self._client() as client:
                del client.headers[SECRET_HEADER]
                return {
                    client.request(method, self.url + path, headers=headers, json={}).status_code
                    for method, path in (("GET", RECEIVED_PATH), ("PUT", RULES_PATH))
                    for headers in ({}, {SECRET_HEADER: self.secret[::-1]})
                }
        except httpx.HTTPError as error:
            raise ReceiverError(f"the API {self.url} is not reached ({type(error).__name__})") from error

    def wait_ready(self) -> None:
        """Wait until it answers; raises ReceiverError saying what it answers instead."""
        self._call("GET", RECEIVED_PATH, limit=_READY_LIMIT, every_status=True)

    def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        limit: float = _CALL_LIMIT,
        every_status: bool = False,
    ) -> dict[str, Any]:
        refused_since: float | None = None
        with self._client() as client:

            def attempt() -> httpx.Response | Pending:
                nonlocal refused_since
                try:
                    answer = client.request(method, self.url + path, json=body)
                except httpx.HTTPError as error:
                    if every_status or not isinstance(error, httpx.ConnectError):
                        return Pending(f"not reached ({type(error).__name__})")
                    now = self.waiter.clock()
                    refused_since = now if refused_since is None else refused_since
                    if now - refused_since > _REFUSED_LIMIT:
                        raise TimedOut(
                            f"the API {self.url}: nothing is reached there for {now - refused_since:.0f} s"
                        ) from error
                    return Pending("not reached (ConnectError)")
                refused_since = None
                if answer.is_success:
                    return answer
                passing = every_status or answer.status_code == 429 or answer.status_code >= 500
                return Pending(f"answering {answer.status_code}") if passing else answer

            try:
                answer = self.waiter.until(attempt, name=f"the API {self.url}", limit=limit)
            except TimedOut as error:
                raise UnreachableError(error.message, hint=_look(every_status=every_status)) from error
        return self._document(answer)

    def _client(self) -> httpx.Client:
        return httpx.Client(
            timeout=_CALL_TIMEOUT,
            # A proxy of the environment's does not reach this machine's loopback.
            trust_env=not is_this_machine(host_of(self.url)),
            verify=_certificates(),
            transport=self.transport,
            headers={SECRET_HEADER: self.secret},
        )

    def _document(self, answer: httpx.Response) -> dict[str, Any]:
        if not answer.is_success:
            raise ReceiverError(
                f"the API {self.url} answered {answer.status_code} to {answer.request.method}"
                f" {answer.request.url.path}",
                hint=_REFUSALS.get(answer.status_code, "docs/prove.md has the protocol that it must speak"),
            )
        try:
            document = answer.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ReceiverError(f"the API {self.url} answered what is not a JSON object")
        return document


@cache
def _certificates() -> ssl.SSLContext:
    """Read whom TLS trusts, once for all calls: it takes 27 ms of the processor, and a run makes hundreds."""
    return httpx.create_ssl_context()


def _look(*, every_status: bool) -> str:
    if not every_status:
        return "see whether it runs, and look at its own log"
    return (
        "403 without end: a policy of the organisation may forbid public function URLs; run prove with --api"
        " URL and a receiver of your own (docs/prove.md). 502: look at the function's log"
    )
