"""Imported before a process forks runs of the program: what provisioning imports, and botocore's models."""

from __future__ import annotations

import gc
from typing import Any

import tests.botocore_models  # noqa: F401
from fifo_cli.aws.session import SERVICES, Aws, Target

_aws: Any = Aws(Target(local=True, endpoint_url="http://127.0.0.1:9"))
for _service in SERVICES:
    if _service != "ec2":  # the largest model of all, which only a destroy of functions in a VPC reads
        _aws.client(_service)
# What is imported stays: a fork need not look through it for garbage, which would copy its pages besides.
gc.collect()
gc.freeze()
