"""Reading a log group."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from botocore.stub import Stubber

from fifo_cli.aws.logs import LogEvent, MissingLogGroup, get_log_events
from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.errors import AwsError

SINCE = datetime(2026, 1, 2, tzinfo=UTC)
PAGE = 3_000
ASKED = {"logGroupName": "g", "startTime": 1_767_312_000_000, "limit": PAGE}


@pytest.fixture
def aws() -> Aws:
    return Aws(AwsEndpoint(local=True))


@pytest.fixture
def stub(aws: Aws) -> Iterator[Stubber]:
    with Stubber(aws.client("logs")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def test_every_page_is_read_empty_ones_too(aws: Aws, stub: Stubber) -> None:
    stub.add_response("filter_log_events", {"events": [], "nextToken": "t"}, ASKED)
    stub.add_response(
        "filter_log_events",
        {"events": [{"eventId": "1", "timestamp": 5, "message": "m"}]},
        {**ASKED, "nextToken": "t"},
    )

    assert list(get_log_events(aws, "g", since=SINCE)) == [LogEvent("1", 5, "m")]


def test_a_text_is_asked_for_as_a_phrase_and_looked_for_exactly(aws: Aws, stub: Stubber) -> None:
    events = [{"timestamp": 5, "message": 'say "Hi\\'}, {"timestamp": 6, "message": 'SAY "HI\\'}]
    stub.add_response("filter_log_events", {"events": events}, {**ASKED, "filterPattern": '"\\"Hi\\\\"'})

    found = list(get_log_events(aws, "g", since=SINCE, text='"Hi\\'))

    assert found == [LogEvent('5:say "Hi\\', 5, 'say "Hi\\')]


def test_a_missing_group_is_reported_apart_from_a_refusal(aws: Aws, stub: Stubber) -> None:
    stub.add_client_error("filter_log_events", "ResourceNotFoundException", "no group")
    with pytest.raises(MissingLogGroup):
        list(get_log_events(aws, "g", since=SINCE))

    stub.add_client_error("filter_log_events", "AccessDeniedException", "no")
    with pytest.raises(AwsError, match="log group g: permission denied"):
        list(get_log_events(aws, "g", since=SINCE))


def test_a_time_before_the_epoch_is_the_epoch(aws: Aws, stub: Stubber) -> None:
    stub.add_response("filter_log_events", {"events": []}, {**ASKED, "startTime": 0})

    assert list(get_log_events(aws, "g", since=datetime(1900, 1, 1, tzinfo=UTC))) == []


def test_behind_a_full_page_that_claims_to_be_the_last_one_is_looked(aws: Aws, stub: Stubber) -> None:
    """As the embedded stack answers: as many as were asked for, and no token."""
    full = [{"eventId": str(n), "timestamp": n, "message": "m"} for n in range(1, PAGE + 1)]
    rest = [{"eventId": str(n), "timestamp": PAGE, "message": "m"} for n in (PAGE, PAGE + 1)]
    stub.add_response("filter_log_events", {"events": full}, {**ASKED, "startTime": 0})
    stub.add_response("filter_log_events", {"events": rest}, {**ASKED, "startTime": PAGE})

    found = list(get_log_events(aws, "g", since=datetime(1970, 1, 1, tzinfo=UTC)))

    assert [event.id for event in found] == [str(n) for n in range(1, PAGE + 2)]


def test_a_full_page_of_one_moment_does_not_go_round_in_circles(aws: Aws, stub: Stubber) -> None:
    full = [{"eventId": str(n), "timestamp": 7, "message": "m"} for n in range(PAGE)]
    for start in (0, 7):
        stub.add_response("filter_log_events", {"events": full}, {**ASKED, "startTime": start})

    assert len(list(get_log_events(aws, "g", since=datetime(1970, 1, 1, tzinfo=UTC)))) == PAGE


def test_an_event_shows_its_log_stream(aws: Aws, stub: Stubber) -> None:
    event = {"eventId": "1", "timestamp": 5, "message": "m", "logStreamName": "drain/host/1"}
    stub.add_response("filter_log_events", {"events": [event]}, ASKED)

    assert list(get_log_events(aws, "g", since=SINCE)) == [LogEvent("1", 5, "m", "drain/host/1")]


def test_only_streams_with_a_prefix_are_read_whatever_the_service_returns(aws: Aws, stub: Stubber) -> None:
    events = [
        {"eventId": name, "timestamp": 5, "message": "m", "logStreamName": name}
        for name in ("drain/host/1", "2026/11/23/[1]aa1f")
    ]
    stub.add_response("filter_log_events", {"events": events}, {**ASKED, "logStreamNamePrefix": "drain/"})

    found = list(get_log_events(aws, "g", since=SINCE, prefix="drain/"))
    assert [one.id for one in found] == ["drain/host/1"]


def test_lines_with_a_word_as_their_message_are_asked_for_as_json(aws: Aws, stub: Stubber) -> None:
    """An emulator ignores such a pattern, and returns all lines."""
    texts = ['{"message": "failed"}', '{"message": "run ended"}']
    events = [{"eventId": text, "timestamp": 1, "message": text} for text in texts]
    stub.add_response(
        "filter_log_events",
        {"events": events},
        {**ASKED, "filterPattern": '{ $.message = "failed" }'},
    )

    found = list(get_log_events(aws, "g", since=SINCE, word="failed"))

    assert [event.text for event in found] == ['{"message": "failed"}']


def test_no_further_page_is_asked_for_when_there_is_enough(aws: Aws, stub: Stubber) -> None:
    """Pages may be empty for long: AWS looks through 1 MB for each."""
    stub.add_response("filter_log_events", {"events": [], "nextToken": "t"}, {**ASKED})

    assert list(get_log_events(aws, "g", since=SINCE, enough=lambda: True)) == []
