"""Answers that are not AWS's: a captive portal's page, a proxy's, a web server's behind a wrong endpoint.

botocore parses everything that comes with status 200 and finds nothing; its callers would fail at a
missing field.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from botocore.exceptions import BotoCoreError

# Their answers begin with a brace; of the others botocore refuses what is neither XML nor CBOR.
_JSON: Final = frozenset({"json", "rest-json"})


class ForeignAnswerError(BotoCoreError):
    """Somebody answered that is not AWS."""

    fmt = "{operation} was answered by something that is not AWS: {answer}"


def check_answers(client: Any) -> None:
    """Let a client raise ForeignAnswerError instead of taking such an answer for an empty one."""
    client.meta.events.register("before-parse.*", _check)


def _check(operation_model: Any, response_dict: Mapping[str, Any], **_: Any) -> None:
    if response_dict["status_code"] != 200 or operation_model.has_streaming_output:
        return
    body: bytes = response_dict["body"]
    kind = str(response_dict["headers"].get("content-type", ""))
    json = operation_model.service_model.resolved_protocol in _JSON
    text = body.strip()
    # The type alone proves nothing: botocore does not look at it, and moto calls everything text/html.
    # What has nothing to answer answers with nothing.
    output = operation_model.output_shape
    typed = kind.startswith("text/html") and (text or (output is not None and output.members))
    if json:
        foreign = not text.startswith(b"{") and bool(typed or text)
    else:
        foreign = _is_page(text) or bool(typed and not text.startswith(b"<"))
    if foreign:
        shown = " ".join(text[:60].decode("utf-8", "replace").split())
        raise ForeignAnswerError(operation=operation_model.name, answer=shown or "an empty page")


def _is_page(text: bytes) -> bool:
    # Not only at the start: XHTML begins as any XML does. In AWS's XML, "<" is escaped.
    head = text[:1000].lower()
    return head.startswith(b"<!doctype") or b"<html" in head


def served_at(metadata: Any) -> datetime:
    """Return the time of an answer's Date header, whole seconds; this machine's if it has none."""
    try:
        return parsedate_to_datetime(metadata["HTTPHeaders"]["date"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError):
        return datetime.now(UTC)
