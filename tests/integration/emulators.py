"""The two emulators that provisioning is tested on, and what one of them cannot keep of AWS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.model.planning import Change, Plan
from fifo_cli.model.settings import Project
from fifo_cli.operations.deploy.plan import plan

# What moto (5.2) forgets of what it is given, by kind of resource and path in a plan.
MOTO_FORGETS: Final = frozenset(
    {
        # Its queues have no RedriveAllowPolicy.
        ("queue", "redrive_allow"),
        # Of a mapping to an alias it keeps the version; AWS keeps the alias.
        ("event-source-mapping", "function"),
    }
)


@dataclass(frozen=True)
class Emulator:
    """A running emulator of AWS; ``forgets`` names what it does not keep."""

    name: Literal["ministack", "moto"]
    endpoint: str
    forgets: frozenset[tuple[str, str]] = frozenset()

    def aws(self) -> Aws:
        return Aws(AwsEndpoint(endpoint_url=self.endpoint, local=True))

    def drift(self, aws: Aws, project: Project) -> set[tuple[str, str, str, str]]:
        """Return what a plan would change, by action, kind, name and path, but for what is forgotten here."""
        return self.parts(plan(aws, project))

    def parts(self, planned: Plan) -> set[tuple[str, str, str, str]]:
        """Return the changes of a plan by action, kind, name and path, but for what is forgotten here."""
        return {one for change in planned.changes for one in self._parts(change)}

    def _parts(self, change: Change) -> Iterator[tuple[str, str, str, str]]:
        if change.action != "update":
            yield (change.action, change.kind, change.name, "")
            return
        for path in {one.path.partition(".")[0] for one in change.diff}:
            if (change.kind, path) not in self.forgets:
                yield (change.action, change.kind, change.name, path)


@contextmanager
def moto_server() -> Iterator[Emulator]:
    """Run moto's server on a free port until the block ends."""
    from moto.server import (
        ThreadedMotoServer,
    )  # it takes a second, which most processes of the tests can save

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Emulator("moto", f"http://{host}:{port}", MOTO_FORGETS)
    finally:
        server.stop()
