"""``python -m fifo_cli`` and the ``fifo-cli`` script."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit code."""
    try:
        from fifo_cli.cli.app import main as run  # noqa: PLC0415 - Ctrl-C while it loads prints no traceback

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
