"""SQS queues as resources: their attributes and tags. Messages are another module's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from botocore.exceptions import ClientError

from fifo_cli.aws.consistency import AT_ONCE, ConsistencyDelays
from fifo_cli.aws.errors import calling, error_codes, is_missing, message_of
from fifo_cli.aws.foreign_responses import served_at
from fifo_cli.aws.resources.gateway import AlreadyExists, Gateway, Pending, Waiter
from fifo_cli.events import Noted
from fifo_cli.model.names import DELETED_TAG
from fifo_cli.model.resources import Found, Properties, Resource, stamped
from fifo_cli.model.times import iso

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType

# A deleted queue's name is free after 60 s (SQS API Reference, DeleteQueue); a new one is known soon.
DELETED_LIMIT: Final = 120.0
NEW_LIMIT: Final = 60.0
_IN_FLIGHT: Final = "ApproximateNumberOfMessagesNotVisible"
_COUNTS: Final = ("ApproximateNumberOfMessages", _IN_FLIGHT, "ApproximateNumberOfMessagesDelayed")
_GOING: Final = "gone: it was deleted, and SQS may still answer for it for up to a minute"


@dataclass(frozen=True, slots=True)
class _Attribute:
    """How one property is written as an SQS attribute, and read from it."""

    name: str
    write: Callable[[Any], str]
    read: Callable[[str], Any]


def _true(text: str) -> bool:
    return text == "true"


def _boolean(value: Any) -> str:
    return "true" if value else "false"


def _write_redrive(value: Any) -> str:
    if value is None:
        return ""  # takes a policy away
    return json.dumps({"deadLetterTargetArn": value["target"], "maxReceiveCount": value["max_receives"]})


def _read_redrive(text: str) -> Any:
    policy = json.loads(text)
    return {
        "target": policy.get("deadLetterTargetArn"),
        "max_receives": int(policy.get("maxReceiveCount", 0)),
    }


def _write_allow(value: Any) -> str:
    return json.dumps({"redrivePermission": value["permission"], "sourceQueueArns": value["sources"]})


def _read_allow(text: str) -> Any:
    policy = json.loads(text)
    return {
        "permission": policy.get("redrivePermission"),
        "sources": sorted(policy.get("sourceQueueArns", [])),
    }


_ATTRIBUTES: Final[dict[str, _Attribute]] = {
    "fifo": _Attribute("FifoQueue", _boolean, _true),
    "content_based_deduplication": _Attribute("ContentBasedDeduplication", _boolean, _true),
    "deduplication_scope": _Attribute("DeduplicationScope", str, str),
    "throughput_limit": _Attribute("FifoThroughputLimit", str, str),
    "max_message_bytes": _Attribute("MaximumMessageSize", str, int),
    "retention": _Attribute("MessageRetentionPeriod", str, int),
    "visibility_timeout": _Attribute("VisibilityTimeout", str, int),
    "delay": _Attribute("DelaySeconds", str, int),
    "redrive": _Attribute("RedrivePolicy", _write_redrive, _read_redrive),
    "redrive_allow": _Attribute("RedriveAllowPolicy", _write_allow, _read_allow),
}


@dataclass(frozen=True, slots=True)
class QueueAdmin(Gateway):
    """Queues by name."""

    sqs: SQSClient
    waiter: Waiter = field(default_factory=Waiter)
    delays: ConsistencyDelays = AT_ONCE
    title: ClassVar[str] = "queue"
    exists_codes: ClassVar[frozenset[str]] = frozenset({"QueueNameExists", "QueueAlreadyExists"})

    def _read(self, name: str) -> Found:
        """Return a queue; its URL, its ARN, and about how many messages it ``holds`` are facts.

        One that was deleted just now, and that SQS still answers for, is ``deleted``.
        """
        url = self.sqs.get_queue_url(QueueName=name)["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        tagged = self.sqs.list_queue_tags(QueueUrl=url)
        tags, now = tagged.get("Tags", {}), served_at(tagged.get("ResponseMetadata"))
        facts = {
            "url": url,
            "arn": attributes.get("QueueArn", ""),
            "holds": sum(int(attributes.get(name, 0)) for name in _COUNTS),
            "deleted": self._was_deleted(tags.get(DELETED_TAG), now=now),
        }
        return Found("queue", name, _properties(attributes), tags, facts)

    def _create(self, wanted: Resource) -> None:
        """Create a queue; SQS gives back an equal one, and QueueNameExists for one that differs.

        One of this name that is being deleted is waited for; one that then still stands was never deleted.
        """
        attributes = _to_attributes(wanted.properties)
        if not wanted.properties.get("fifo"):
            attributes.pop("FifoQueue", None)  # SQS takes true or nothing.
        # What is empty takes away, and a new queue has nothing to be taken away.
        attributes = {name: value for name, value in attributes.items() if value}

        def create() -> Pending | None:
            if self._is_going(wanted.name):
                return Pending(_GOING)
            self.sqs.create_queue(QueueName=wanted.name, Attributes=attributes, tags=stamped(wanted.tags))
            return self._not_the_old_one(wanted.name)

        self.waiter.accepted(create, _passing, name=wanted.name, limit=DELETED_LIMIT)

    def _update(self, wanted: Resource, found: Found, changed: frozenset[str]) -> None:
        """Set the attributes that differ, all in one call, since SQS takes some only together."""
        url = found.facts["url"]
        attributes = _to_attributes(
            {name: value for name, value in wanted.properties.items() if name in changed}
        )
        if attributes:
            change = partial(self.sqs.set_queue_attributes, QueueUrl=url, Attributes=attributes)
            self.waiter.accepted(change, _passing, name=wanted.name, limit=NEW_LIMIT)
        self.sqs.tag_queue(QueueUrl=url, Tags=stamped(wanted.tags))
        if DELETED_TAG in found.tags:
            self.untag(found, DELETED_TAG)

    def tag(self, found: Found, tags: Mapping[str, str]) -> None:
        """Set tags."""
        with calling(f"queue {found.name}"):
            self.sqs.tag_queue(QueueUrl=found.facts["url"], Tags=dict(tags))

    def untag(self, found: Found, tag: str) -> None:
        """Take one tag away."""
        with calling(f"queue {found.name}"):
            self.sqs.untag_queue(QueueUrl=found.facts["url"], TagKeys=[tag])

    def _delete(self, found: Found) -> None:
        """Delete a queue with all it holds; where SQS may go on answering for it, it is marked before."""
        if self.delays.deleted_queue:
            self._mark_deleted(found)
        self.sqs.delete_queue(QueueUrl=found.facts["url"])

    def _mark_deleted(self, found: Found) -> None:
        """Tag a queue with the time, by AWS's clock, at which its deletion begins."""
        url = found.facts["url"]
        try:
            now = served_at(self.sqs.list_queue_tags(QueueUrl=url).get("ResponseMetadata"))
            self.sqs.tag_queue(QueueUrl=url, Tags={DELETED_TAG: iso(now)})
        except ClientError as error:
            if not is_missing(error):
                code = error.response.get("Error", {}).get("Code", "")
                self.waiter.listener(
                    Noted(f"{found.name} takes no tag ({code}): wait a minute before you deploy it again")
                )

    def _was_deleted(self, marked: str | None, *, now: datetime) -> bool:
        """Whether a mark is so young that SQS may still answer for a queue that is gone."""
        if not marked or not self.delays.deleted_queue:
            return False
        try:
            age = (now - datetime.fromisoformat(marked)).total_seconds()
        except (ValueError, TypeError):
            return False
        return age < self.delays.deleted_queue

    def _is_going(self, name: str) -> bool:
        """Whether a queue of this name is being deleted; AlreadyExists if its deletion never came about."""
        found = self.read(name) if self.delays.deleted_queue else None
        if found is None or DELETED_TAG not in found.tags:
            return False
        if not found.deleted:
            raise AlreadyExists(f"queue {name} was marked as deleted, and still exists")
        return True

    def _not_the_old_one(self, name: str) -> Pending | None:
        """Look whether what CreateQueue gave is new: while one of the name goes, SQS may give that back."""
        if not self.delays.deleted_queue:
            return None
        found = self.read(name)
        if found is None:
            return Pending("known: it was created just now")
        return Pending(_GOING) if found.deleted else None

    def in_flight(self, name: str) -> int:
        """Return about how many messages of a queue a consumer has in flight."""
        with calling(f"queue {name}"):
            url = self.sqs.get_queue_url(QueueName=name)["QueueUrl"]
            found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[_IN_FLIGHT])
        return int(found["Attributes"].get(_IN_FLIGHT, 0))


