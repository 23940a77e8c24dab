"""The Lambda function with a URL that serves the API; what it remembers is in a DynamoDB table of its own.

The table's key is ``kind`` (S) and ``n`` (N). The deliveries are a log, from 1 on and without a gap: number
n + 1 is written only where n is and n + 1 is not. So their numbers are in the order of the writes, however
many calls there are side by side, and a reader sees a beginning of the log.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from .api import AnswerRules, Document, ProveApi, RecordedDelivery, Request, Response

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_CONFIG: Final = Config(
    connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 4}
)
_RULES: Final = {"kind": {"S": "rules"}, "n": {"N": "0"}}
_FORGOTTEN: Final = {"kind": {"S": "forgotten"}, "n": {"N": "0"}}
_DELIVERY: Final = "delivery"
# A query reads 1 MB, an answer of a function has 6 MB at most.
_PAGE: Final = 1000


class TableStore:
    """The memory of the API in its table (``Store``); its consistent reads see every earlier write."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def rules(self) -> AnswerRules:
        found = self._document(_RULES)
        return AnswerRules(**{**found, "refuse": tuple(found["refuse"])}) if found else AnswerRules()

    def set_rules(self, rules: AnswerRules) -> None:
        self._put(_RULES, asdict(rules))

    def append(self, delivery: RecordedDelivery) -> None:
        number, token = self._last() + 1, secrets.token_hex(16)
        while not self._is_put(number, delivery, token):
            number += 1  # another call was faster: its delivery is before this one

    def since(self, number: int) -> list[tuple[int, RecordedDelivery]]:
        forgotten = self._document(_FORGOTTEN).get("until", 0)
        found = self._deliveries(max(number, forgotten))
        return [(int(one["n"]["N"]), RecordedDelivery(**json.loads(one["document"]["S"]))) for one in found]

    def forget(self) -> None:
        """Numbers go on, so that a call side by side with this one stays in its place."""
        self._put(_FORGOTTEN, {"until": self._last()})

    def _last(self) -> int:
        found = self._deliveries(0, ScanIndexForward=False, Limit=1)
        return int(found[0]["n"]["N"]) if found else 0

    def _deliveries(self, after: int, **arguments: Any) -> list[dict[str, Any]]:
        """Return deliveries with a higher number than ``after``."""
        asked: dict[str, Any] = {
            "Limit": _PAGE,
            "ConsistentRead": True,
            "KeyConditionExpression": "kind = :kind AND n > :n",
            "ExpressionAttributeValues": {":kind": {"S": _DELIVERY}, ":n": {"N": str(after)}},
            **arguments,
        }
        return self._client.query(TableName=self._table, **asked)["Items"]

    def _document(self, key: Mapping[str, Any]) -> Document:
        found = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")
        document: Document = json.loads(found["document"]["S"]) if found else {}
        return document

    def _put(self, key: Mapping[str, Any], document: Document) -> None:
        self._client.put_item(TableName=self._table, Item={**key, "document": {"S": json.dumps(document)}})

    def _is_put(self, number: int, delivery: RecordedDelivery, token: str) -> bool:
        """Write a delivery, unless another one has that number.

        botocore repeats a call whose answer was lost: by the ``token`` it may overwrite what it has written.
        """
        written = {"document": {"S": json.dumps(asdict(delivery))}, "token": {"S": token}}
        try:
            self._client.put_item(
                TableName=self._table,
                Item={"kind": {"S": _DELIVERY}, "n": {"N": str(number)}, **written},
                ConditionExpression="attribute_not_exists(n) OR #token = :token",
                ExpressionAttributeNames={"#token": "token"},  # a reserved word
                ExpressionAttributeValues={":token": written["token"]},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True


def request_of(event: Mapping[str, Any]) -> Request:
    """Read the event of a function URL (Lambda Developer Guide, "Request payload format", version 2.0)."""
    body = event.get("body") or ""
    return Request(
        method=event["requestContext"]["http"]["method"],
        path=event["rawPath"],
        query=event.get("rawQueryString", ""),
        headers={name.lower(): value for name, value in event.get("headers", {}).items()},
        body=base64.b64decode(body) if event.get("isBase64Encoded") else body.encode(),
    )


def answer_of(response: Response, sleep: Callable[[float], None] = time.sleep) -> Document:
    """Return an answer as a function URL takes it, when its delay is over."""
    sleep(response.delay)
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store", **response.headers}
    return {"statusCode": response.status, "headers": headers, "body": response.body.decode()}


@cache
def _api() -> ProveApi:
    return ProveApi(
        os.environ["SECRET_SHA256"], TableStore(boto3.client("dynamodb", config=_CONFIG), os.environ["TABLE"])
    )


def handler(event: Mapping[str, Any], context: object) -> Document:
    return answer_of(_api().answer(request_of(event)))
