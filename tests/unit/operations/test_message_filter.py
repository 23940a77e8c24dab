"""Which messages a command is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fifo_cli.model.message import Attribute
from fifo_cli.operations.transfer.message_filter import MessageFilter
from tests.unit.operations.fault_model import message

REFUND = replace(
    message("m1", "g1", '{"type": "refund", "lines": []}'),
    receives=4,
    attributes={"event_id": Attribute("String", "e1")},
)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("body.type == 'refund' && receives > `3`", True),
        ("body.type == 'refund' && receives > `4`", False),
        ("attributes.event_id.value == 'e1'", True),
        ("body.type", True),
        ("body.lines", False),
        ("body.nothing.here", False),
        ("receives", True),
        ("`0`", True),
    ],
)
def test_a_filter_sees_the_message_with_its_body_parsed_and_jmespath_s_truth(
    expression: str, expected: bool
) -> None:
    assert MessageFilter(expression=expression)(REFUND) is expected


@pytest.mark.parametrize(
    ("expression", "shown"),
    [("body.total", True), ("`0`", True), ("body.note", False), ("body.lines", False), ("nix", False)],
)
def test_a_filter_s_truth_is_jmespath_s_where_0_is_true(expression: str, shown: bool) -> None:
    selection = MessageFilter(expression=expression)
    assert selection(message("m1", body='{"total": 0, "note": "", "lines": []}')) is shown
    assert selection.failures == 0


def test_a_body_that_is_not_json_is_a_string_to_a_filter() -> None:
    assert MessageFilter(expression="body == 'plain'")(message("m1", body="plain"))


def test_a_message_on_which_the_expression_fails_is_not_asked_for_and_counted() -> None:
    selection = MessageFilter(expression="length(body.type) > `3`")
    assert selection(REFUND)
    assert not selection(message("m2", body='{"type": 7}'))
    assert selection.failures == 1


def test_all_that_is_given_must_hold() -> None:
    assert MessageFilter(ids=frozenset({"m1", "m2"}), group="g1")(REFUND)
    assert not MessageFilter(ids=frozenset({"m2"}), group="g1")(REFUND)
    assert not MessageFilter(ids=frozenset({"m1"}), group="g2")(REFUND)
    assert MessageFilter().everything
    assert not MessageFilter(group="").everything


def test_a_comparison_that_cannot_be_made_is_a_failure_too() -> None:
    selection = MessageFilter(expression="body.n > '3'")
    assert not selection(message("m1", body='{"n": 7}'))
    assert selection.failures == 1
    assert "not supported between" in selection.first_failure
