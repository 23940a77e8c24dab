"""DynamoDB tables as resources: keys, billing, stream and tags."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from botocore.exceptions import ClientError

from fifo_cli.aws.errors import calling, error_codes, unless_missing
from fifo_cli.aws.resources.gateway import Gateway, Pending, Waiter, tag_list, tag_map
from fifo_cli.model.names import ADOPTED_TAG, PIPELINE_TAG
from fifo_cli.model.resources import Found, Resource, stamped

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import StreamSpecificationTypeDef, TableDescriptionTypeDef

# A table is ready after seconds as a rule; a change of billing may take some minutes.
ACTIVE_LIMIT: Final = 600.0


@dataclass(frozen=True, slots=True)
class TableAdmin(Gateway):
    """Tables by name."""

    dynamodb: DynamoDBClient
    waiter: Waiter = field(default_factory=Waiter)
    title: ClassVar[str] = "table"
    exists_codes: ClassVar[frozenset[str]] = frozenset({"ResourceInUseException"})

    def _read(self, name: str) -> Found | None:
        """Return a table; its ARN, its stream's, and how many items it ``holds`` are facts.

        The count is up to six hours old (DynamoDB API Reference, TableDescription). A table that is being
        deleted does not count.
        """
        table = self._describe(name)
        if table.get("TableStatus") == "DELETING":
            return None
        pages = self.dynamodb.get_paginator("list_tags_of_resource").paginate(ResourceArn=table["TableArn"])
        tags = tag_map([tag for page in pages for tag in page.get("Tags", [])])
        facts = {
            "arn": table["TableArn"],
            "stream_arn": stream_arn(table),
            "holds": table.get("ItemCount", 0),
            "kms_key": _kms_key(table),
        }
        return Found("table", name, _properties(table), tags, facts)

    def kms_key(self, name: str) -> str | None:
        """Return the ARN of the key in the account that encrypts a table; None for AWS's own, or no table."""
        with calling(f"table {name}"):
            table = unless_missing(lambda: self._describe(name))
        return _kms_key(table) if table else None

    def _create(self, wanted: Resource) -> None:
        """Create a table with on-demand billing and its stream, and wait until it is active."""
        name, keys = wanted.name, wanted.properties["keys"]
        schema: Any = [
            {"AttributeName": one[0], "KeyType": kind}
            for one, kind in zip(keys, ("HASH", "RANGE"), strict=False)
        ]
        create = partial(
            self.dynamodb.create_table,
            TableName=name,
            KeySchema=schema,
            AttributeDefinitions=[{"AttributeName": one, "AttributeType": kind} for one, kind in keys],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification=_stream(wanted),
            Tags=tag_list(stamped(wanted.tags)),
        )

        def passing(error: ClientError) -> str | None:
            in_use = error_codes(error) & self.exists_codes
            return "being deleted" if in_use and self._status(name) == "DELETING" else None

        self.waiter.accepted(create, passing, name=name, limit=ACTIVE_LIMIT)
        self._wait_active(name)

    def _update(self, wanted: Resource, found: Found, changed: frozenset[str]) -> None:
        """Switch billing and the stream, one after the other: DynamoDB changes one thing at a time."""
        self._wait_active(wanted.name)
        if "billing" in changed:
            self.dynamodb.update_table(TableName=wanted.name, BillingMode="PAY_PER_REQUEST")
            self._wait_active(wanted.name)
        if "stream" in changed:
            if found.properties.get("stream") is not None:
                # "You cannot edit a StreamViewType": DynamoDB Developer Guide, "Enabling a stream".
                self._switch_stream(wanted.name, {"StreamEnabled": False})
            self._switch_stream(wanted.name, _stream(wanted))
        if wanted.tags:
            adopted = {} if PIPELINE_TAG in found.tags else {ADOPTED_TAG: "true"}
            tags = tag_list({**stamped(wanted.tags), **adopted})
            self.dynamodb.tag_resource(ResourceArn=found.facts["arn"], Tags=tags)

    def _switch_stream(self, name: str, specification: StreamSpecificationTypeDef) -> None:
        """Switch a stream, unless it is so already: by an earlier try of this call, whose answer was lost."""
        wanted = specification.get("StreamViewType")

        def switch() -> None:
            try:
                self.dynamodb.update_table(TableName=name, StreamSpecification=specification)
            except ClientError as error:
                if "ValidationException" not in error_codes(error) or _view(self._describe(name)) != wanted:
                    raise

        def passing(error: ClientError) -> str | None:
            return "busy with another change" if "ResourceInUseException" in error_codes(error) else None

        self.waiter.accepted(switch, passing, name=name, limit=ACTIVE_LIMIT)
        self._wait_active(name)

    def holds_items(self, name: str) -> bool:
        """Say whether a table holds anything at this moment, by reading one item's key."""
        with calling(f"table {name}"):
            return self.dynamodb.scan(TableName=name, Limit=1, Select="COUNT")["Count"] > 0

    def _delete(self, found: Found) -> None:
        """Delete a table with all its items, and wait until it is gone."""
        self.dynamodb.delete_table(TableName=found.name)

        def attempt() -> Pending | None:
            return Pending("being deleted") if self._status(found.name) else None

        self.waiter.until(attempt, name=found.name, limit=ACTIVE_LIMIT)

    def _describe(self, name: str) -> TableDescriptionTypeDef:
        return self.dynamodb.describe_table(TableName=name)["Table"]

    def _status(self, name: str) -> str | None:
        table = unless_missing(lambda: self._describe(name))
        return table.get("TableStatus") if table else None

    def _wait_active(self, name: str) -> None:
        def attempt() -> Pending | None:
            status = self._status(name)
            return None if status == "ACTIVE" else Pending(f"not ready: {status or 'not known yet'}")

        self.waiter.until(attempt, name=name, limit=ACTIVE_LIMIT)


def _properties(table: TableDescriptionTypeDef) -> dict[str, Any]:
    types = {one["AttributeName"]: one["AttributeType"] for one in table.get("AttributeDefinitions", [])}
    schema = sorted(table.get("KeySchema", []), key=lambda one: one["KeyType"])
    return {
        "keys": [[one["AttributeName"], types.get(one["AttributeName"], "?")] for one in schema],
        "stream": _view(table),
        # A table that was never on demand has no summary.
        "billing": table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED"),
    }


def _kms_key(table: TableDescriptionTypeDef) -> str | None:
    """Return the ARN of the KMS key that encrypts a table and its stream; None for the key that AWS owns."""
    encryption = table.get("SSEDescription") or {}
    return encryption.get("KMSMasterKeyArn") if encryption.get("Status") != "DISABLED" else None


def _view(table: TableDescriptionTypeDef) -> str | None:
    """Return what the stream shows of an item; None if it is off."""
    stream = table.get("StreamSpecification")
    return stream.get("StreamViewType") if stream and stream.get("StreamEnabled") else None


def _stream(wanted: Resource) -> StreamSpecificationTypeDef:
    view = wanted.properties["stream"]
    return {"StreamEnabled": True, "StreamViewType": view} if view else {"StreamEnabled": False}


def stream_arn(table: TableDescriptionTypeDef) -> str | None:
    """Return the ARN of the stream that is switched on; a switched-off one stays named for a day."""
    stream = table.get("StreamSpecification")
    return table.get("LatestStreamArn") if stream and stream.get("StreamEnabled") else None
