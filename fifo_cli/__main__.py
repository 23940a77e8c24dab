"""``python -m fifo_cli`` and the ``fifo-cli`` script."""

from __future__ import annotations

import gc
import os
import sys
from typing import Final

# Python's own 700 makes the collector run some hundred times while boto and pydantic load, to find nothing.
# In a long run cycles worth a few MB may wait.
_COLLECT_EVERY: Final = 30_000


def main() -> int:
    """Run the command line and return its exit code."""
    # Else pydantic reads what every installed package says of itself, for plugins: a thirtieth of the start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    gc.set_threshold(_COLLECT_EVERY, *gc.get_threshold()[1:])
    try:
        from fifo_cli.cli.app import main as run  # noqa: PLC0415 - Ctrl-C while it loads prints no traceback

        return run()
    except KeyboardInterrupt:
        return 130
    finally:
        # The interpreter's last collection would walk all that was loaded, to free what the end frees anyway.
        gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
