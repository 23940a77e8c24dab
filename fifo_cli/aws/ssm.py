"""SSM parameters: what is known of them, and writing a secret. Values are never read here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from fifo_cli.aws.errors import calling, error_codes, explain
from fifo_cli.errors import AwsError, FifoError
from fifo_cli.handlers.redaction import WITHHELD, Redactor

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws

# Systems Manager API Reference, ParameterStringFilter: at most 50 values.
_FILTER_VALUES_MAX: Final = 50
_HIDDEN: Final = "(hidden)"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that exists: its metadata, not its value. ``key`` encrypts it, if it is a SecureString."""

    name: str
    kind: str
    version: int
    modified_at: datetime
    key: str | None = None
    tier: str | None = None


def get_parameters(aws: Aws, names: Sequence[str]) -> dict[str, Parameter]:
    """Return those of ``names`` that exist, by name (DescribeParameters: metadata only, no decryption)."""
    return {found.name: found for batch in _batches(sorted(set(names))) for found in _describe(aws, batch)}


def put_secret(aws: Aws, name: str, value: str, *, found: Parameter | None, tags: Mapping[str, str]) -> int:
    """Write a SecureString and return its version; tag it when it is new.

    PutParameter takes no tags together with Overwrite, and an overwrite without KeyId falls back to the
    account's default key (API Reference, PutParameter): the key of the one that was ``found`` is kept.
    The value is in no error, and neither is an exception that may hold it.
    """
    settings: dict[str, Any] = {"Name": name, "Value": value, "Type": "SecureString"}
    if found is None:
        settings["Tags"] = [{"Key": key, "Value": text} for key, text in tags.items()]
    else:
        settings["Overwrite"] = True
        settings |= {"KeyId": found.key} if found.key else {}
        settings |= {"Tier": found.tier} if found.tier else {}
    failure: FifoError
    try:
        return aws.client("ssm").put_parameter(**settings)["Version"]
    except ClientError as error:
        if "ParameterAlreadyExists" in error_codes(error):
            failure = AwsError(
                f"parameter {name} was created by someone else just now",
                hint="run the command again to overwrite it",
            )
        else:
            failure = _without(value, explain(error, f"parameter {name}"), name)
    except BotoCoreError as error:
        failure = _without(value, explain(error, f"parameter {name}"), name)
    # Outside the handlers: raised inside, -vv would show AWS's own exception, which may quote the value.
    raise failure


def _describe(aws: Aws, names: Sequence[str]) -> Iterator[Parameter]:
    filters: Any = [{"Key": "Name", "Option": "Equals", "Values": list(names)}]
    with calling(f"parameters {', '.join(names)}"):
        for page in aws.client("ssm").get_paginator("describe_parameters").paginate(ParameterFilters=filters):
            for found in page["Parameters"]:
                yield Parameter(
                    name=found["Name"],
                    kind=found["Type"],
                    version=found["Version"],
                    modified_at=found["LastModifiedDate"],
                    key=found.get("KeyId"),
                    tier=found.get("Tier"),
                )


def _without(value: str, error: FifoError, name: str) -> FifoError:
    """Return the error with the secret taken out, in case AWS quoted it: whole, in part, or encoded."""
    message = error.message
    for form in {value, repr(value)[1:-1], value.encode("unicode_escape").decode("ascii")}:
        message = message.replace(form, _HIDDEN)
    redactor = Redactor()
    redactor.add(value)
    if (shown := redactor(message)) == WITHHELD:
        shown = f"parameter {name}: {WITHHELD}"
    return type(error)(shown, hint=error.hint)


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _FILTER_VALUES_MAX):
        yield names[start : start + _FILTER_VALUES_MAX]
