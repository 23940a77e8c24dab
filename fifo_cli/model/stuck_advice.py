"""Groups that are stuck: what each failure means, what to do first, and what not to do.

The failures are of a kind, and the kind of one group stands beside what became of the others: that is the
cause. The tables have a line for each. Setting a message aside is advised only where other groups are
delivered meanwhile: while an API is down, every message is good, and waiting keeps their order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from fifo_cli.handlers.placeholders import PLACEHOLDER
from fifo_cli.invocation import command_line
from fifo_cli.model.auth_settings import AuthTable, MtlsTable
from fifo_cli.model.group_names import shown_group
from fifo_cli.model.health import Problem, State, worst
from fifo_cli.model.key_faults import set_commands
from fifo_cli.model.times import rough
from fifo_cli.model.worker_log import OpenBreaker, Stuck

if TYPE_CHECKING:
    from fifo_cli.model.settings import Api

_UNAVAILABLE: Final = frozenset({408, 425, 502, 503, 504})
_THE_API: Final = "the API"
# The words of handlers/code_guard.py.
_HANGING: Final = " did not return "
# The words of handlers/oauth_token.py.
_WITHOUT_TOKEN: Final = ": no token from "
_TOKEN_LATE: Final = re.compile(r"[^:]*(?: in time:| within |: ReadTimeout)")
_TOKEN_ELSEWHERE: Final = re.compile(r"[^:]*: HTTP (?:3\d\d|404|405|410)\b")
# OpenSSL's.
_UNTRUSTED: Final = "CERTIFICATE_VERIFY_FAILED"
# Also OpenSSL's, of what a certificate has to be for VERIFY_X509_STRICT, which Python sets from 3.13 on.
_NOT_STRICT: Final = re.compile(
    "Key Identifier|marked critical|key usage|Path length|name empty|Empty Subject Alternative Name|X509v3"
)


class Kind(StrEnum):
    """How a head failed."""

    UNAVAILABLE = "unavailable"  # 502, 503, 504: the API itself says that it is down
    SERVER = "server"  # any other 5xx
    KEY = "key"  # 401, 403
    RIGHT = "right"  # 401, 403 to a token that the token endpoint of OAuth 2.0 had just given
    TIMEOUT = "timeout"
    NETWORK = "network"
    CERTIFICATE = "certificate"  # the API's is not trusted
    NOT_STRICT = "not strict"  # or lacks what RFC 5280 asks for
    THROTTLED = "throttled"  # 429
    REDIRECTED = "redirected"  # 3xx
    UNLISTED = "unlisted"  # a success that [api] success does not list
    REFUSED = "refused"  # any other 4xx: not in [api] permanent
    BLOCKED = "blocked"  # in [api] permanent, with on_permanent = "block"
    TOKEN = "token"  # the token endpoint of OAuth 2.0 gave none
    TOKEN_LATE = "token late"  # or took too much of the call's time
    TOKEN_ELSEWHERE = "token elsewhere"  # or is not at that address
    CODE = "code"  # the user's code did not reach what it calls
    HANGS = "hangs"  # the user's code did not return
    PROGRAM = "program"  # a defect of ours, or SQS that did not take a message to park
    UNKNOWN = "unknown"


_TOKENS: Final = frozenset({Kind.TOKEN, Kind.TOKEN_LATE, Kind.TOKEN_ELSEWHERE})


class Case(StrEnum):
    """What became of other groups meanwhile."""

    ALL = "all"  # several wait, and none is delivered
    ONLY = "only"  # no other group was tried
    ALONE = "alone"  # others are delivered after its failures
    UNSURE = "unsure"  # others were delivered, but none since it failed
    SOME = "some"  # several fail alike, and others are delivered
    BETWEEN = "between"  # others were delivered between the failures of several, none of which failed again
    PASSED = "passed"  # others are delivered again; it was not tried since
    OLDER = "older"  # a later run met another cause, and did not try these


class Advice(NamedTuple):
    """What it means, what to do first, what not to do; in braces what is filled in."""

    means: str
    first: str
    avoid: str


_KEEP: Final = "park: the messages are good, and would lose their places"
_SET_ASIDE: Final = "{peek} shows {shown}; {park} {sets} it aside, and its group goes on"
_DOWN: Final = Advice(
    "{api} is down: nothing is delivered meanwhile", "wait, or have {api} fixed: {retry}", _KEEP
)
_OF_KIND: Final[Mapping[Kind, Advice]] = {
    Kind.UNAVAILABLE: _DOWN,
    Kind.SERVER: _DOWN,
    Kind.KEY: Advice("{api} refuses the {credential}: {it} was changed or has expired", "{keys}", _KEEP),
    Kind.RIGHT: Advice(
        "{api} refuses tokens that its token endpoint has just given: the client or the token lacks a right",
        "ask what the client may do; check [api] auth scope and audience, then {deploy}",
        _KEEP,
    ),
    Kind.TIMEOUT: Advice(
        "{api} does not answer within [api] timeout: it is slow, or down",
        "wait: {retry}; if it stays slow, raise [api] timeout, then {deploy}",
        "park: {api} may have taken them, and the next try has the same Idempotency-Key",
    ),
    Kind.NETWORK: Advice(
        "{api} cannot be reached: its address, certificate or network, or it is down",
        "wait: {retry}; if it stays so, check [api] url and the network of the functions",
        _KEEP,
    ),
    Kind.CERTIFICATE: Advice(
        "the certificate of {api} is not trusted: its CA is not known here, it has expired, or is another"
        " host's",
        "{ca}; if it is another fault of the certificate, have {api} fixed, and wait: {retry}",
        _KEEP,
    ),
    Kind.NOT_STRICT: Advice(
        "the certificate of {api}, or one that signed it, is not as RFC 5280 asks (it lacks an authority key"
        " identifier, say): Python 3.13 refuses it",
        'have its CA issue it again without that fault; until then, set [functions] runtime = "python3.12",'
        " then {deploy}",
        _KEEP,
    ),
    Kind.THROTTLED: Advice(
        "{api} takes no more calls for now",
        "wait: {retry}; for good, set [worker] max_rate, or a lower one, then {deploy}",
        "drain without --max-rate: it makes more calls",
    ),
    Kind.REDIRECTED: Advice(
        "{api} is at another address, and redirects are not followed",
        "set [api] url to that address, then {deploy}",
        _KEEP,
    ),
    Kind.UNLISTED: Advice(
        "{api} answered {status}, which [api] success does not list: it may have taken the message",
        "add {status} to [api] success, then {deploy}",
        "wait: each {turn} sends the message again",
    ),
    Kind.REFUSED: Advice(
        "{api} refuses every message with {status}, which [api] permanent does not list",
        "check [api] url, method and headers, then {deploy}",
        _KEEP,
    ),
    Kind.BLOCKED: Advice(
        '{api} refuses it for good, and on_permanent = "block" keeps it at the head',
        "{peek} shows {shown}; have it accepted by {api}",
        "wait: {api} gives the same answer each time",
    ),
    Kind.TOKEN: Advice(
        "the token endpoint gives no token, and nothing is sent to {api} without one",
        "wait: {retry}; if it stays so, check [api] auth token_url",
        _KEEP,
    ),
    Kind.TOKEN_LATE: Advice(
        "the token endpoint is slow, and the wait for a token is part of [api] timeout",
        "wait: {retry}; if it stays slow, raise [api] timeout, then {deploy}",
        _KEEP,
    ),
    Kind.TOKEN_ELSEWHERE: Advice(
        "the token endpoint is not at that address; redirects are not followed",
        "set [api] auth token_url to its address, then {deploy}",
        _KEEP,
    ),
    Kind.CODE: Advice(
        "your code did not reach what it calls before {api}",
        "wait: {retry}; {logs} shows what it did not reach",
        _KEEP,
    ),
    Kind.HANGS: Advice(
        "your code does not return: it loops, or waits for something without a time limit",
        "correct [handlers] request, then {deploy}; or see what it waits for: {logs}",
        _KEEP,
    ),
    Kind.PROGRAM: Advice(
        "this program or AWS failed, and not {api}: the message is kept",
        "{logs} shows more; report it if it stays",
        _KEEP,
    ),
    Kind.UNKNOWN: Advice("no reason was logged", "{logs} shows each attempt", _KEEP),
}
# By case, for every kind. A case that is not here has the line of its kind.
_OF_CASE: Final[Mapping[Case, Advice]] = {
    Case.ALONE: Advice(
        "{api} takes other groups' messages, and fails on this one",
        "{park} {sets} this message aside, and its group goes on",
        "redrive it before {api} is fixed: it would hold up its group again",
    ),
    Case.UNSURE: Advice(
        "others were delivered before it failed: {api} went down since, or fails on this message",
        "{try_one}; if {api} is well, {park} {sets} this message aside",
        "park before you know that {api} is well",
    ),
    Case.SOME: Advice(
        "{api} fails for {groups} groups, and takes messages of others",
        "{logs}: what do they have in common? If {api} is well, {park} {sets} the first aside",
        "park one after the other before you know: if {api} is at fault, they are good",
    ),
    Case.BETWEEN: Advice(
        "{api} took a message between the failures of {groups} groups: it fails now and then, or on these",
        "wait: {retry}; {logs} then shows whether it took others, and not these",
        "park before these failed again: if {api} is at fault, they are good",
    ),
    Case.PASSED: Advice(
        "{api} answers again: other groups were delivered since this was tried",
        "{again}",
        "park: the next try may deliver it",
    ),
    Case.OLDER: Advice(
        "not tried since the newer failures above: this cause may be over",
        "see to the one above first; {drain_one} then shows what is left",
        _KEEP,
    ),
}
_OF_ALL: Final = {Kind.CERTIFICATE, Kind.NOT_STRICT, Kind.UNLISTED, *_TOKENS}
_OF_SEVERAL: Final = {*_OF_ALL, Kind.THROTTLED, Kind.CODE, Kind.HANGS, Kind.PROGRAM}
# For these kinds, the line of the kind stands in place of that of the case.
_KIND_FIRST: Final[Mapping[Case, Collection[Kind]]] = {
    Case.ALONE: _OF_ALL,
    Case.UNSURE: {*Kind} - {Kind.UNAVAILABLE, Kind.SERVER, Kind.REFUSED, Kind.BLOCKED},
    Case.SOME: _OF_SEVERAL,
    Case.BETWEEN: {*_OF_SEVERAL, Kind.BLOCKED},
    Case.PASSED: {Kind.UNLISTED},
    Case.OLDER: {Kind.UNLISTED},
}
_ONLY: Final = Advice(
    "no other group was tried, so nothing shows whether {api} or this message is at fault",
    "ask whether {api} is well, and wait: {retry}; {peek} shows {shown}",
    "park: if {api} is down, this message is good",
)
# For these, neither of the two lines fits.
_OF_BOTH: Final[Mapping[tuple[Kind, Case], Advice]] = {
    (Kind.SERVER, Case.ONLY): _ONLY,
    (Kind.REFUSED, Case.ONLY): _ONLY,
    (Kind.KEY, Case.ALONE): Advice(
        "{api} takes other groups' messages with the same {secret}, and refuses this one",
        _SET_ASIDE,
        "change the {secret}: it works for others",
    ),
    **dict.fromkeys(
        ((Kind.KEY, Case.SOME), (Kind.KEY, Case.BETWEEN)),
        Advice(
            "{api} refuses the {credential} for {groups} groups, and takes it for others: it may lack a"
            " right",
            "ask what the {secret} may do; {keys}",
            _KEEP,
        ),
    ),
    (Kind.RIGHT, Case.ALONE): Advice(
        "{api} takes other groups' messages with the same token, and refuses this one",
        _SET_ASIDE,
        "change the client's secret: its tokens work for others",
    ),
    **dict.fromkeys(
        ((Kind.RIGHT, Case.SOME), (Kind.RIGHT, Case.BETWEEN)),
        _OF_KIND[Kind.RIGHT]._replace(
            means="{api} refuses the token for {groups} groups, and takes it for others: the client may lack"
            " a right"
        ),
    ),
    (Kind.TIMEOUT, Case.ALONE): Advice(
        "{api} answers others in time: it takes longer for this message",
        "raise [api] timeout, then {deploy}; or {park} {sets} this message aside",
        "redrive it before that: it would hold up its group again",
    ),
    (Kind.BLOCKED, Case.ALONE): _OF_KIND[Kind.BLOCKED]._replace(first=_SET_ASIDE),
    (Kind.HANGS, Case.ALONE): Advice(
        "your code returns for other groups' messages, and not for this one",
        "{peek} shows {shown}; correct [handlers] request, then {deploy}",
        "raise [functions] timeout: a loop takes that time as well",
    ),
}


@dataclass(frozen=True, slots=True)
class Around:
    """What is so beside the stuck groups: whether the worker runs by itself, and the APIs by their names.

    ``busy``: maintenance is going on. ``longest`` is the longest pause of a group where the queue starts the
    worker; None where a schedule does. ``untried``: within so long it then comes to a head that is there.
    After ``age`` of failing, a group is a warning, and critical; younger ones are a warning, too.
    """

    now: datetime
    running: bool
    busy: bool
    apis: Mapping[str, Api]
    age: tuple[timedelta, timedelta]
    longest: timedelta | None = None
    untried: timedelta | None = None

    def keys_of(self, api: str | None) -> list[str]:
        """Return the placeholders of an API's keys; of all, where its name is not known."""
        known = self.apis.get(api or "")
        apis: Iterable[Api] = [known] if known else self.apis.values()
        return list(dict.fromkeys(key for one in apis for key in one.keys))

    def auth_of(self, api: str | None) -> AuthTable | None:
        """Return how an API authenticates calls, if it does and its name is known."""
        known = self.apis.get(api or "")
        return known.auth if known else None

    def kind_of(self, head: Stuck) -> Kind:
        """Return how a head failed, where that depends on how its API authenticates calls, too."""
        kind = kind_of(head)
        auth = self.auth_of(head.api)
        refused = kind is Kind.KEY and auth is not None and auth.type == "oauth2"
        return Kind.RIGHT if refused else kind


