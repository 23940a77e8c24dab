"""``python -m fifo_cli`` and the ``fifo-cli`` script."""

# Before all else, so that a signal while the rest loads prints no traceback; nothing has begun by then.
# _signal is in the interpreter; signal itself, which imports enum, takes milliseconds to load.
import _signal  # type: ignore[import-not-found]
import atexit
import os

_SIGNALS = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)


def _leave(number: int, frame: object) -> None:
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(128 + number)


def _ignore() -> None:
    for number in _SIGNALS:
        if _signal.getsignal(number) is _leave:
            _signal.signal(number, _signal.SIG_IGN)


for _number in _SIGNALS:
    # What is ignored stays so: a shell starts background jobs with SIGINT ignored, and nohup means it.
    if _signal.getsignal(_number) in (_signal.SIG_DFL, _signal.default_int_handler):
        _signal.signal(_number, _leave)
# At its end Python gives signals their default action back before it frees what was loaded, which takes tens
# of milliseconds. All is done and reported by then, and the exit code is that of the command.
atexit.register(_ignore)

# Python's own 700 makes the collector run some hundred times while boto and pydantic load, to find nothing.
# Until a command has loaded all it makes 100,000 objects and more. Without a collection before that a `depth`
# takes 40 ms less. In a long run cycles worth a few MB may wait.
_LOADED_BY = 200_000
_COLLECT_EVERY = 30_000


def main() -> int:
    """Run the command line and return its exit code."""
    import gc  # noqa: PLC0415 - after the first lines, see above

    def begin_collecting(phase: str, info: dict[str, int]) -> None:
        gc.callbacks.remove(begin_collecting)
        gc.set_threshold(_COLLECT_EVERY)

    gc.callbacks.append(begin_collecting)
    gc.set_threshold(_LOADED_BY)
    try:
        from fifo_cli.cli.app import main as run  # noqa: PLC0415

        return run()
    finally:
        # The interpreter's last collection would walk all that was loaded, to free what the end frees anyway:
        # 90 ms of a `depth`.
        gc.freeze()


if __name__ == "__main__":
    raise SystemExit(main())
