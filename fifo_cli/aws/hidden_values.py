"""Calls that carry a secret value: no error of theirs holds it, or an exception that may hold it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from fifo_cli.aws.errors import error_codes, explain
from fifo_cli.errors import AwsError, FifoError
from fifo_cli.handlers.redaction import WITHHELD, Redactor

_HIDDEN: Final = "(hidden)"
_TAKEN: Final = frozenset({"ParameterAlreadyExists", "ResourceExistsException"})
Answer = TypeVar("Answer")


class CreatedMeanwhileError(AwsError):
    """Somebody else created what was to be created."""


def call_hiding(value: str, about: str, call: Callable[[], Answer]) -> Answer:
    """Make a call that writes ``value``; ``about`` names what it writes."""
    failure: FifoError
    try:
        return call()
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        if isinstance(error, ClientError) and error_codes(error) & _TAKEN:
            failure = CreatedMeanwhileError(
                f"{about} was created by someone else just now", hint="run the command again to overwrite it"
            )
        else:
            failure = _without(value, explain(error, about), about)
    # Outside the handlers: raised inside, -vv would show AWS's own exception, which may quote the value.
    raise failure


def _without(value: str, error: FifoError, about: str) -> FifoError:
    """Return the error with the value taken out, in case AWS quoted it: whole, in part, or encoded."""
    message = error.message
    for form in {value, repr(value)[1:-1], value.encode("unicode_escape").decode("ascii")}:
        message = message.replace(form, _HIDDEN)
    redactor = Redactor()
    redactor.add(value)
    if (shown := redactor(message)) == WITHHELD:
        shown = f"{about}: {WITHHELD}"
    return type(error)(shown, hint=error.hint)