def advice_of(kind: Kind, case: Case) -> Advice:
    """Return the line of a cause; there is one for each."""
    of_case = None if kind in _KIND_FIRST.get(case, ()) else _OF_CASE.get(case)
    return _OF_BOTH.get((kind, case)) or of_case or _OF_KIND[kind]


def kind_of(head: Stuck) -> Kind:
    """Return how a head failed, by what the worker logged."""
    if head.http_status is not None:
        return _kind_of_status(head.http_status, blocked=head.owner == "message")
    reason = head.error or ""
    # Earlier versions logged the class of the error as the beginning of the reason only.
    error = head.error_type or reason.partition(":")[0]
    if reason.startswith("no call to "):
        return _kind_before_call(reason)
    if head.owner in ("program", "aws"):
        return Kind.PROGRAM
    if "Timeout" in error:
        return Kind.TIMEOUT
    if head.error_type or error.endswith(("Error", "Protocol")):
        return _kind_of_network(reason)
    return Kind.UNKNOWN


def _kind_before_call(reason: str) -> Kind:
    _, without_token, why = reason.partition(_WITHOUT_TOKEN)
    if without_token:
        if _TOKEN_LATE.match(why):
            return Kind.TOKEN_LATE
        return Kind.TOKEN_ELSEWHERE if _TOKEN_ELSEWHERE.match(why) else Kind.TOKEN
    return Kind.HANGS if _HANGING in reason else Kind.CODE


