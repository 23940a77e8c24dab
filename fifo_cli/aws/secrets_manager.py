"""Secrets of Secrets Manager: what is known of them, and writing their values.

A value is read only to change one field of it: AWS replaces the whole of a secret.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from fifo_cli.aws.errors import calling, error_codes, unless_missing
from fifo_cli.aws.hidden_values import call_hiding

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws

_CURRENT: Final = "AWSCURRENT"
# The stage of a version that is to become the current one.
_NEXT: Final = "fifo-cli-next"


@dataclass(frozen=True, slots=True)
class SecretFacts:
    """A secret that exists: its metadata, not its value. ``version`` is the current one's id, if it has one.

    ``deleted_at`` is when it was scheduled for deletion: since then AWS gives out no value of it.
    """

    version: str | None
    modified_at: datetime | None
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True)
class SecretValue:
    """The current version of a secret; ``text`` is None if it is binary."""

    version: str
    text: str | None


def get_secret(aws: Aws, secret_id: str) -> SecretFacts | None:
    """Return what is known of a secret, by its name or ARN; None if it does not exist."""
    with calling(f"secret {secret_id}"):
        describe = aws.client("secretsmanager").describe_secret
        found = unless_missing(lambda: describe(SecretId=secret_id))
    if found is None:
        return None
    stages = found.get("VersionIdsToStages", {})
    current = next((version for version, names in stages.items() if _CURRENT in names), None)
    modified_at = found.get("LastChangedDate") or found.get("CreatedDate")
    return SecretFacts(current, modified_at, found.get("DeletedDate"))


def get_value(aws: Aws, secret_id: str) -> SecretValue:
    """Return the current version of a secret that has one."""
    with calling(f"secret {secret_id}"):
        found = aws.client("secretsmanager").get_secret_value(SecretId=secret_id, VersionStage=_CURRENT)
    return SecretValue(found["VersionId"], found.get("SecretString"))


def create_secret(aws: Aws, name: str, value: str, *, tags: Mapping[str, str]) -> None:
    """Make a secret that does not exist, with the account's default key."""
    tagged = [{"Key": key, "Value": text} for key, text in tags.items()]
    _write(aws, name, value, "create_secret", Name=name, Tags=tagged)


def put_value(aws: Aws, secret_id: str, value: str) -> None:
    """Make a value the current one, whichever is now."""
    _write(aws, secret_id, value, "put_secret_value", SecretId=secret_id)


def replace_value(aws: Aws, secret_id: str, value: str, *, replaces: str) -> bool:
    """Make a value the current one if the version ``replaces`` still is; return whether it was.

    Moving AWSCURRENT is refused if it is not where it is to be taken from (API Reference,
    UpdateSecretVersionStage): so of two that change a secret at the same time, none undoes the other's work.
    """
    version = str(uuid.uuid4())
    stages = {"ClientRequestToken": version, "VersionStages": [_NEXT]}
    _write(aws, secret_id, value, "put_secret_value", SecretId=secret_id, **stages)
    is_current = _make_current(aws, secret_id, version, replaces)
    # A label keeps a version from being deleted. Who changes the secret at the same time may have moved it.
    with contextlib.suppress(ClientError, BotoCoreError):
        aws.client("secretsmanager").update_secret_version_stage(
            SecretId=secret_id, VersionStage=_NEXT, RemoveFromVersionId=version
        )
    return is_current


def _make_current(aws: Aws, secret_id: str, version: str, replaces: str) -> bool:
    with calling(f"secret {secret_id}"):
        try:
            aws.client("secretsmanager").update_secret_version_stage(
                SecretId=secret_id,
                VersionStage=_CURRENT,
                MoveToVersionId=version,
                RemoveFromVersionId=replaces,
            )
        except ClientError as error:
            found = get_secret(aws, secret_id)
            refused = "InvalidParameterException" in error_codes(error)
            if found is None or found.version == replaces or not refused:
                raise
            # The answer to a first try may have been lost: then the label is where it should be.
            return found.version == version
    return True


def _write(aws: Aws, secret_id: str, value: str, call: str, **arguments: Any) -> None:
    """Write a value. A call that botocore repeats has the same ClientRequestToken: one version is made."""
    method = getattr(aws.client("secretsmanager"), call)
    call_hiding(value, f"secret {secret_id}", lambda: method(**arguments, SecretString=value))
