"""Which release a rollback goes back to, by the versions of both functions."""

from __future__ import annotations

import pytest

from fifo_cli.errors import UsageError
from fifo_cli.operations.deploy.rollback import Numbers, previous_release

FIRST: Numbers = {"enqueuer": 1, "worker": 1}
SECOND: Numbers = {"enqueuer": 2, "worker": 3}  # one of the worker was published by hand


def test_the_release_before_the_live_one_is_gone_back_to() -> None:
    assert previous_release([FIRST, SECOND], SECOND) == FIRST


def test_a_version_that_only_one_function_has_is_named_with_the_other_ones() -> None:
    with pytest.raises(UsageError) as refused:
        previous_release([SECOND], SECOND)

    assert str(refused.value.hint).startswith("versions that both functions have: 3 (enqueuer 2);")
