"""The code of a deployed function: Lambda gives a presigned URL to whoever may call GetFunction."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
import zlib
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError

from fifo_cli.aws.errors import calling
from fifo_cli.errors import AwsError
from fifo_cli.interrupts import AWS_CALLS
from fifo_cli.invocation import command_line
from fifo_cli.model.limits import UNZIPPED_BYTES_MAX
from fifo_cli.model.urls import host_of, is_aws

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws

_OK: Final = 200


def deployed_files(aws: Aws, function: str, qualifier: str | None, code_sha256: str) -> dict[str, bytes]:
    """Return the files of a function's code, by their paths in its zip, which has this hash (in base64).

    Raises AwsError if they cannot be read from here: S3, which holds them, may be out of reach where Lambda's
    API is not, as in a VPC with endpoints. Nothing else needs them.
    """
    arguments = {"Qualifier": qualifier} if qualifier else {}
    with calling(f"the code of {function}"):
        url = (
            aws.client("lambda").get_function(FunctionName=function, **arguments)["Code"].get("Location", "")
        )
    data = _download(aws, url)
    if base64.b64encode(hashlib.sha256(data).digest()).decode() != code_sha256:
        raise _unreadable("AWS gave the code of another version")
    return _unzipped(data)


def _download(aws: Aws, url: str) -> bytes:
    client = aws.client("lambda")
    endpoint, headers = client.meta.endpoint_url, {}
    if aws.endpoint.local:
        # The stack's own server, and nothing else; without its key it answers nobody.
        own = urlsplit(endpoint)
        url = urlsplit(url)._replace(scheme=own.scheme, netloc=own.netloc).geturl()
        headers["x-amz-security-token"] = aws.endpoint.key[0]
    elif urlsplit(url).scheme not in ("http", "https") or is_aws(host_of(url)) != is_aws(host_of(endpoint)):
        raise _unreadable("its address leads elsewhere than to the AWS of this run")
    request = AWSRequest("GET", url, headers=headers).prepare()
    try:
        with AWS_CALLS.one():
            # The client's own session has the proxies, the certificates and the time limits of this run.
            answer = client._endpoint.http_session.send(request)  # type: ignore[attr-defined]
    except BotoCoreError as error:
        # Not with its URL, which is as good as a key for ten minutes.
        raise _unreadable(f"{host_of(url)} cannot be reached ({type(error).__name__})") from None
    if answer.status_code != _OK:
        raise _unreadable(f"{host_of(url)} answered {answer.status_code}")
    return bytes(answer.content)


def _unreadable(reason: str) -> AwsError:
    return AwsError(reason, hint=f"{command_line('plan')} compares the code by its hash then")


def _unzipped(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [one for one in archive.infolist() if not one.is_dir()]
            if sum(one.file_size for one in entries) > UNZIPPED_BYTES_MAX:
                raise _unreadable("it is larger than Lambda takes")
            return {one.filename: archive.read(one) for one in entries}
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError):
        raise _unreadable("it is not a zip that can be read") from None
