"""What a peek is asked for."""

from __future__ import annotations

import pytest

from fifo_cli.operations.queues.peek import _Matcher
from tests.unit.operations.fault_model import message


@pytest.mark.parametrize(
    ("expression", "shown"),
    [("body.total", True), ("`0`", True), ("body.note", False), ("body.lines", False), ("nix", False)],
)
def test_a_filter_s_truth_is_jmespath_s_where_0_is_true(expression: str, shown: bool) -> None:
    matches = _Matcher(None, expression)
    assert matches(message("m1", body='{"total": 0, "note": "", "lines": []}')) is shown
    assert matches.failures == {}


def test_a_comparison_that_cannot_be_made_is_a_failure_and_the_message_is_not_shown() -> None:
    matches = _Matcher(None, "body.n > '3'")
    assert not matches(message("m1", body='{"n": 7}'))
    assert list(matches.failures) == ["m1"]
