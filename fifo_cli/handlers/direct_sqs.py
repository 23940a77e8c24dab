"""SQS for the worker: the calls that every delivery makes go out directly, all others by boto3.

Of what a call by boto3 costs, four fifths are its serializer, its rules for endpoints, its events and its
parser, which make one JSON document of another. So these calls are written here; the credentials, the
signature, the connections, their certificates and time limits are botocore's.

What is not a plain success is asked again by boto3: its parser names the error, and its rules say whether
and when the call is repeated. Each of these calls may be made twice, and botocore makes it twice whenever an
answer is lost (a receive has a name, so that it gets the same messages again).
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from urllib3.exceptions import HTTPError

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from mypy_boto3_sqs import SQSClient
    from urllib3 import HTTPConnectionPool

_OK: Final = 200
_SERVER_ERROR: Final = 500
_PORTS: Final = {"http": ":80", "https": ":443"}  # which HTTP leaves out
_JSON: Final = "application/x-amz-json-1.0"  # SQS Developer Guide, "AWS JSON protocol"
_CREDENTIAL: Final = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/,]+/\d{8}/([^/,]+)/([^/,]+)/aws4_request,")


class Way(NamedTuple):
    """How botocore sent a request of its own: the connections, the host as it is signed, and the rest."""

    pool: HTTPConnectionPool
    host: str
    region: str
    service: str
    agent: str

    def headers(self, credentials: Credentials, action: str, body: bytes) -> dict[str, str]:
        """Return the headers of a call, signed (IAM User Guide, "Create a signed AWS API request")."""
        frozen = credentials.get_frozen_credentials()
        at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        signed = {"content-type": _JSON, "host": self.host, "x-amz-date": at}
        if frozen.token:
            signed["x-amz-security-token"] = frozen.token
        signed["x-amz-target"] = f"AmazonSQS.{action}"
        names = ";".join(signed)
        lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
        canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
        auth = SigV4Auth(frozen, self.service, self.region)
        request: Any = SimpleNamespace(context={"timestamp": at})
        signature = auth.signature(auth.string_to_sign(request, canonical), request)
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={names}, Signature={signature}"
        )
        return {**signed, "user-agent": self.agent, "authorization": authorization}


class DirectSqs:
    """What boto3's client of SQS is to the worker; safe to share between threads.

    The first of these calls is boto3's own, which shows the way. Where it goes by a proxy, or is not signed
    in the usual way, all of them are boto3's.
    """

    def __init__(
        self,
        client: SQSClient,
        credentials: Credentials | None,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._credentials = credentials
        self._sleep = sleep
        self._noted: Way | None = None
        self._way: Way | None = None
        client.meta.events.register("before-send.sqs", self._note)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def receive_message(self, **request: Any) -> Any:
        """Receive messages; attributes of bytes are bytes, as boto3 gives them."""
        answer = self._call("ReceiveMessage", self._client.receive_message, request)
        for message in answer.get("Messages", ()):
            for value in message.get("MessageAttributes", {}).values():
                if isinstance(packed := value.get("BinaryValue"), str):
                    value["BinaryValue"] = base64.b64decode(packed)
        return answer

    def delete_message(self, **request: Any) -> Any:
        """Delete a message."""
        return self._call("DeleteMessage", self._client.delete_message, request)

    def change_message_visibility_batch(self, **request: Any) -> Any:
        """Change the visibility timeouts of up to ten messages."""
        by_boto3 = self._client.change_message_visibility_batch
        return self._call("ChangeMessageVisibilityBatch", by_boto3, request)

    def _call(self, action: str, by_boto3: Callable[..., Any], request: Mapping[str, Any]) -> Any:
        if (way := self._way) is None or self._credentials is None:
            answer = by_boto3(**request)
            self._way = self._noted  # botocore has set up the connections by now
            return answer
        body = json.dumps(request).encode()
        headers = way.headers(self._credentials, action, body)
        try:
            response = way.pool.urlopen(
                "POST", "/", body, headers, retries=False, redirect=False, assert_same_host=False
            )
            if response.status == _OK and isinstance(answer := json.loads(response.data or b"{}"), dict):
                return answer
            wait = response.status >= _SERVER_ERROR or b"hrottl" in response.data
        except (HTTPError, OSError, ValueError):
            wait = True
        if wait:
            self._sleep(random.random())  # as long as botocore waits before it first repeats a call
        return by_boto3(**request)

    def _note(self, request: Any, **_: Any) -> None:
        """Note the way of a request that botocore is about to send, if these calls can go it, too."""
        try:
            self._noted = _way(self._client, request)
        except (AttributeError, KeyError, TypeError):  # Lambda's botocore is of another version
            self._noted = None


def _way(client: Any, request: Any) -> Way | None:
    session = client._endpoint.http_session  # private, but botocore has no other name for what it sends by
    headers = {name.lower(): _text(value) for name, value in request.headers.items()}
    signed = _CREDENTIAL.match(headers["authorization"])
    url = urlsplit(request.url)
    if signed is None or url.path != "/" or url.query or session._proxy_config.proxy_url_for(request.url):
        return None
    pool = session._manager.connection_from_url(request.url)
    host = url.netloc.rpartition("@")[2].removesuffix(_PORTS[url.scheme])
    return Way(pool, host, signed[1], signed[2], headers["user-agent"])


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
