"""The network interfaces that Lambda makes for functions in a VPC, and deletes some time after them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from fifo_cli.aws.errors import calling
from fifo_cli.aws.resources.gateway import Pending, TimedOut, Waiter
from fifo_cli.invocation import command_line

# Lambda Developer Guide, "Giving Lambda functions access to resources in an Amazon VPC": 20 minutes;
# AWS re:Post, "How do I delete a network interface that Lambda created?": up to 45.
DELETED_WITHIN_SECONDS: Final = 45 * 60.0
_LAMBDAS: Final = "AWS Lambda VPC ENI*"
_UUID: Final = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@dataclass(frozen=True, slots=True)
class NetworkInterfaces:
    """Lambda's interfaces by the function; ``ec2`` makes the client, whose model takes long to load."""

    ec2: Callable[[], Any]
    waiter: Waiter = field(default_factory=Waiter)

    def wait_deleted(self, function: str) -> None:
        """Wait until Lambda has deleted the interfaces that it made for a function.

        Lambda does this with the role of the function, after the function is deleted. Raises TimedOut if it
        does not.
        """

        def attempt() -> Pending | None:
            found = self._of(function)
            if not found:
                return None
            return Pending(
                f"waiting for Lambda to delete {', '.join(found)}, which takes up to"
                f" {DELETED_WITHIN_SECONDS / 60:.0f} minutes"
            )

        try:
            self.waiter.until(attempt, name=f"role {function}", limit=DELETED_WITHIN_SECONDS)
        except TimedOut as error:
            raise TimedOut(
                error.message,
                hint=f"Lambda needs the role for that: run {command_line('destroy')} again: it waits again."
                " If another function with the same subnets and security groups still uses the network"
                " interface, delete the role when that function is gone",
            ) from error

    def _of(self, function: str) -> list[str]:
        with calling(f"the network interfaces of {function}"):
            pages = (
                self.ec2()
                .get_paginator("describe_network_interfaces")
                .paginate(Filters=[{"Name": "description", "Values": [_LAMBDAS]}])
            )
            return sorted(
                one["NetworkInterfaceId"]
                for page in pages
                for one in page["NetworkInterfaces"]
                if _is_of(function, one)
            )


def _is_of(function: str, interface: dict[str, Any]) -> bool:
    """Say whether an interface was made for a function: its description or its requester names it."""
    description, requester = interface.get("Description", ""), interface.get("RequesterId", "")
    return bool(
        re.fullmatch(f"AWS Lambda VPC ENI-{re.escape(function)}-{_UUID}", description)
        or (description.startswith(_LAMBDAS[:-1]) and requester.endswith(f":{function}"))
    )
