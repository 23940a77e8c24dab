"""``python -m fifo_cli`` and the ``fifo-cli`` script."""

# Before all else, so that an interrupt while the rest loads prints no traceback; nothing has begun by then.
# _signal is in the interpreter; signal itself, which imports enum, takes milliseconds to load.
import _signal  # type: ignore[import-not-found]
import os

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, lambda number, frame: os._exit(130))

# Python's own 700 makes the collector run some hundred times while boto and pydantic load, to find nothing.
# In a long run cycles worth a few MB may wait.
_COLLECT_EVERY = 30_000


def main() -> int:
    """Run the command line and return its exit code."""
    import gc  # noqa: PLC0415 - after the first lines, see above

    # Else pydantic reads what every installed package says of itself, for plugins: a thirtieth of the start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    gc.set_threshold(_COLLECT_EVERY, *gc.get_threshold()[1:])
    try:
        from fifo_cli.cli.app import main as run  # noqa: PLC0415

        return run()
    finally:
        # The interpreter's last collection would walk all that was loaded, to free what the end frees anyway.
        gc.freeze()


if __name__ == "__main__":
    raise SystemExit(main())
