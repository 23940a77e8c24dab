"""Words of ours are shown as they are, also where a key is like them; in what others say, keys are hidden."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fifo_cli.handlers.delivery import ApiDelivery, Verdict
from fifo_cli.handlers.failure import ConfigurationError, ending, shown
from fifo_cli.handlers.message_turn import MessageTurns
from fifo_cli.handlers.pace import Pace
from fifo_cli.handlers.run_report import Report
from fifo_cli.handlers.visibility import MainQueue
from fifo_cli.handlers.worker import _ended
from fifo_cli.model.settings import Settings
from fifo_cli.operations.queues.drain import _explained
from tests.encodings import ENCODINGS
from tests.fakes import Clock, FakeSqs
from tests.unit.handlers.test_api_auth import BASIC, with_auth
from tests.unit.handlers.test_delivery import FakeSsm, held
from tests.unit.handlers.test_oauth_token import AUTH
from tests.unit.plain_api import no_breaker

# Each is like something that a reason has: the name of a text, a host, a status, a word of ours.
ALIKE = (
    "client-id-40917-x",
    "us:er-name",
    "login.test-4402",
    "api.test/orders#1",
    "HTTP 500 from api",
    "no call to api.te",
    "refused it: HTTP 4",
    "configurationerror",
    "client_secret7731",
    "no-token-from-login",
    "invalid_client-77",
)


def shown_everywhere(made: ApiDelivery, error: BaseException) -> list[str]:
    """Return how the log, `drain` and `drain --via lambda` show what ended a run."""
    report = Report(error=error)
    explained = _explained(error, made.redact, Settings.model_construct(api=()))
    assert explained is not None
    texts = [
        json.dumps(ending(error, made.redact)),
        json.dumps(report.facts(made.redact)),
        shown(error, made.redact),
        explained.message,
        json.dumps(_ended(report, made.redact, {})),
    ]
    with pytest.raises(Exception) as caught:  # noqa: PT011 - its text is what counts
        _ended(report, made.redact, None)
    return [*texts, str(caught.value)]


@pytest.mark.parametrize("value", ALIKE)
def test_a_refused_client_is_named_also_where_its_id_is_like_the_words_for_it(value: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"error": "invalid_client", "error_description": f"no {value}!"})

    made = with_auth(answer, AUTH, FakeSsm(id=value, secret=value))
    with pytest.raises(ConfigurationError) as caught:
        made.attempt(held())
    for text in shown_everywhere(made, caught.value):
        assert "[api] auth: client_id, client_secret" in text
        assert "login.test refused it: HTTP 401 invalid_client" in text
        assert f"no {value}!" not in text


def test_a_user_name_with_a_colon_is_named_whatever_it_is() -> None:
    made = with_auth(
        lambda request: httpx.Response(200), BASIC, FakeSsm(user="us:er-name", password="pass-1")
    )
    with pytest.raises(ConfigurationError) as caught:
        made.attempt(held())
    for text in shown_everywhere(made, caught.value):
        assert "[api] auth: username" in text
        assert "it has a colon" in text
        assert "us:er-name" not in text


@pytest.mark.parametrize("value", ALIKE)
@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_status_and_api_are_shown_and_the_key_in_the_answer_is_not(
    value: str, encode: Callable[[str], str]
) -> None:
    said = encode(f"the key was {value}")
    made = with_auth(
        lambda request: httpx.Response(500, text=said), {**BASIC, "username": "x"}, FakeSsm(password=value)
    )
    reason = made.attempt(held()).error or ""
    assert reason.startswith("HTTP 500 from api.test: ")
    assert value not in reason.removeprefix("HTTP 500 from api.test: ")
    assert said not in reason


@pytest.mark.parametrize("value", ALIKE)
def test_what_is_parked_and_logged_has_the_reason_and_not_the_key(value: str) -> None:
    def code(body: Any, attributes: Any, keys: Any) -> httpx.Request:
        raise ValueError(f"cannot use {keys['password']}")

    made = with_auth(
        lambda request: httpx.Response(200), BASIC, FakeSsm(user="shop", password=value), code=code
    )
    lines: list[dict[str, Any]] = []
    sqs: Any = FakeSqs(Clock(), "main", "dlq")
    sqs.send_message(QueueUrl="main", MessageBody="{}", MessageGroupId="g", MessageDeduplicationId="d")
    queue, report = MainQueue(sqs, "main", needs=15), Report()
    (message,) = queue.receive(1, wait=False)
    turns = MessageTurns(
        sqs,
        "dlq",
        queue,
        made,
        report,
        journal=lambda level, word, **facts: lines.append(facts),
        breaker=no_breaker(),
        pace=Pace(None, calls=1, patience=0, clock=Clock()),
    )
    attempt = turns.attempt(message, time_left=lambda: 60.0)
    assert attempt.verdict is Verdict.PERMANENT
    turns.conclude(message, attempt, 1)
    (parked,) = sqs.queues["dlq"].messages
    texts = [report.results[0].error, lines[-1]["reason"], parked.attributes["park_reason"]["StringValue"]]
    for text in texts:
        assert text.startswith("m:f raised ")
        assert value not in text.removeprefix("m:f raised ")
    turns.end_early(ConfigurationError("[api] auth: client_id", "it is unusable", value))
    assert (lines[-1]["what"], lines[-1]["reason"][:12]) == ("[api] auth: client_id", "it is unusab")
    assert value not in json.dumps(lines[-1])
