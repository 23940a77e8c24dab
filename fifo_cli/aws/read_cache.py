"""Reads that several parts of one evaluation make alike: AWS is asked once, and all have that answer."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from fifo_cli.aws.change_gate import READS

# So long one that asks waits for another's answer; then it asks, too.
_ANSWER_SECONDS: Final = 5.0
_KEY: Final = "fifo-cli-question"
# What makes a request what it is, besides its headers.
_QUESTION: Final = ("url", "query_string", "body")


class ReadCache:
    """Keeps what reads are answered while that is asked for; safe to share between threads.

    Of two that ask at the same moment, one asks AWS and the other waits. Failures are not kept: after one
    the other asks, too.
    """

    def __init__(self) -> None:
        self._answers: dict[str, tuple[Any, Any]] | None = None
        self._asked: dict[str, threading.Event] = {}  # under way; set when it has ended
        self._lock = threading.Lock()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Share the answers until this ends."""
        self._answers = {}
        try:
            yield
        finally:
            self._answers = None

    def watch(self, client: Any) -> None:
        """Let a client's reads share their answers, as they are before botocore's own handlers change them.

        Those are for a service, such as the one that decodes IAM's policies, and come before any for all.
        """
        service = client.meta.service_model.service_id.hyphenize()
        client.meta.events.register_first(f"before-call.{service}", self._before_call)
        client.meta.events.register_first(f"after-call.{service}", self._after_call)
        client.meta.events.register_first(f"after-call-error.{service}", self._after_error)

    def _before_call(
        self, model: Any, params: Mapping[str, Any], context: dict[str, Any], **_: Any
    ) -> tuple[Any, Any] | None:
        answers = self._answers
        if answers is None or not model.name.startswith(READS):
            return None
        question = repr((model.service_model.service_name, model.name, *map(params.get, _QUESTION)))
        with self._lock:
            ended = self._asked.get(question)
            if ended is None and question not in answers:
                context[_KEY] = question
                self._asked[question] = threading.Event()
                return None
        if ended is not None:
            ended.wait(_ANSWER_SECONDS)
        if found := answers.get(question):
            http, parsed = found
            return http, copy.deepcopy(parsed)
        return None

    def _after_call(self, http_response: Any, parsed: Any, context: dict[str, Any], **_: Any) -> None:
        question, answers = context.pop(_KEY, None), self._answers
        if question is not None and answers is not None and http_response.status_code < 300:
            answers[question] = http_response, copy.deepcopy(parsed)
        self._end(question)

    def _after_error(self, context: dict[str, Any], **_: Any) -> None:
        self._end(context.pop(_KEY, None))

    def _end(self, question: str | None) -> None:
        with self._lock:
            ended = self._asked.pop(question or "", None)
        if ended is not None:
            ended.set()
