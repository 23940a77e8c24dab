"""Advice follows the cause: what each failure means, what to do first, what not to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fifo_cli.model.advice import Snapshot, advise
from fifo_cli.model.auth_settings import read_auth
from fifo_cli.model.health import Maintenance, Measurements, Problem
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.settings import Settings
from fifo_cli.model.stuck_advice import Case, Kind, advice_of, kind_of
from fifo_cli.model.worker_log import Batch, Batches, Runs, Stuck, StuckGroups, WatchEvent, WorkerRun, follow

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
SETTINGS = Settings.model_validate(
    {
        "pipeline": {"name": "orders"},
        "table": {"name": "orders"},
        "api": [
            {"name": "shop", "url": "https://shop.test", "keys": {"api_key": "/k"}},
            {"name": "bills", "url": "https://bills.test", "keys": {"a": "/a", "b": "/b"}},
            {"name": "plain", "url": "https://plain.test"},
        ],
    }
)
PARK = "`fifo-cli park --group"


def status(code: int, api: str = "shop", **facts: Any) -> dict[str, Any]:
    return {"http_status": code, "reason": f"HTTP {code} from {api}", "api": api, "owner": "api", **facts}


def unanswered(error: str) -> dict[str, Any]:
    return {"reason": f"no answer from shop: {error}: x", "error_type": error, "api": "shop", "owner": "api"}


def history(*runs: str, **failures: dict[str, Any]) -> tuple[WatchEvent, ...]:
    """Return the events of runs, a minute apart: "ada- bob+ eve!" is one in which ada's head failed, bob's
    was delivered and eve's was parked. ``failures`` are how a group's messages fail.
    """
    events = []
    for number, run in enumerate(runs):
        at = NOW - timedelta(minutes=len(runs) - number)
        for place, word in enumerate(run.split()):
            time, group = at + timedelta(milliseconds=place), word[:-1]
            facts = failures.get(group) or failures.get("every") or status(503)
            fate: Any = {"-": "failed", "+": "delivered", "!": "parked"}[word[-1]]
            shown = facts if fate == "failed" else {}
            events.append(WatchEvent(time, fate, group, f"head of {group}", **shown))
        events.append(WatchEvent(at + timedelta(seconds=1), "run ended", delivered=run.count("+")))
    return tuple(events)


def problems(
    events: tuple[WatchEvent, ...],
    waits: int = 9,
    given: Settings = SETTINGS,
    *,
    patient: bool = False,
    **measured: Any,
) -> list[Problem]:
    """Return what status says of a pipeline with such a log."""
    found = Measurements(
        queues={"main": Counted("m", waits, 0, 0)}, **{"worker": "running", "enqueuer": "running", **measured}
    )
    runs = [WorkerRun(one.time, 1, one.delivered, 0, 1) for one in events if one.fate == "run ended"]
    stuck = follow(StuckGroups(), events).stuck
    return list(advise(Snapshot(given, found, NOW, runs=Runs(tuple(runs[::-1]), stuck), patient=patient)))


HANGS = {"reason": "no call to shop: orders:f did not return within 5 s", "api": "shop", "owner": "api"}
STORIES: list[tuple[str, tuple[WatchEvent, ...], str, str, str]] = [
    # name, history, what it means, the beginning of what to do first, the beginning of what not to do
    (
        "all groups at 503",
        history("ada- bob- eve-"),
        "shop is down: nothing is delivered meanwhile",
        "wait, or have shop fixed: each run tries again, and order is kept",
        "park: the messages are good",
    ),
    (
        "all at 503, then drain --count 1 looks at one",
        history("ada- bob- eve-", "ada-"),
        "shop is down: nothing is delivered meanwhile",
        "wait",
        "park",
    ),
    (
        "all at 503, and drain --count 1 three times",
        history("ada- bob- eve-", "ada-", "ada-", "ada-"),
        "shop is down",
        "wait",
        "park",
    ),
    ("all at 500", history("ada- bob-", every=status(500)), "shop is down", "wait", "park"),
    (
        "502, 503 and 504 of one outage",
        history("ada- bob- eve-", ada=status(502), bob=status(503), eve=status(504)),
        "shop is down",
        "wait",
        "park",
    ),
    (
        "an outage that began in the middle of a run",
        history("zoe+ ada- bob-", "ada- bob-"),
        "shop is down",
        "wait",
        "park",
    ),
    (
        "one group alone at 500",
        history("ada- bob+ eve+", every=status(500)),
        "shop takes other groups' messages, and fails on this one",
        "`fifo-cli park --group ada` sets this message aside, and its group goes on",
        "redrive it before shop is fixed",
    ),
    (
        "one group alone at 503",
        history("ada- bob+", "ada- eve+"),
        "shop takes other",
        f"{PARK} ada`",
        "redrive",
    ),
    (
        "one group alone, then drain --count 1 twice",
        history("ada- bob+", "ada-", "ada-"),
        "shop takes other",
        f"{PARK} ada`",
        "redrive",
    ),
    (
        "one group, and others were delivered before it only",
        history("bob+ eve+ ada-", every=status(500)),
        "others were delivered before it failed: shop went down since, or fails on this message",
        "`fifo-cli drain --count 1` tries it again; if shop is well, `fifo-cli park --group ada`",
        "park before you know that shop is well",
    ),
    (
        "the only group at 503",
        history("all-", "all-"),
        "shop is down",
        "wait",
        "park",
    ),
    (
        "the only group at 500",
        history("all-", "all-", every=status(500)),
        "no other group was tried, so nothing shows whether shop or this message is at fault",
        "ask whether shop is well, and wait",
        "park: if shop is down, this message is good",
    ),
    (
        "several groups with the same status while others are delivered",
        history("ada- bob- eve+ zoe+", "ada- bob- eve+"),
        "shop fails for 2 groups, and takes messages of others",
        "`fifo-cli logs worker --since 15m`: what do they have in common?",
        "park one after the other before you know",
    ),
    (
        "others were delivered between the failures of two groups, and none was tried again",
        history("ada-", "eve+ bob-"),
        "shop took a message between the failures of 2 groups: it fails now and then, or on these",
        "wait: each run tries again, and order is kept; `fifo-cli logs worker --since 15m`",
        "park before these failed again",
    ),
    (
        "the same, and then one of them failed again",
        history("ada-", "eve+ bob-", "ada- bob-"),
        "shop fails for 2 groups, and takes messages of others",
        "`fifo-cli logs worker --since 15m`: what do they have in common?",
        "park one after the other before you know",
    ),
    (
        "blocked at the head of two groups, and others were delivered between",
        history("ada-", "eve+ bob-", every=status(422, owner="message")),
        'shop refuses it for good, and on_permanent = "block"',
        "`fifo-cli peek --count 1 --group ada`",
        "wait: shop gives the same answer each time",
    ),
    (
        "a key that was changed",
        history("ada+ bob+", "ada- bob-", every=status(401)),
        "shop refuses the key: it was changed or has expired",
        "`fifo-cli keys set api_key`, then `fifo-cli drain --count 1`",
        "park",
    ),
    (
        "a key that was changed, one group",
        history("all+", "all-", every=status(403)),
        "shop refuses the key",
        "`fifo-cli keys set api_key`",
        "park",
    ),
    (
        "a key that was changed in the middle of a run",
        history("bob+ ada-", every=status(401)),
        "shop refuses the key",
        "`fifo-cli keys set api_key`",
        "park",
    ),
    (
        "one of several keys",
        history("ada- bob-", every=status(401, "bills")),
        "bills refuses the key",
        "`fifo-cli keys set a` and `fifo-cli keys set b`",
        "park",
    ),
    (
        "no key at all",
        history("ada- bob-", every=status(401, "plain")),
        "plain refuses the key",
        "put the key into [api] headers and keys, then `fifo-cli deploy`",
        "park",
    ),
    (
        "403 for one group only, with a key that works for others",
        history("ada- bob+", "ada- eve+", every=status(403)),
        "shop takes other groups' messages with the same key, and refuses this one",
        "`fifo-cli peek --count 1 --group ada` shows the message; `fifo-cli park --group ada`",
        "change the key: it works for others",
    ),
    (
        "timeouts of all",
        history("ada- bob-", every=unanswered("ReadTimeout")),
        "shop does not answer within [api] timeout",
        "wait: each run tries again",
        "park: shop may have taken them",
    ),
    (
        "a timeout of one",
        history("ada- bob+", every=unanswered("ReadTimeout")),
        "shop answers others in time",
        "raise [api] timeout, then `fifo-cli deploy`; or `fifo-cli park",
        "redrive",
    ),
    (
        "no network",
        history("ada- bob-", every=unanswered("ConnectError")),
        "shop cannot be reached",
        "wait",
        "park",
    ),
    (
        "too many calls",
        history("ada- bob-", every=status(429)),
        "shop takes no more calls for now",
        "wait",
        "drain without --max-rate",
    ),
    (
        "an API that moved",
        history("ada- bob-", every=status(301)),
        "shop is at another address",
        "set [api] url to that address, then `fifo-cli deploy`",
        "park",
    ),
    (
        "a success that is not listed",
        history("ada- bob+", every=status(207)),
        "shop answered 207, which [api] success does not list",
        "add 207 to [api] success",
        "wait",
    ),
    (
        "a refusal that is not listed",
        history("ada- bob-", every=status(405)),
        "shop refuses every message with 405",
        "check [api] url, method and headers",
        "park",
    ),
    (
        "blocked at the head",
        history("ada- bob-", every=status(422, owner="message")),
        'shop refuses it for good, and on_permanent = "block"',
        "`fifo-cli peek --count 1 --group ada`",
        "wait",
    ),
    (
        "code that did not reach its token endpoint",
        history("ada- bob-", every={"reason": "no call to shop: orders:f raised OSError", "owner": "api"}),
        "your code did not reach what it calls",
        "wait",
        "park",
    ),
    (
        "code that loops for all",
        history("ada- bob-", every=HANGS),
        "your code does not return: it loops, or waits for something without a time limit",
        "correct [handlers] request, then `fifo-cli deploy`",
        "park",
    ),
    (
        "code that loops for one",
        history("ada- bob+", "ada- bob+", every=HANGS),
        "your code returns for other groups' messages",
        "`fifo-cli peek --count 1 --group ada` shows the message; correct [handlers] request",
        "raise [functions] timeout",
    ),
    (
        "code that loops for some",
        history("ada- bob- eve+", "ada- bob- eve+", every=HANGS),
        "your code does not return",
        "correct [handlers] request",
        "park",
    ),
    (
        "a defect of ours",
        history("ada- bob-", every={"reason": "internal error: x", "owner": "program"}),
        "this program or AWS failed",
        "`fifo-cli logs worker --since 15m` shows more",
        "park",
    ),
    (
        "a line without a reason",
        history("ada- bob-", every={"reason": ""}),
        "no reason was logged",
        "`fifo-cli logs worker --since 15m` shows each attempt",
        "park",
    ),
    (
        "the API is back, and drain --count 1 delivered one",
        history("ada- bob- eve-", "ada+"),
        "shop answers again: other groups were delivered since this was tried",
        "`fifo-cli drain --all` delivers what waits now",
        "park: the next try may deliver it",
    ),
]


@pytest.mark.parametrize(
    ("events", "means", "first", "avoid"), [pytest.param(*rest, id=name) for name, *rest in STORIES]
)
def test_the_first_advice_is_that_of_the_cause(
    events: tuple[WatchEvent, ...], means: str, first: str, avoid: str
) -> None:
    found = problems(events)[0]

    assert "waits for its head" in found.text
    assert (found.means or "").startswith(means)
    assert found.next.startswith(first)
    assert (found.avoid or "").startswith(avoid)


@pytest.mark.parametrize(("kind", "case"), list(product(Kind, Case)))
def test_every_cause_has_a_line_and_parks_only_beside_groups_that_are_delivered(
    kind: Kind, case: Case
) -> None:
    advice = advice_of(kind, case)

    assert all(advice)
    if "{park}" in advice.first:
        assert case in (Case.ALONE, Case.UNSURE, Case.SOME)


def with_auth(kind: str, **texts: str) -> Settings:
    """Return settings whose API "shop" authenticates in a way of this kind."""
    table, _ = read_auth({"type": kind, **texts}, ("api", 0, "auth"))
    shop, *others = SETTINGS.api
    return SETTINGS.model_copy(update={"api": (shop.model_copy(update={"auth": table}), *others)})


TOKENS = with_auth("oauth2", token_url="https://l", client_id="c", client_secret="{api_key}")
CERTIFICATES = with_auth("mtls", certificate="{api_key}", key="{api_key}")
SIGNED = with_auth("hmac", secret="{api_key}", header="X")
WEBHOOKS = with_auth("standard-webhooks", secret="{api_key}")
LITERAL = with_auth("hmac", secret="s3cret", header="X")
OWN_CA = with_auth("mtls", certificate="{api_key}", key="{api_key}", ca="{api_key}")


def without_keys(given: Settings) -> Settings:
    shop, *others = given.api
    return given.model_copy(update={"api": (shop.model_copy(update={"keys": {}}), *others)})


def without_token(why: str) -> dict[str, Any]:
    return {"reason": f"no call to shop: no token from login.test{why}", "api": "shop", "owner": "api"}


UNTRUSTED = {
    **unanswered("ConnectError"),
    "reason": "no answer from shop: ConnectError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed",
}


def not_strict(why: str) -> dict[str, Any]:
    return {**UNTRUSTED, "reason": f"{UNTRUSTED['reason']}: {why} (_ssl.c:1032)"}


@pytest.mark.parametrize(
    ("given", "runs", "every", "means", "first"),
    [
        (TOKENS, "ada- bob-", status(401), "shop refuses tokens that", "ask what the client"),
        (TOKENS, "bob+ ada-", status(403), "shop refuses tokens that", "ask what the client"),
        (TOKENS, "ada- bob-", status(401, "bills"), "bills refuses the key", "`fifo-cli keys set a`"),
        (TOKENS, "ada- bob-", status(503), "shop is down", "wait"),
        (
            CERTIFICATES,
            "ada- bob-",
            status(401),
            "shop refuses the client certificate: it was changed",
            "`fifo-cli keys set api_key`",
        ),
        *(
            (
                given,
                "ada- bob-",
                status(403),
                "shop refuses the signature: its secret was changed or has expired",
                "`fifo-cli keys set api_key`",
            )
            for given in (SIGNED, WEBHOOKS)
        ),
        # A key that its auth does not use may be what is refused.
        (LITERAL, "ada- bob-", status(401), "shop refuses the key: it was", "`fifo-cli keys set api_key`"),
        (
            without_keys(LITERAL),
            "ada- bob-",
            status(401),
            "shop refuses the signature: its secret",
            "correct [api] auth, then `fifo-cli deploy`",
        ),
        (
            CERTIFICATES,
            "ada- bob-",
            UNTRUSTED,
            "the certificate of shop is not",
            "if its CA is its own, name",
        ),
        (SETTINGS, "ada- bob-", UNTRUSTED, "the certificate of shop is not", "if its CA is its own, only"),
        (
            OWN_CA,
            "ada- bob-",
            UNTRUSTED,
            "the certificate of shop is not",
            "if its CA is its own, or a new one: `fifo-cli keys set api_key`",
        ),
        *(
            (
                OWN_CA,
                runs,
                not_strict(why),
                "the certificate of shop, or one that signed it, is not as RFC 5280 asks",
                "have its CA issue it again without that fault; until then, set [functions] runtime ="
                ' "python3.12", then `fifo-cli deploy`',
            )
            for runs, why in (
                ("ada- bob-", "Missing Authority Key Identifier"),
                ("bob+ ada-", "Missing Authority Key Identifier"),
                ("ada- bob-", "Missing Subject Key Identifier"),
                ("ada- bob-", "Basic Constraints of CA cert not marked critical"),
                ("ada- bob-", "CA cert does not include key usage extension"),
            )
        ),
        *(
            (OWN_CA, "ada- bob-", not_strict(why), "the certificate of shop is not trusted", "if its CA is")
            for why in (
                "unable to get local issuer certificate",
                "certificate has expired",
                "Hostname mismatch, certificate is not valid for 'shop'.",
            )
        ),
        (TOKENS, "ada- bob-", without_token(" in time: x"), "the token endpoint is slow", "wait"),
        (TOKENS, "bob+ ada-", without_token(": HTTP 404"), "the token endpoint is not at", "set [api] auth"),
    ],
)
def test_what_an_apis_authentication_makes_of_a_failure(
    given: Settings, runs: str, every: dict[str, Any], means: str, first: str
) -> None:
    found = problems(history(runs, every=every), given=given)[0]

    assert (found.means or "").startswith(means)
    assert found.next.startswith(first)
    if every is UNTRUSTED:
        assert ("[api] auth ca, then `fifo-cli deploy`" in found.next) is (given is CERTIFICATES)
    if "refuses tokens" in means:
        assert "[api] auth scope and audience, then `fifo-cli deploy`" in found.next
        assert "keys set" not in found.next


def test_a_signature_that_one_message_alone_is_refused_for_is_made_of_a_good_secret() -> None:
    found = problems(history("ada- bob+", "ada- eve+", every=status(403)), given=SIGNED)[0]

    assert found.means == "shop takes other groups' messages with the same secret, and refuses this one"
    assert found.avoid == "change the secret: it works for others"


def test_check_names_the_reason_of_runs_that_delivered_nothing_before_a_stuck_group_is_a_problem() -> None:
    why = without_token(": HTTP 500")
    events = history("ada- bob-", "ada- bob-", "ada- bob-", every=why)
    found = problems(events, given=TOKENS, patient=True)

    assert [one.text for one in found] == [
        "the worker's last 3 runs delivered nothing: group ada waits for its head:"
        " no call to shop: no token from login.test: HTTP 500 (1 more group waits)"
    ]
    [stuck, _] = problems(events, given=TOKENS)
    assert [(one.means, one.next, one.avoid) for one in found] == [(stuck.means, stuck.next, stuck.avoid)]


def test_a_group_is_quoted_for_the_shell() -> None:
    events = history("ada- bob+")
    strange = tuple(
        WatchEvent(one.time, one.fate, "o'neil & co" if one.group == "ada" else one.group, one.message_id)
        for one in events
    )

    assert any(f"{PARK} 'o'\"'\"'neil & co'`" in one.next for one in problems(strange))


def test_two_outages_at_once_have_a_line_each() -> None:
    found = problems(history("ada- bob- eve-", eve=status(401, "bills")))

    assert [one.text for one in found] == [
        "group ada waits for its head: HTTP 503 from shop (1 more group waits)",
        "group eve waits for its head: HTTP 401 from bills",
    ]
    assert found[1].next.startswith("`fifo-cli keys set a` and `fifo-cli keys set b`")


def before(minutes: int, events: tuple[WatchEvent, ...]) -> tuple[WatchEvent, ...]:
    return tuple(replace(one, time=one.time - timedelta(minutes=minutes)) for one in events)


MANY, KEY = ("ada- bob- eve- zoe-",), status(401)
SLOW, DEAF = unanswered("ReadTimeout"), unanswered("ConnectError")
NEWEST: list[tuple[str, tuple[WatchEvent, ...], list[str], str]] = [
    # name, history, the causes in order, what the second one means
    ("another group, same API", before(9, history(*MANY)) + history("kim-", kim=status(401)),
     ["HTTP 401 from shop", "HTTP 503 from shop"], "not tried since"),
    ("one of the same groups", before(9, history(*MANY)) + history("ada-", ada=status(401)),
     ["HTTP 401 from shop", "HTTP 503 from shop"], "not tried since"),
    ("another API", before(9, history(*MANY)) + history("kim-", kim=status(403, "bills")),
     ["HTTP 403 from bills", "HTTP 503 from shop"], "not tried since"),
    ("the key is set, and now the API is down", before(9, history(*MANY, every=KEY)) + history("ada-"),
     ["HTTP 503 from shop", "HTTP 401 from shop"], "not tried since"),
    ("from a timeout to no network",
     before(9, history(*MANY, every=SLOW)) + history("kim-", kim=DEAF),
     ["no answer from shop: ConnectError: x", "no answer from shop: ReadTimeout: x"], "not tried since"),
    ("a run that delivered others", before(9, history(*MANY)) + history("pia+ kim-", kim=KEY),
     ["HTTP 401 from shop", "HTTP 503 from shop"], "shop answers again"),
    ("both in the last run", before(9, history(*MANY)) + history("kim- ada- bob-", kim=status(401)),
     ["HTTP 503 from shop", "HTTP 401 from shop"], "shop refuses the key"),
    ("a run that has not ended", before(9, history(*MANY)) + history("kim-", kim=status(401))[:-1],
     ["HTTP 401 from shop", "HTTP 503 from shop"], "not tried since"),
    ("three, one after the other",
     before(9, history(*MANY)) + before(5, history("kim-", kim=status(429))) + history("leo-", leo=KEY),
     ["HTTP 401 from shop", "HTTP 429 from shop", "HTTP 503 from shop"], "not tried since"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("events", "causes", "second"), [pytest.param(*rest, id=name) for name, *rest in NEWEST]
)
def test_the_newest_cause_is_named_first_and_an_older_one_may_be_over(
    events: tuple[WatchEvent, ...], causes: list[str], second: str
) -> None:
    found = [one for one in problems(events) if "waits for its head" in one.text]

    assert [one.text.partition(": ")[2].partition(" (")[0] for one in found] == causes
    assert (found[1].means or "").startswith(second)
    assert not any(PARK in one.next for one in found)


def test_the_newest_cause_stays_first_where_an_older_one_has_lasted_for_hours() -> None:
    events = history(*["ada- bob-"] * 90, "eve-", eve=status(401))

    newest, older = (one for one in problems(events) if "waits for its head" in one.text)

    assert (newest.state, newest.next.partition(",")[0]) == ("critical", "`fifo-cli keys set api_key`")
    assert (older.state, older.text.startswith("group ada waits for its head and has failed")) == (
        "critical",
        True,
    )


def test_park_is_advised_for_after_the_maintenance() -> None:
    busy: Any = {"maintenance": Maintenance("redrive by ada")}
    first = problems(history("ada- bob+"), **busy)[0]

    assert first.next.startswith("once the maintenance is over: `fifo-cli park --group ada`")
    assert problems(history("ada- bob-"), **busy)[0].next.startswith("wait, or have shop fixed")


def test_what_is_behind_a_cause_is_reported_without_a_step_of_its_own() -> None:
    found = problems(history(*["ada- bob-"] * 3), waits=20_000)

    assert [(one.state, bool(one.next)) for one in found] == [
        ("critical", True),
        ("critical", False),
        ("warning", False),
    ]
    assert [one.text.split()[0] for one in found] == ["group", "20,000", "the"]
    assert not any(PARK in one.next for one in found)


def test_a_paused_worker_is_resumed_at_once_or_when_the_api_is_back() -> None:
    assert problems((), worker="paused")[0].next == "`fifo-cli resume worker`"

    head, paused = problems(history("ada- bob-"), worker="paused")
    assert head.next.startswith("wait, or have shop fixed: order is kept, and `fifo-cli drain --count 1`")
    assert paused.next == "once a message is delivered again, `fifo-cli resume worker`"


def test_an_enqueuer_that_is_paused_or_fails_comes_before_its_symptom() -> None:
    late = Measurements(worker="running", enqueuer="paused", iterator_age=7200)
    paused, behind = advise(Snapshot(SETTINGS, late, NOW))
    assert (paused.state, paused.next, behind.next) == ("critical", "`fifo-cli resume enqueuer`", "")
    assert (paused.avoid or "").startswith("put the items again")

    failing = Batches((Batch(NOW - timedelta(hours=1), error="KeyError: x", raised=True),))
    well = Measurements(worker="running", enqueuer="running", iterator_age=7200)
    failed, behind = advise(Snapshot(SETTINGS, well, NOW, batches=failing))
    assert (failed.state, failed.next, behind.next) == ("critical", "`fifo-cli logs enqueuer`", "")


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ({"error": "ReadTimeout: The read operation timed out"}, Kind.TIMEOUT),  # of an earlier version
        ({"error": "ConnectError: [Errno 111] Connection refused"}, Kind.NETWORK),
        ({"error": "no answer from x: PoolTimeout: x", "error_type": "PoolTimeout"}, Kind.TIMEOUT),
        (
            {"error": "no answer from x: RemoteProtocolError", "error_type": "RemoteProtocolError"},
            Kind.NETWORK,
        ),
        ({"error": "no call to x: no token from login.test: HTTP 503"}, Kind.TOKEN),
        ({"error": "no call to x: no token from login.test: HTTP 403 404 within 5 s"}, Kind.TOKEN),
        ({"error": "no call to x: no token from login.test: ConnectTimeout: none within 5 s"}, Kind.TOKEN),
        ({"error": "no call to x: no token from login.test in time: it left 0.4 s"}, Kind.TOKEN_LATE),
        ({"error": "no call to x: no token from login.test within 5 s"}, Kind.TOKEN_LATE),
        ({"error": "no call to x: no token from login.test: ReadTimeout: none"}, Kind.TOKEN_LATE),
        ({"error": "no call to x: no token from login.test: HTTP 302"}, Kind.TOKEN_ELSEWHERE),
        ({"error": "no call to x: no token from login.test: HTTP 404 not here"}, Kind.TOKEN_ELSEWHERE),
        ({"error": "no call to x: ConnectError: refused"}, Kind.CODE),
        ({"error": "parking failed: ClientError: x", "owner": "aws"}, Kind.PROGRAM),
        ({"error": "the API answered 503"}, Kind.UNKNOWN),
        ({"http_status": 408}, Kind.UNAVAILABLE),
        ({"http_status": 418}, Kind.REFUSED),
        ({"http_status": 599}, Kind.SERVER),
        ({"http_status": 101}, Kind.UNKNOWN),
        ({"http_status": 429, "owner": "message"}, Kind.BLOCKED),
        ({}, Kind.UNKNOWN),
    ],
)
def test_how_a_head_failed_is_read_from_its_line(head: dict[str, Any], kind: Kind) -> None:
    assert kind_of(Stuck("m", "g", NOW, **head)) is kind


RUNS = st.lists(
    st.lists(st.tuples(st.sampled_from(["ada", "bob", "eve"]), st.sampled_from("-+!")), max_size=5).map(
        lambda words: " ".join(f"{group}{fate}" for group, fate in words)
    ),
    min_size=1,
    max_size=6,
)
FAILURES = st.sampled_from([status(n) for n in (401, 404, 429, 500, 503)] + [unanswered("ReadTimeout")])


@given(RUNS, FAILURES)
def test_a_group_is_stuck_from_its_failure_until_it_moves_and_no_longer(
    runs: list[str], failure: dict[str, Any]
) -> None:
    words = [word for run in runs for word in run.split()]
    last = {word[:-1]: word[-1] for word in words}

    stuck = follow(StuckGroups(), history(*runs, every=failure)).stuck

    assert {one.group for one in stuck} == {group for group, fate in last.items() if fate == "-"}


@given(RUNS, FAILURES)
@example(["bob-", "ada+ ada-"], status(404))
@example(["bob-", "eve+", "ada-"], status(503))
def test_park_is_advised_only_if_another_group_was_delivered_in_a_run_in_which_this_one_failed(
    runs: list[str], failure: dict[str, Any]
) -> None:
    for one in problems(history(*runs, every=failure)):
        if PARK in one.next:
            group = one.next.partition(PARK)[2].partition("`")[0].strip()
            failed = [number for number, run in enumerate(runs) if f"{group}-" in run]
            between = " ".join(runs[failed[0] : failed[-1] + 1]).split()
            assert any(word.endswith("+") and word[:-1] != group for word in between), (runs, one)


@given(RUNS, FAILURES, st.integers(0, 40))
def test_events_may_come_in_any_pieces(runs: list[str], failure: dict[str, Any], cut: int) -> None:
    events = history(*runs, every=failure)

    whole = follow(StuckGroups(), events)

    assert follow(follow(StuckGroups(), events[:cut]), events[cut:]) == whole
    assert follow(whole, events[:-1]).stuck == whole.stuck, "a line that comes late changes nothing"


@pytest.mark.parametrize(
    ("measured", "first"),
    [
        ({"dlq": 1}, "1 message in the DLQ"),
        ({"worker": "paused"}, "the worker is paused"),
        ({"enqueuer": "paused"}, "the enqueuer is paused; the stream forgets a record after 24 h"),
        ({}, "not as in fifo.toml"),
    ],
)
def test_drift_is_advised_on_after_what_holds_up_messages(measured: dict[str, Any], first: str) -> None:
    facts = dict(measured)
    queues: Any = {"dlq": Counted("orders-dlq.fifo", facts.pop("dlq", 0), 0, 0)}
    drift = Problem("warning", "not as in fifo.toml", "`fifo-cli plan`")

    found = advise(Snapshot(SETTINGS, Measurements(queues=queues, **facts), NOW, others=(drift,)))

    assert found[0].text == first
    assert drift in found


def test_what_is_missing_is_advised_on_first() -> None:
    missing = Problem("critical", "missing: function orders-worker", "`fifo-cli deploy`")
    measured = Measurements(missing=("orders-hold.fifo",))

    assert advise(Snapshot(SETTINGS, measured, NOW, others=(missing,)))[0] == missing