def _kind_of_network(reason: str) -> Kind:
    _, untrusted, why = reason.partition(_UNTRUSTED)
    if not untrusted:
        return Kind.NETWORK
    return Kind.NOT_STRICT if _NOT_STRICT.search(why) else Kind.CERTIFICATE


def _kind_of_status(status: int, *, blocked: bool) -> Kind:
    if blocked:
        return Kind.BLOCKED
    if status in (401, 403):
        return Kind.KEY
    if status == 429:
        return Kind.THROTTLED
    if status in _UNAVAILABLE:
        return Kind.UNAVAILABLE
    of_class = {2: Kind.UNLISTED, 3: Kind.REDIRECTED, 4: Kind.REFUSED, 5: Kind.SERVER}
    return of_class.get(status // 100, Kind.UNKNOWN)


def case_of(alike: Sequence[Stuck], number: int) -> Case:
    """Return what became of other groups, for groups that fail alike among a number that is stuck."""
    if len(alike) == 1:
        return _case_of_one(alike[0], others=number > 1)
    if all(head.passed for head in alike):
        return Case.PASSED
    if any(head.lately for head in alike):
        return Case.SOME
    # Nothing shows yet whether it is an outage or these messages: none of them failed again.
    between = all(head.passed or head.attempts == 1 for head in alike) and any(head.passed for head in alike)
    return Case.BETWEEN if between else Case.ALL


def _case_of_one(head: Stuck, *, others: bool) -> Case:
    # Where others are stuck too, the API may have gone down since: only what is delivered now shows it is up.
    if head.after if not others else head.lately:
        return Case.ALONE
    if head.passed:
        return Case.PASSED
    if others:
        return Case.ALL
    return Case.UNSURE if head.beside else Case.ONLY


def stuck_problems(stuck: Sequence[Stuck], around: Around) -> Iterator[Problem]:
    """Yield a problem for all groups that fail alike at one API, the newest first, then the most groups.

    What the last run met is what holds up the messages now: a cause that it did not meet may be over. A head
    that the queue should have handed out again may be gone: such ones are named last, and not counted.
    """
    absent = [one for one in stuck if _seems_gone(one, around)]
    stuck = [one for one in stuck if not _seems_gone(one, around)]

    def alike(head: Stuck) -> tuple[str, str]:
        kind = kind_of(head)
        return head.api or "", Kind.SERVER if kind is Kind.UNAVAILABLE else kind

    groups = [list(some) for _, some in groupby(sorted(stuck, key=alike), key=alike)]
    newest = max(stuck, key=lambda one: one.time, default=None)

    def is_older(heads: Sequence[Stuck]) -> bool:
        assert newest is not None, "there are heads"
        return all(
            one.run_ended != newest.run_ended
            and max(one.time, one.paused_until or one.time) < newest.time  # paused, it was not to be tried
            for one in heads
        )

    def place(heads: Sequence[Stuck]) -> tuple[float, int, datetime]:
        last = max(one.time for one in heads).timestamp() if is_older(heads) else math.inf
        return -last, -len(heads), heads[0].time

    groups.sort(key=place)
    found = [_problem(some, len(stuck), around, older=is_older(some)) for some in groups]
    state = worst(one.state for one in found)
    yield from (replace(one, state=state) for one in found[:1])
    yield from found[1:]
    if absent:
        yield _absent_problem(absent, around.now)


def _seems_gone(head: Stuck, around: Around) -> bool:
    """Whether others were delivered long after it was to be tried again: a breaker holds up these, too."""
    if around.untried is None or head.passed is None:
        return False
    return head.passed - max(head.time, head.paused_until or head.time) > around.untried


def _absent_problem(absent: Sequence[Stuck], now: datetime) -> Problem:
    head, *more = absent
    which = f"{1 + len(more)} groups were" if more else f"group {shown_group(head.group)} was"
    step = command_line("audit") if more or not head.item_key else command_line("trace", head.item_key)
    return Problem(
        "warning",
        f"{which} not tried again for {rough(now - head.time)}, though others were delivered",
        f"{step} shows where {'their messages are' if more else 'its message is'}",
        means="what failed there may have left the queue by another way than the worker, or be lost",
    )


def _problem(alike: list[Stuck], number: int, around: Around, *, older: bool) -> Problem:
    oldest = min(alike, key=lambda one: one.since or one.time)
    failed = around.now - (oldest.since or oldest.time)
    warning, critical = around.age
    old = failed >= warning
    kinds = {around.kind_of(one) for one in alike}
    kind = kinds.pop() if len(kinds) == 1 else Kind.SERVER
    case = case_of(alike, number)
    if older and case in (Case.ALL, Case.ONLY, Case.UNSURE, Case.BETWEEN):
        case = Case.OLDER
    # The group that a step may set aside is one beside which others were delivered.
    named = [one for one in alike if one.lately] if case is Case.SOME else alike
    head = min(named, key=lambda one: (one.since or one.time) if old else one.time)
    advice = advice_of(kind, case)
    facts = _facts(head, len(alike), _with_longest_pause(around, alike))
    means, first, avoid = (text.format_map(facts) for text in advice)
    more = len(alike) - 1
    others = f" ({more} more group{' waits' if more == 1 else 's wait'})" if more else ""
    since = f" and has failed for {rough(failed)}" if old else ""
    state: State = "critical" if failed >= critical and old else "warning"
    return Problem(
        state,
        f"group {shown_group(head.group)} waits for its head{since}:"
        f" {head.error or 'no reason logged'}{others}",
        f"once the maintenance is over: {first}" if around.busy and "{park}" in advice.first else first,
        means=means,
        avoid=avoid,
        cause_of="messages",
    )


def _with_longest_pause(around: Around, alike: Iterable[Stuck]) -> Around:
    """Take the longest pause that there is: an API may have asked for a longer one (Retry-After)."""
    if around.longest is None:
        return around
    left = (one.paused_until - around.now for one in alike if one.paused_until is not None)
    return replace(around, longest=max([around.longest, *left]))


def _facts(head: Stuck, groups: int, around: Around) -> dict[str, str]:
    drain_one, group = command_line("drain --count 1"), shown_group(head.group)
    return {
        "api": head.api or _THE_API,
        "status": str(head.http_status or ""),
        "groups": str(groups),
        "keys": _key_commands(head, around),
        **_of_credential(head.api, around),
        "ca": _ca_step(head.api, around),
        "logs": command_line("logs worker --since 15m"),
        "deploy": command_line("deploy"),
        "drain_one": drain_one,
        **_of_trigger(head, around),
        **_of_message(head, group, around),
    }


def _of_trigger(head: Stuck, around: Around) -> dict[str, str]:
    """Return when a head is tried again by itself, and the steps that depend on it.

    What a function has paused, nobody else can try before its pause is over: also where a schedule has taken
    the queue's place since.
    """
    drain_one, drain_all = command_line("drain --count 1"), command_line("drain --all")
    after = _after_pause(head, around)
    once = f" {after}" if after else ""
    by_hand = f"order is kept, and {drain_one} tries again{once}"
    try_one = f"{drain_one} tries it again{once}"
    if around.longest is None:
        again = f"{drain_all} delivers what waits now; or wait for the next run"
        tries = "each run tries again"
        if after:
            again = f"wait: its group is hidden, and the first run {after} tries it"
            tries = f"the first run {after} tries this group"
        retry = f"{tries}, and order is kept" if around.running else by_hand
        return {"turn": "run", "retry": retry, "again": again, "try_one": try_one}
    if around.running:
        tries, look = within(around.longest), "its next try shows it"
        retry = f"{tries}, and order is kept"
        return {"turn": "try", "retry": retry, "again": f"wait: {tries}", "try_one": look}
    again = f"{drain_all} delivers what waits, once its pauses are over"
    return {"turn": "try", "retry": by_hand, "again": again, "try_one": try_one}


def _after_pause(head: Stuck, around: Around) -> str:
    """Say when a function's pause of the group is over; "" if it is not hidden now."""
    until = head.paused_until
    return f"after {until.astimezone(UTC):%H:%M:%S} UTC" if until and until > around.now else ""


def _of_message(head: Stuck, group: str, around: Around) -> dict[str, str]:
    """Return how a head is looked at and set aside.

    Where the queue starts the worker it is hidden nearly always: by its pause, or by the function's next try.
    """
    park, peek = command_line("park --group", group), command_line("peek --count 1 --group", group)
    after = _after_pause(head, around)
    by_itself = around.longest is not None and around.running
    if not (after or by_itself):
        return {"park": park, "sets": "sets", "peek": peek, "shown": "the message"}
    shows = {"peek": command_line("logs worker --since 15m"), "shown": "its attempts"}
    if head.item_key:
        shows = {"peek": command_line("trace", head.item_key), "shown": "its way"}
    if around.longest is None or not around.running:
        return {"park": f"{park} {after}", "sets": "sets", **shows}
    pause, resume = command_line("pause worker"), command_line("resume worker")
    over = after or f"when its pause is over, {rough(around.longest)} at most,"
    return {"park": f"{pause}, {park} {over} and {resume}", "sets": "set", **shows}


def within(longest: timedelta) -> str:
    """Say when the functions try a group again by themselves."""
    return f"each group is tried again within {rough(longest)}"


def _ca_step(api: str | None, around: Around) -> str:
    """Return how a CA that is not the system's gets to be trusted."""
    auth = around.auth_of(api)
    if isinstance(auth, MtlsTable):
        if keys := PLACEHOLDER.findall(auth.ca or ""):
            return (
                f"if its CA is its own, or a new one: {set_commands(keys)}, with all that are to be trusted"
            )
        return f"if its CA is its own, name that in [api] auth ca, then {command_line('deploy')}"
    return "if its CA is its own, only an [api] auth of type mtls can name it, as ca"


def _of_credential(api: str | None, around: Around) -> dict[str, str]:
    """Return what 401 and 403 refuse: a key, unless ``auth`` uses all of the API's keys in another way."""
    auth, credential, secret = around.auth_of(api), "key", "key"
    if auth and {*around.keys_of(api)} <= set(PLACEHOLDER.findall(" ".join(str(text) for _, text in auth))):
        credential, secret = auth.credential
    it = "it" if credential == secret else f"its {secret}"
    return {"credential": credential, "secret": secret, "it": it}


def _key_commands(head: Stuck, around: Around) -> str:
    """Return how a new key gets there, and how that is proven."""
    keys = around.keys_of(head.api)
    if not keys and around.auth_of(head.api):
        return f"correct [api] auth, then {command_line('deploy')}"
    if not keys:
        return f"put the key into [api] headers and keys, then {command_line('deploy')}"
    steps = set_commands(keys)
    if around.longest is not None and around.running:
        return f"{steps}; {within(around.longest)}, with the new key"
    after = _after_pause(head, around)
    return f"{steps}, then{after and f', {after},'} {command_line('drain --count 1')}"


def breaker_problem(found: OpenBreaker, around: Around) -> Problem:
    """Say that functions call the API no more, and when they do again."""
    api, status = found.api or _THE_API, f"HTTP {found.http_status}" if found.http_status else ""
    why = status or found.error or "no answer"
    where = "" if found.functions == 1 else f" in up to {found.functions} functions"
    times = f" {found.failures} times in a row" if found.failures and found.failures > 1 else ""
    if not around.running:
        means = "the worker does not run, and calls nothing; all messages keep their places"
        step = f"have {api} fixed; it is called again when the worker runs again"
    elif found.until is None:
        means = "the run ended early, and all of its messages keep their places"
        step = f"wait, or have {api} fixed: the next run tries again"
    else:
        at = f"{found.until.astimezone(UTC):%H:%M:%S} UTC"
        if found.until <= around.now:
            call = f"a call was due at {at}, and the log does not show yet what it met"
        elif found.functions > 1:
            call = f"each lets one call through after its pause, the last at {at}"
        else:
            call = f"no call until {at}, then one"
        means = f"{call}; its success closes it"
        step = f"wait, or have {api} fixed: the functions try again by themselves"
    return Problem(
        "warning",
        f"the breaker is open{where} for {rough(around.now - found.since)}: {api} failed{times}, last: {why}",
        step,
        means=means,
        avoid=_KEEP,
        cause_of="messages",
    )
