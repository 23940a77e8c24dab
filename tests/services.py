"""AWS's services that the program has clients of."""

from __future__ import annotations

from typing import get_args, get_overloads

from fifo_cli.aws import session
from fifo_cli.aws.session import Aws

SERVICES = tuple(
    name
    for overload in get_overloads(Aws.client)
    for name in get_args(eval(overload.__annotations__["service"], vars(session)))
)
assert SERVICES
