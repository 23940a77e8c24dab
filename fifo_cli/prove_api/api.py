"""What the API answers, wherever it runs; what it remembers is in a store that it is given.

Who does not know the secret learns nothing and leaves nothing behind. Of a delivery the made-up item's names
are kept, and no body; of the secret and of the key that deliveries must carry only hashes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

SECRET_HEADER: Final = "x-prove-secret"
MODES: Final = {"ok": 200, "slow": 200, "503": 503, "429": 429, "401": 401}
# Shorter than the function's timeout (operations/prove/receiver.py), which would answer 502.
SLOW_SECONDS_MAX: Final = 20.0
RETRY_AFTER_MAX: Final = 3600  # s
# Longer than any that prove makes up; what is kept stays small.
NAME_MAX: Final = 256
REFUSED_MAX: Final = 1000
BODY_BYTES_MAX: Final = 300_000  # more than a message of SQS has

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came; the names of ``headers`` are in lower case."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, sent after ``delay`` seconds."""

    status: int
    document: Document
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0

    @property
    def body(self) -> bytes:
        return json.dumps(self.document).encode()


@dataclass(frozen=True, slots=True)
class RecordedDelivery:
    """What is kept of a delivery; ``at`` is when it came, in seconds since 1970."""

    id: str
    group: str
    number: int
    key: str
    status: int
    at: float


@dataclass(frozen=True, slots=True)
class AnswerRules:
    """How deliveries are answered. The first that applies: ``mode``, a wrong key, ``refuse``, 200."""

    mode: str = "ok"
    retry_after: int = 1
    slow_seconds: float = 0.0
    key_sha256: str = ""  # of the bearer key; "": none is asked for
    refuse: tuple[str, ...] = ()

    def status_for(self, item: str, authorization: str) -> int:
        """Return the status of the answer to the delivery of an item."""
        if (status := MODES[self.mode]) != MODES["ok"]:
            return status
        if self.key_sha256:
            scheme, _, key = authorization.partition(" ")
            if not (scheme.lower() == "bearer" and is_secret(key, self.key_sha256)):
                return 401
        return 422 if item in self.refuse else status


class Store(Protocol):
    """What the API remembers. Each method may be called side by side with any other."""

    def rules(self) -> AnswerRules: ...

    def set_rules(self, rules: AnswerRules) -> None: ...

    def append(self, delivery: RecordedDelivery) -> None:
        """Give a delivery the next number: it is after all that were appended before this call."""

    def since(self, number: int) -> list[tuple[int, RecordedDelivery]]:
        """Return some of what has a higher number, in order and without a gap; [] only if nothing has."""

    def forget(self) -> None: ...


class BadRequestError(Exception):
    """A request of one who knows the secret that the protocol does not have."""


@dataclass(frozen=True, slots=True)
class ProveApi:
    """The API: a request in, its answer out. ``secret_sha256`` is the hash of the secret, in hexadecimal."""

    secret_sha256: str
    store: Store
    clock: Callable[[], float] = time.time

    def answer(self, request: Request) -> Response:
        """Answer a request, whose delivery is recorded then."""
        if not is_secret(request.headers.get(SECRET_HEADER, ""), self.secret_sha256):
            return Response(403, {"error": "forbidden"})
        try:
            return self._answer(request)
        except BadRequestError as error:
            return Response(400, {"error": str(error)})

    def _answer(self, request: Request) -> Response:
        match request.method, request.path:
            case "POST", "/deliver":
                return self._deliver(request)
            case "GET", "/received":
                return self._received(request.query)
            case "PUT", "/temper":
                self.store.set_rules(rules_of(_parsed(request.body)))
            case "DELETE", "/received":
                self.store.forget()
            case _:
                return Response(404, {"error": "no such path or method"})
        return Response(200, {})

    def _deliver(self, request: Request) -> Response:
        at = self.clock()
        item = _parsed(request.body)
        names = [item.get("id"), item.get("group"), request.headers.get("idempotency-key")]
        number = item.get("number")
        if not all(isinstance(one, str) and 0 < len(one) <= NAME_MAX for one in names):
            raise BadRequestError("id, group and the header Idempotency-Key must be short strings")
        if not _is_number(number, 10**12) or not isinstance(number, int):
            raise BadRequestError("number must be a whole number")
        rules = self.store.rules()
        status = rules.status_for(item["id"], request.headers.get("authorization", ""))
        key = request.headers["idempotency-key"]
        self.store.append(RecordedDelivery(item["id"], item["group"], number, key, status, at))
        headers = {"Retry-After": str(rules.retry_after)} if rules.mode == "429" else {}
        return Response(status, {}, headers, rules.slow_seconds if rules.mode == "slow" else 0.0)

    def _received(self, query: str) -> Response:
        after = parse_qs(query).get("after", ["0"])[-1]
        if not (after.isascii() and after.isdecimal() and len(after) < 16):
            raise BadRequestError("after must be a whole number")
        found = self.store.since(int(after))
        received = [{"n": number, **asdict(delivery)} for number, delivery in found]
        return Response(200, {"received": received, "next": found[-1][0] if found else int(after)})


def sha256(text: str) -> str:
    """Return a text's hash in hexadecimal; ``text`` may be a header of any bytes."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def is_secret(text: str, expected_sha256: str) -> bool:
    """Compare by hashes, in a time that says nothing about where they differ."""
    return hmac.compare_digest(sha256(text), expected_sha256)


def rules_of(document: Document) -> AnswerRules:
    """Read answer rules; raises BadRequestError saying what is wrong with them."""
    if unknown := document.keys() - {"mode", "retry_after", "slow_seconds", "key", "refuse"}:
        raise BadRequestError(f"unknown: {', '.join(sorted(unknown))}")
    mode, key, refuse = document.get("mode", "ok"), document.get("key"), document.get("refuse") or []
    retry_after, slow = document.get("retry_after", 1), document.get("slow_seconds", 0.0)
    if not isinstance(mode, str) or mode not in MODES:
        raise BadRequestError(f"mode must be one of {', '.join(MODES)}")
    if not _is_number(retry_after, RETRY_AFTER_MAX) or not isinstance(retry_after, int):
        raise BadRequestError(f"retry_after must be a whole number from 0 to {RETRY_AFTER_MAX}")
    if not _is_number(slow, SLOW_SECONDS_MAX):
        raise BadRequestError(f"slow_seconds must be a number from 0 to {SLOW_SECONDS_MAX:g}")
    if key is not None and not (isinstance(key, str) and key):
        raise BadRequestError("key must be a string or null")
    if not (isinstance(refuse, list) and all(isinstance(one, str) for one in refuse)):
        raise BadRequestError("refuse must be a list of strings")
    if len(refuse) > REFUSED_MAX:
        raise BadRequestError(f"refuse has more than {REFUSED_MAX} ids")
    return AnswerRules(mode, retry_after, float(slow), sha256(key) if key else "", tuple(refuse))


def _is_number(value: object, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def _parsed(body: bytes) -> Document:
    if len(body) > BODY_BYTES_MAX:
        raise BadRequestError(f"the body has more than {BODY_BYTES_MAX} bytes")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequestError("the body is not JSON") from None
    if not isinstance(document, dict):
        raise BadRequestError("the body is not a JSON object")
    return document
