from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from fifo_cli.events import silent
from fifo_cli.model.prove_result import Check, CheckVerdict
from fifo_cli.operations.prove.pipeline import CheckFailed, NotOfferedError
from fifo_cli.operations.prove.prove import STEPS, Checks, PlannedCheck, selected
from fifo_cli.operations.prove.receiver import ReceiverError, UnreachableError

CONTEXT: Any = SimpleNamespace()


def passes(context: Any) -> str:
    return "fine"


def fails(context: Any) -> str:
    raise CheckFailed("what was expected did not happen")


def is_not_offered(context: Any) -> str:
    raise NotOfferedError("the service does not know it")


def breaks(context: Any) -> str:
    raise ValueError("a defect")


def is_interrupted(context: Any) -> str:
    raise KeyboardInterrupt


def verdicts(
    *steps: PlannedCheck, interrupted: Callable[[], bool] = lambda: False, context: Any = CONTEXT
) -> dict[str, Check]:
    checks = Checks(steps, context, silent, interrupted)
    with suppress(KeyboardInterrupt):
        checks.run_all()
    return {one.name: one for one in checks.verdicts()}


def test_each_outcome_has_its_verdict():
    found = verdicts(
        PlannedCheck("a", passes, ()),
        PlannedCheck("b", fails, ()),
        PlannedCheck("c", is_not_offered, ()),
        PlannedCheck("d", breaks, ()),
    )
    assert {name: one.verdict for name, one in found.items()} == {
        "a": CheckVerdict.PASSED,
        "b": CheckVerdict.FAILED,
        "c": CheckVerdict.NOT_OFFERED,
        "d": CheckVerdict.FAILED,
    }
    assert found["b"].detail == "what was expected did not happen"
    assert found["d"].detail == "internal error: ValueError: a defect"


def test_what_needs_a_failed_check_is_not_run_and_not_failed():
    found = verdicts(
        PlannedCheck("a", fails, ()),
        PlannedCheck("b", passes, ("a",)),
        PlannedCheck("c", passes, ("b",)),
        PlannedCheck("d", passes, ()),
    )
    assert [one.verdict for one in found.values()] == [
        CheckVerdict.FAILED,
        CheckVerdict.NOT_RUN,
        CheckVerdict.NOT_RUN,
        CheckVerdict.PASSED,
    ]
    assert found["c"].detail == "it needs b"


def test_what_needs_a_check_that_is_not_offered_runs():
    found = verdicts(PlannedCheck("a", is_not_offered, ()), PlannedCheck("b", passes, ("a",)))
    assert found["b"].verdict is CheckVerdict.PASSED


def test_an_interrupt_ends_the_checks_and_says_nothing_of_the_rest():
    found = verdicts(
        PlannedCheck("a", passes, ()), PlannedCheck("b", is_interrupted, ()), PlannedCheck("c", passes, ())
    )
    assert [one.verdict for one in found.values()] == [
        CheckVerdict.PASSED,
        CheckVerdict.NOT_RUN,
        CheckVerdict.NOT_RUN,
    ]


def test_what_fails_because_of_a_signal_is_no_verdict():
    found = verdicts(PlannedCheck("a", fails, ()), interrupted=lambda: True)
    assert found["a"].verdict is CheckVerdict.NOT_RUN


def test_a_selection_has_what_it_needs_in_the_order_of_the_life():
    names = [step.name for step in selected({"deploy again at once"}, keep=False, long=False)]
    assert names == ["identity", "the API", "deploy", "destroy", "deploy again at once"]


def test_a_kept_pipeline_is_not_destroyed_and_idle_hours_are_asked_for():
    names = {step.name for step in selected((), keep=True, long=False)}
    assert not names & {step.name for step in STEPS if step.ends or step.long}
    assert {step.name for step in selected((), keep=False, long=True)} == {step.name for step in STEPS}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_check_needs_only_earlier_ones_and_says_what_it_checks(step):
    earlier = [one.name for one in STEPS[: STEPS.index(step)]]
    assert set(step.needs) <= set(earlier)
    assert step.body.__doc__


def test_once_the_api_is_gone_what_needs_it_is_not_run_and_the_rest_is():
    asked: list[str] = []

    def loses_the_api(context: Any) -> str:
        asked.append("loses")
        raise UnreachableError("nothing is reached there", hint="see whether it runs")

    found = verdicts(
        PlannedCheck("the API", passes, ()),
        PlannedCheck("deploy", passes, ()),
        PlannedCheck("a", loses_the_api),
        PlannedCheck("b", loses_the_api),
        PlannedCheck("destroy", passes, ends=True, needs=("deploy",)),
    )
    assert asked == ["loses"]
    assert found["a"].detail == "nothing is reached there; see whether it runs"
    assert found["b"].detail == "it needs the API, which does not answer any more"
    assert [one.verdict for one in found.values()][2:] == [
        CheckVerdict.FAILED,
        CheckVerdict.NOT_RUN,
        CheckVerdict.PASSED,
    ]


def test_an_api_that_is_found_gone_after_a_check_that_failed_is_gone():
    def answer_by(wanted: Any) -> None:
        raise UnreachableError("nothing is reached there")

    found = verdicts(
        PlannedCheck("the API", passes, ()),
        PlannedCheck("deploy", passes, ()),
        PlannedCheck("a", fails),
        PlannedCheck("b", passes),
        context=SimpleNamespace(answer_by=answer_by),
    )
    assert (found["a"].verdict, found["b"].verdict) == (CheckVerdict.FAILED, CheckVerdict.NOT_RUN)


def test_an_api_that_answers_wrongly_is_not_gone():
    def refuses(context: Any) -> str:
        raise ReceiverError("answered 403", hint="its secret is not the one")

    found = verdicts(PlannedCheck("a", refuses, ()), PlannedCheck("b", passes, ("the API",)))
    assert (found["a"].detail, found["b"].verdict) == (
        "answered 403; its secret is not the one",
        CheckVerdict.PASSED,
    )
