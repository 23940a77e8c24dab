"""Which hosts are this machine."""

from __future__ import annotations

import ipaddress


def is_this_machine(host: str) -> bool:
    """Whether a URL's host is this machine by its name or address alone."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
