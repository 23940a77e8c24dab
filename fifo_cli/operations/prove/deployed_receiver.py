"""The function that serves the API of one run of ``prove``: deployed with all that it needs, and removed.

The secret is not in AWS, but where the pipeline's keys are: the function knows its hash.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import fifo_cli
from fifo_cli.aws.resources.function import FunctionAdmin
from fifo_cli.aws.resources.function_url import FunctionUrlAdmin
from fifo_cli.aws.resources.gateway import AlreadyExists, Gateway, Waiter
from fifo_cli.aws.resources.log_group import LogGroupAdmin
from fifo_cli.aws.resources.role import RoleAdmin
from fifo_cli.aws.resources.table import TableAdmin
from fifo_cli.errors import FifoError
from fifo_cli.events import Finished, Listener, Started, silent
from fifo_cli.model import prove_result
from fifo_cli.model.names import PIPELINE_TAG, REGION_TAG, Place
from fifo_cli.model.resources import Found, Resource
from fifo_cli.model.role_policies import LAMBDA, allow, document, trust
from fifo_cli.operations.deploy.package import zipped
from fifo_cli.operations.prove.receiver import HttpReceiver

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws

RUNTIME: Final = "python3.13"
HANDLER: Final = "fifo_cli.prove_api.function.handler"
# Longer than the slowest answer (prove_api/api.py), and shorter than a caller of ours waits.
TIMEOUT_SECONDS: Final = 28
# A stranger who finds the URL occupies no more of the account's concurrency than this.
CONCURRENCY: Final = 40
# What is done again where a create call was made already, by an earlier try whose answer was lost.
_REPEATED: Final = frozenset({"environment", "policy", "reserved_concurrency", "retention_days"})


@dataclass(frozen=True, slots=True)
class DeployedReceiver:
    """The function with its URL, its role, table and log group: what is made for one run of ``prove``.

    Every step may be repeated after a crash. ``pipeline`` is the name of the run's pipeline.
    """

    aws: Aws
    pipeline: str
    listener: Listener = silent
    sleep: Callable[[float], None] = time.sleep

    @property
    def name(self) -> str:
        """The name of function, role and table."""
        return f"{self.pipeline}-receiver"

    def deploy(self, tags: Mapping[str, str]) -> HttpReceiver:
        """Make what is missing, and return the API when it answers. Its secret is new.

        Raises ForbiddenUrlError where no public function URL is allowed; then ``remove`` takes away the rest.
        """
        secret = secrets.token_urlsafe(32)
        code = _code()
        gates = self._gates({self.name: code})
        for one in self._wanted(secret, code, tags):
            self.listener(Started("create", one.kind, one.name))
            try:
                gates[one.kind].create(one)
            except AlreadyExists:
                found = gates[one.kind].read(one.name)
                if found is None or not self._is_ours(found):
                    raise
                gates[one.kind].update(one, found, _REPEATED & one.properties.keys())
            self.listener(Finished("create", one.kind, one.name))
        url = self._urls.create(self.name)
        receiver = HttpReceiver(url, secret, self._waiter)
        receiver.wait_ready()
        return receiver

    def found(self) -> list[prove_result.Resource]:
        """Return what is there of it."""
        gates = self._gates({})
        found = (gates[kind].read(name) for kind, name in self._parts())
        ours = (one for one in found if one is not None and self._is_ours(one))
        return [prove_result.Resource(one.kind, one.name) for one in ours]

    def remove(self) -> dict[prove_result.Resource, str]:
        """Remove what is there of it, the URL first; return why what could not be removed stays."""
        reasons = {}
        gates = self._gates({})
        for kind, name in self._parts():
            try:
                found = gates[kind].read(name)
                if found is None or not self._is_ours(found):
                    continue
                if kind == "function":
                    # So that nobody reaches it meanwhile. Refused, it goes with the function all the same.
                    with suppress(FifoError):
                        self._urls.delete(name)
                gates[kind].delete(found)
            except FifoError as error:
                reasons[prove_result.Resource(kind, name)] = error.message
        return reasons

    def _is_ours(self, found: Found) -> bool:
        return found.tags.get(PIPELINE_TAG) == self.pipeline

    def _parts(self) -> Sequence[tuple[str, str]]:
        """Return what there is to remove, in that order."""
        return (
            ("function", self.name),
            ("log-group", f"/aws/lambda/{self.name}"),
            ("role", self.name),
            ("table", self.name),
        )

    @property
    def _waiter(self) -> Waiter:
        return Waiter(self.listener, self.sleep)

    @property
    def _urls(self) -> FunctionUrlAdmin:
        return FunctionUrlAdmin(self.aws.client("lambda"))

    def _gates(self, zips: Mapping[str, bytes]) -> dict[str, Gateway]:
        client = self.aws.client
        return {
            "table": TableAdmin(client("dynamodb"), self._waiter),
            "log-group": LogGroupAdmin(client("logs")),
            "role": RoleAdmin(client("iam")),
            "function": FunctionAdmin(client("lambda"), zips, self._waiter),
        }

    def _wanted(self, secret: str, code: bytes, given: Mapping[str, str]) -> tuple[Resource, ...]:
        tags = {**given, PIPELINE_TAG: self.pipeline}
        place, name = self.aws.place, self.name
        log_group = f"/aws/lambda/{name}"
        keys = [["kind", "S"], ["n", "N"]]
        role = {
            "trust": document([trust("Lambda", LAMBDA)]),
            "policy": _policy(place, name, log_group),
            "permissions_boundary": None,
        }
        reserves = FunctionAdmin(self.aws.client("lambda")).can_reserve(CONCURRENCY)
        function = {
            "code_sha256": base64.b64encode(hashlib.sha256(code).digest()).decode(),
            "handler": HANDLER,
            "runtime": RUNTIME,
            "architecture": "arm64",
            "memory": 256,
            "timeout": TIMEOUT_SECONDS,
            "role": place.role(name),
            "environment": [
                f"SECRET_SHA256={hashlib.sha256(secret.encode()).hexdigest()}",
                f"TABLE={name}",
            ],
            "subnets": [],
            "security_groups": [],
            "reserved_concurrency": CONCURRENCY if reserves else None,
        }
        return (
            Resource("table", name, {"keys": keys, "stream": None}, tags),
            Resource("log-group", log_group, {"retention_days": 1}, tags),
            Resource("role", name, role, {**tags, REGION_TAG: place.region}),
            Resource("function", name, function, tags),
        )


def _policy(place: Place, name: str, log_group: str) -> dict[str, Any]:
    """Return what the function may do: its own table's items and its own log, and nothing to delete."""
    items = "dynamodb:GetItem dynamodb:PutItem dynamodb:Query"
    return document(
        [
            allow("Log", "logs:CreateLogStream logs:PutLogEvents", f"{place.log_group(log_group)}:*"),
            allow("Remember", items, place.table(name)),
        ]
    )


def _code() -> bytes:
    """Return the function's zip: the folder prove_api alone."""
    root = Path(fifo_cli.__file__).parent
    paths = [root / "__init__.py", *sorted((root / "prove_api").glob("*.py"))]
    return zipped({f"fifo_cli/{path.relative_to(root).as_posix()}": path.read_bytes() for path in paths})
