"""The one fault injector: which call of AWS is disturbed, and how, as data.

A *rule* sees every call and says what happens to it; ``on`` makes the usual ones:

    sqs.rule = on("SendMessageBatch", nth=2, do=DropAnswer())      # sent, but the caller never knows
    sqs.rule = on(nth=7, do=Kill(after=True))                      # the process dies after its 7th call
    sqs.rule = on("SendMessageBatch", do=RefuseEntries(position(0)))

``perform`` does it to a call in this process: of the doubles in memory, and of a function's client. To calls
over HTTP integration/proxy.py does the same.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, assert_never

from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError


class Call(Protocol):
    """A call on its way: of the proxy a request, in memory a MemoryCall."""

    @property
    def action(self) -> str:
        """The API's name for it: ``SendMessageBatch``."""

    @property
    def is_orphan(self) -> bool:
        """Whether nobody waits for its answer any more."""

    def json(self) -> Any:
        """Return what is asked."""


@dataclass(frozen=True)
class MemoryCall:
    """A call of a method in this process."""

    action: str
    request: Mapping[str, Any]
    is_orphan: bool = False

    def json(self) -> Any:
        return self.request

    @classmethod
    def of(cls, method: str, request: Mapping[str, Any]) -> MemoryCall:
        """Make the call of a method of boto3's: ``send_message`` is SendMessage."""
        return cls("".join(word.capitalize() for word in method.split("_")), request)


@dataclass(frozen=True)
class Pass:
    """Let the call and its answer through."""


@dataclass(frozen=True)
class Delay:
    """Wait, then go on with another action; with ``after``, wait before the answer of it."""

    seconds: float
    then: Action = field(default_factory=Pass)
    after: bool = False


@dataclass(frozen=True)
class AnswerWithError:
    """Answer with an error; the call has no effect.

    ``code`` is the modelled name; ``legacy`` what SQS's query protocol called it, which botocore then
    reports as the code (``AWS.SimpleQueueService.NonExistentQueue`` for ``QueueDoesNotExist``).
    """

    code: str
    message: str = "refused by the test"
    status: int = 400
    legacy: str = ""


@dataclass(frozen=True)
class Drop:
    """Cut the connection; the call has no effect."""


@dataclass(frozen=True)
class DropAnswer:
    """Let the call take effect, then cut the connection instead of answering."""


@dataclass(frozen=True)
class RefuseEntries:
    """Do an SQS batch without the entries that ``which`` picks, and report those as failed."""

    which: Callable[[int, Mapping[str, Any]], bool]  # of position (from 0) and entry
    code: str = "InternalError"
    sender_fault: bool = False
    message: str = "refused by the test"

    def split(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return the request without the refused entries, and what the answer says of those."""
        entries = list(enumerate(request["Entries"]))
        refused = [entry for place, entry in entries if self.which(place, entry)]
        kept = [entry for _, entry in entries if entry not in refused]
        said = {"Code": self.code, "SenderFault": self.sender_fault, "Message": self.message}
        return {**request, "Entries": kept}, [{"Id": entry["Id"], **said} for entry in refused]


@dataclass(frozen=True)
class Kill:
    """Kill the process that made the call (or ``pid``): before its effect, or after it."""

    after: bool = False
    pid: int | None = None
    number: signal.Signals = signal.SIGKILL


@dataclass(frozen=True)
class Stall:
    """Let the call take effect, send half of its answer, and then nothing more; the connection stays."""


Action = Pass | Delay | AnswerWithError | Drop | DropAnswer | RefuseEntries | Kill | Stall
Rule = Callable[[Any], Action]  # of a Call


def forward_all(call: Call) -> Action:
    """Disturb nothing."""
    return Pass()


def on(action: str | None = None, *, do: Action, nth: int | None = None, queue: str | None = None) -> Rule:
    """Make a rule for one action (None: any), the ``nth`` time it comes (None: always), for one queue's name.

    Counted from the moment the rule is made, among the calls it is for whose caller still listens.
    """
    lock = threading.Lock()
    seen = 0

    def rule(call: Call) -> Action:
        nonlocal seen
        if action is not None and call.action != action:
            return Pass()
        if queue is not None and not call.json().get("QueueUrl", "").endswith(f"/{queue}"):
            return Pass()
        with lock:
            if call.is_orphan:
                return Pass()
            seen += 1
            return do if nth in (None, seen) else Pass()

    return rule


def dead_after(calls: int, *, last: Action | None = None) -> Rule:
    """Make the rule of a network that dies after so many calls; to the last of these ``last`` happens."""
    lock = threading.Lock()
    left = calls

    def rule(call: Call) -> Action:
        nonlocal left
        with lock:
            left -= 1
            if left < 0:
                return AnswerWithError("ServiceUnavailable", "no network")
            return last if last is not None and left == 0 else Pass()

    return rule


def refusing(
    is_bad: Callable[[Mapping[str, Any]], bool],
    code: str = "InternalError",
    message: str = "no",
    *,
    sender_fault: bool = False,
) -> Rule:
    """Make a rule by which SQS refuses these entries of every SendMessageBatch."""
    refuse = RefuseEntries(lambda place, entry: is_bad(entry), code, sender_fault, message)
    return on("SendMessageBatch", do=refuse)


def position(*positions: int) -> Callable[[int, Mapping[str, Any]], bool]:
    """Pick batch entries by their place, from 0."""
    return lambda place, entry: place in positions


def perform(
    action: Action,
    call: MemoryCall,
    effect: Callable[..., Any],
    *,
    sleep: Callable[[float], None],
    kill: Callable[[], None],
) -> Any:
    """Do what a rule says to a call whose ``effect`` is a function; raises what boto3 would."""
    match action:
        case Pass():
            return effect(**call.request)
        case Delay(seconds, then, after):
            sleep(0 if after else seconds)
            answer = perform(then, call, effect, sleep=sleep, kill=kill)
            sleep(seconds if after else 0)
            return answer
        case AnswerWithError(code, message, _, legacy):
            raise client_error(call.action, legacy or code, message)
        case Drop():
            raise EndpointConnectionError(endpoint_url="http://sqs")
        case DropAnswer():
            effect(**call.request)
            raise ConnectionClosedError(endpoint_url="http://sqs")
        case RefuseEntries():
            request, refused = action.split(call.request)
            answer = effect(**request) if request["Entries"] else {"Successful": []}
            return {**answer, "Failed": [*answer.get("Failed", []), *refused]}
        case Kill(after):
            _ = after and effect(**call.request)
            return kill()
        case Stall():
            raise NotImplementedError("an answer in memory has no halves")
        case _:
            assert_never(action)


def client_error(operation: str, code: str, message: str) -> ClientError:
    """Build the error that boto3 raises when AWS answers no."""
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)
