"""Which ports are free, and who holds the others."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from fifo_cli.local import ports

needs_proc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux's /proc shows")


def test_a_picked_port_can_be_listened_on():
    port = ports.free_port()
    assert ports.is_free(port)
    with socket.create_server((ports.HOST, port)):
        assert not ports.is_free(port)
    assert ports.is_free(port)


def test_a_listener_on_all_addresses_takes_the_port_on_loopback_too():
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert not ports.is_free(server.getsockname()[1])


def test_a_port_bound_without_listening_is_not_free():
    with socket.socket() as bound:
        bound.bind((ports.HOST, 0))
        assert not ports.is_free(bound.getsockname()[1])


@needs_proc
def test_the_holder_of_a_port_is_named():
    with socket.create_server((ports.HOST, 0)) as server:
        assert ports.holder_of(server.getsockname()[1]).startswith(f"process {os.getpid()} (")


def test_nobody_is_named_for_a_free_port():
    assert ports.holder_of(ports.free_port()) == ""
