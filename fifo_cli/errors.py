"""What can go wrong, as a tree, and the exit code of each branch (docs/ops-box.md).

FifoError
├── UsageError            2   the command line or fifo.toml is wrong; nothing was touched
│   ├── ConfigError           every problem found in fifo.toml, together
│   └── DeclinedError         a person answered no
├── AwsError              3   AWS, or the embedded stack, refused or could not be reached
│   ├── AbandonedError        it did not answer after a signal, and was not waited for
│   ├── NotDeployedError      a resource of the pipeline does not exist
│   └── StackError            the embedded stack is missing, stopped, or will not start
├── NeedsAttention        1   done, but something needs a look
├── BusyError            75   another maintenance operation holds this pipeline
└── Interrupted 130/143/129   SIGINT, SIGTERM or SIGHUP
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence


# The user and password of a URL. A password may hold what a URL does not allow in one (/, ?, #, @); then a
# colon follows the user that no port comes after. botocore quotes an endpoint that has no scheme, too.
_LOGIN_IN_URL: Final = re.compile(
    r"""(?:(?<=://)|(?<=Invalid endpoint: ))"""
    r"""(?:[^\s/?#@:\["']*:(?!\d+(?:[/?#\s"']|$))[^\s"']*|[^\s/?#"']*)@"""
)


def without_login(text: str) -> str:
    """Return a text with ``***`` for the user and password of every URL: it may end in a log."""
    return _LOGIN_IN_URL.sub("***@", text) if "@" in text else text


class ExitCode(IntEnum):
    """The exit codes of every command but ``check``."""

    OK = 0
    ATTENTION = 1
    USAGE = 2
    AWS = 3
    BUSY = 75
    INTERRUPTED = 130
    TERMINATED = 143
    HUNG_UP = 129


class FifoError(Exception):
    """A failure a person can act on: what failed and why, and what to do next (``hint``).

    Neither shows the user and password of a URL.
    """

    exit_code: ExitCode = ExitCode.AWS

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = without_login(message)
        self.hint = without_login(hint)
        super().__init__(self.message)


class UsageError(FifoError):
    """The command line or the configuration is wrong; nothing was touched."""

    exit_code = ExitCode.USAGE


class ConfigError(UsageError):
    """fifo.toml has problems; ``problems`` holds one line for each."""

    def __init__(self, message: str, problems: Sequence[str] = (), *, hint: str = "") -> None:
        super().__init__("\n".join([message, *(f"  {problem}" for problem in problems)]), hint=hint)
        self.problems = tuple(problems)


class DeclinedError(UsageError):
    """A question was not answered with yes; that is not a mistake."""


class AwsError(FifoError):
    """AWS refused, or could not be reached."""

    exit_code = ExitCode.AWS


class AbandonedError(AwsError):
    """AWS did not answer after a signal; the call was given up."""


class NotDeployedError(AwsError):
    """A resource of this pipeline does not exist in this account and region."""


class StackError(AwsError):
    """The embedded stack is not installed, not running, or would not start."""


class NeedsAttention(FifoError):
    """The work is done, but a person should look at it."""

    exit_code = ExitCode.ATTENTION


class BusyError(FifoError):
    """Another maintenance operation holds this pipeline."""

    exit_code = ExitCode.BUSY


class Interrupted(FifoError):
    """SIGINT, SIGTERM or SIGHUP arrived; what was in flight is finished or released."""

    exit_code = ExitCode.INTERRUPTED

    def __init__(self, message: str = "interrupted", *, exit_code: ExitCode = ExitCode.INTERRUPTED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
