"""Imported before a process forks runs of the program: what any command imports or builds at first use."""

from __future__ import annotations

import pkgutil
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx  # noqa: F401
import rich.live  # noqa: F401

import fifo_cli.cli.commands
import fifo_cli.local.stack
import fifo_cli.operations
import fifo_cli.render
import tests.built_once  # noqa: F401
from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.model.settings import load
from fifo_cli.operations.deploy.builtin_libraries import bundled_files
from tests.services import SERVICES

for _package in (fifo_cli.operations, fifo_cli.render, fifo_cli.cli.commands):
    for _found in pkgutil.walk_packages(_package.__path__, _package.__name__ + "."):
        import_module(_found.name)
import_module("fifo_cli.cli.screen")
_aws: Any = Aws(AwsEndpoint(local=True, endpoint_url="http://127.0.0.1:9"))
for _service in SERVICES:
    if _service != "ec2":  # the largest model of all, which only a destroy of functions in a VPC reads
        _aws.client(_service)
# pydantic builds what checks a table when it first checks one: half of the time of a short command.
with tempfile.TemporaryDirectory() as _folder:
    _config = Path(_folder, "fifo.toml")
    _config.write_text(
        """
        [pipeline]
        name = "warm"
        [table]
        name = "warm"
        [message]
        [queue]
        [schedule]
        expressions = ["rate(1 hour)"]
        [functions]
        [check]
        [[api]]
        url = "http://127.0.0.1:9"
        """
    )
    # What of this installation goes into the zip is read once a process, in each deploy, plan and status.
    bundled_files(load(_config).settings.functions.runtime)
