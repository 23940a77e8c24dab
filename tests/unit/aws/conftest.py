"""Gateways of resources are tested against moto."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto import mock_aws

from tests.unit.aws.bench import Bench


@pytest.fixture
def moto() -> Iterator[None]:
    """AWS as moto has it, empty."""
    with mock_aws():
        yield


@pytest.fixture
def bench() -> Bench:
    """Lambda as a test shows it to answer."""
    return Bench()
