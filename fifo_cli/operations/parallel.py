"""Many questions to AWS at once, each answer or failure kept with its question, and an end to the waiting.

Threads of a pool would be waited for when the process ends, however long a call hangs; these are not.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from fifo_cli.aws.errors import explain
from fifo_cli.errors import AwsError, FifoError

# Below the connections of a client's pool; Lambda's control plane and IAM take some 15 requests a second.
THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class Gathered:
    """The answers and the failures by question; every question is in one of the two."""

    answers: Mapping[str, Any] = field(default_factory=dict)
    failures: Mapping[str, FifoError] = field(default_factory=dict)

    def __getitem__(self, question: str) -> Any:
        """Return an answer; raise what went wrong if there is none."""
        if question in self.failures:
            raise self.failures[question]
        return self.answers[question]

    def only(self, questions: Collection[str]) -> Gathered:
        """Return what came of some of the questions."""
        return Gathered(
            {one: answer for one, answer in self.answers.items() if one in questions},
            {one: failure for one, failure in self.failures.items() if one in questions},
        )

    def get(self, question: str, default: Any = None) -> Any:
        """Return an answer, or ``default`` if there is none."""
        return self.answers.get(question, default)


def read_all(questions: Mapping[str, Callable[[], Any]], *, limit: float | None = None) -> Gathered:
    """Ask all questions side by side; what has no answer after ``limit`` seconds in all is a failure.

    Only failures of ours are kept: a defect is raised here.
    """
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[str, Any, BaseException | None]] = queue.SimpleQueue()
    for question in questions:
        waiting.put(question)

    def work() -> None:
        while True:
            try:
                question = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((question, questions[question](), None))
            except (ClientError, BotoCoreError, ResponseParserError) as error:
                done.put((question, None, explain(error, question)))
            except BaseException as error:  # noqa: BLE001 - handed to the thread that asked
                done.put((question, None, error))

    for _ in range(min(THREADS, len(questions))):
        threading.Thread(target=work, name="gather", daemon=True).start()
    answers, failures = _collect(done, set(questions), limit)
    order = list(questions)
    return Gathered(
        {question: answers[question] for question in order if question in answers},
        {question: failures[question] for question in order if question in failures},
    )


def _collect(
    done: queue.SimpleQueue[tuple[str, Any, BaseException | None]],
    open_: set[str],
    limit: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[dict[str, Any], dict[str, FifoError]]:
    answers: dict[str, Any] = {}
    failures: dict[str, FifoError] = {}
    end = None if limit is None else clock() + limit
    while open_:
        try:
            question, answer, error = done.get(timeout=None if end is None else max(0.0, end - clock()))
        except queue.Empty:
            break
        open_.discard(question)
        if isinstance(error, FifoError):
            failures[question] = error
        elif error is not None:
            raise error
        else:
            answers[question] = answer
    hint = "check the network, --region and --endpoint-url, and try again"
    late = {question: AwsError(f"no answer within {limit:g} s", hint=hint) for question in open_}
    return answers, failures | late
