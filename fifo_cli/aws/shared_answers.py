"""Reads that several parts of one evaluation make alike: AWS is asked once, and all have that answer."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from fifo_cli.aws.changes import READS

_KEY: Final = "fifo-cli-question"
# What makes a request what it is, besides its headers.
_QUESTION: Final = ("url", "query_string", "body")


class SharedAnswers:
    """Keeps what reads are answered while that is asked for; safe to share between threads.

    Failures are not kept. Two that ask at the same moment both ask AWS.
    """

    def __init__(self) -> None:
        self._answers: dict[str, tuple[Any, Any]] | None = None

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

    def _before_call(
        self, model: Any, params: Mapping[str, Any], context: dict[str, Any], **_: Any
    ) -> tuple[Any, Any] | None:
        answers = self._answers
        if answers is None or not model.name.startswith(READS):
            return None
        question = repr((model.service_model.service_name, model.name, *map(params.get, _QUESTION)))
        if found := answers.get(question):
            http, parsed = found
            return http, copy.deepcopy(parsed)
        context[_KEY] = question
        return None

    def _after_call(self, http_response: Any, parsed: Any, context: dict[str, Any], **_: Any) -> None:
        question, answers = context.pop(_KEY, None), self._answers
        if question is not None and answers is not None and http_response.status_code < 300:
            answers[question] = http_response, copy.deepcopy(parsed)