def _passing(error: ClientError) -> str | None:
    """Say what SQS has to be waited for; None if waiting does not help."""
    if any("QueueDeletedRecently" in code for code in error_codes(error)):
        return "not free: a queue of this name was deleted within the last minute"
    text = message_of(error).lower()
    if "dead letter target" in text and "exist" in text:
        return "waiting for its dead-letter queue to be known"
    return None


def _to_attributes(properties: Properties) -> dict[QueueAttributeNameType, str]:
    attributes = {
        (known := _ATTRIBUTES[name]).name: known.write(value)
        for name, value in properties.items()
        if name in _ATTRIBUTES
    }
    match properties.get("encryption"):
        case None:
            pass
        case "sqs":
            # An empty key takes an earlier one away; SQS knows one encryption at a time.
            attributes |= {"SqsManagedSseEnabled": "true", "KmsMasterKeyId": ""}
        case key:
            attributes["KmsMasterKeyId"] = str(key)
    return cast("dict[QueueAttributeNameType, str]", attributes)


def _properties(attributes: Mapping[Any, str]) -> dict[str, Any]:
    properties: dict[str, Any] = {
        name: known.read(attributes[known.name])
        for name, known in _ATTRIBUTES.items()
        if attributes.get(known.name)
    }
    properties.setdefault("fifo", False)
    managed = "sqs" if _true(attributes.get("SqsManagedSseEnabled", "")) else None
    properties["encryption"] = attributes.get("KmsMasterKeyId") or managed
    return properties
