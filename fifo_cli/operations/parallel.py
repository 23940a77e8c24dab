"""Many questions to AWS at once, each answer or failure kept with its question, and an end to the waiting.

Threads of a pool would be waited for when the process ends, however long a call hangs; these are not.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
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

    def get(self, question: str, default: Any = None) -> Any:
        """Return an answer, or ``default`` if there is none."""
        return self.answers.get(question, default)


def read_all(questions: Mapping[str, Callable[[], Any]], *, limit: float | None = None) -> Gathered:
    """Ask all questions side by side; what has no answer after ``limit`` seconds in all is a failure.

    Only failures of ours are kept: a defect is raised here.
    """
    asked: dict[str, Future[Any]] = {question: Future() for question in questions}
    unasked = deque(asked.items())

    def work() -> None:
        while True:
            try:
                question, future = unasked.popleft()
            except IndexError:
                return
            try:
                future.set_result(questions[question]())
            except (ClientError, BotoCoreError, ResponseParserError) as error:
                future.set_exception(explain(error, question))
            except BaseException as error:  # noqa: BLE001 - handed to the thread that asked
                future.set_exception(error)

    for _ in range(min(THREADS, len(questions))):
        threading.Thread(target=work, name="gather", daemon=True).start()
    answered, _ = wait(asked.values(), limit)
    answers: dict[str, Any] = {}
    failures: dict[str, FifoError] = {}
    for question, future in asked.items():
        if future not in answered:
            hint = "check the network, --region and --endpoint-url, and try again"
            failures[question] = AwsError(f"no answer within {limit:g} s", hint=hint)
        elif isinstance(error := future.exception(), FifoError):
            failures[question] = error
        else:
            answers[question] = future.result()
    return Gathered(answers, failures)
