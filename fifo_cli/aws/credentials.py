"""Credentials: found in every way that botocore knows, and kept where the `aws` CLI keeps them.

Three things differ from botocore's own session. Credentials of a role or a sign-in are read from and written
to the `aws` CLI's cache, so that the code of an MFA device is asked for once, not at each command. The code
is read from the terminal, never from stdin, which may hold a command's input. Every fault is a
CredentialsError.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from getpass import getpass
from glob import glob
from typing import Any, Final

from botocore.credentials import CredentialResolver, create_credential_resolver
from botocore.session import Session
from botocore.utils import JSONFileCache, parse_timestamp

from fifo_cli.aws.errors import CredentialProcessError, CredentialsError, MfaError
from fifo_cli.aws.interruptible_calls import GivenUpError
from fifo_cli.errors import Interrupted
from fifo_cli.interrupts import CHILDREN

# What AWS's SDK for Go allows, too; botocore itself would wait for ever.
PROCESS_SECONDS: Final = 60.0
_TERMINAL: Final = "/dev/tty"


def use_every_source(session: Session) -> None:
    """Let a session find credentials as botocore does, with the `aws` CLI's cache and errors of one kind."""
    # botocore wants a mapping, as its documents have it; its stubs say a dict.
    cache: Any = _Cache(os.path.expanduser(os.path.join("~", ".aws", "cli", "cache")))
    found = create_credential_resolver(session, cache=cache)
    _adapt(found.providers)
    profile = session.get_config_variable("profile")
    session.register_component("credential_provider", _Resolver(found.providers, profile))


class _Resolver(CredentialResolver):
    """botocore's providers in their order; what they raise is a CredentialsError."""

    def __init__(self, providers: Iterable[Any], profile: str | None) -> None:
        super().__init__(list(providers))
        self._profile = profile

    def load_credentials(self) -> Any:
        """Return the first credentials found, None if there are none."""
        for provider in self.providers:
            with _errors_of_one_kind(self._profile, str(provider.METHOD)):
                found = provider.load()
            if found is not None:
                return _Credentials(found, self._profile)
        return None


class _Credentials:
    """Credentials as botocore has them; what a refresh raises is a CredentialsError."""

    def __init__(self, credentials: Any, profile: str | None) -> None:
        self._credentials = credentials
        self._profile = profile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._credentials, name)

    def get_frozen_credentials(self) -> Any:
        """Return the keys that sign a request."""
        with _errors_of_one_kind(self._profile, self._credentials.method):
            frozen = self._credentials.get_frozen_credentials()
            _check_keys(frozen, self._credentials.method)
        return frozen

    def get_deferred_property(self, name: str) -> Callable[[], Any]:
        """Return a function that reads a property, refreshed if need be."""
        read = self._credentials.get_deferred_property(name)

        def reading() -> Any:
            with _errors_of_one_kind(self._profile, self._credentials.method):
                return read()

        return reading


class _Cache(JSONFileCache):
    """The `aws` CLI's cache; a file that cannot be used counts as none, and a folder neither.

    What cannot be written is kept for this process.
    """

    _unwritten: Final[dict[str, Any]] = {}

    def __contains__(self, cache_key: str) -> bool:
        try:
            self[cache_key]
        except KeyError:
            return False
        return True

    def __getitem__(self, cache_key: str) -> Any:
        if cache_key in self._unwritten:
            return self._unwritten[cache_key]
        found = super().__getitem__(cache_key)
        if not _is_entry(found):
            raise KeyError(cache_key)
        return found

    def __setitem__(self, cache_key: str, value: Any) -> None:
        try:
            super().__setitem__(cache_key, value)
        except OSError:
            self._unwritten[cache_key] = value
        else:
            self._unwritten.pop(cache_key, None)


class _Process(subprocess.Popen[bytes]):
    """A ``credential_process``: it has to end in time, and to print the JSON that AWS's documents describe.

    See "Sourcing credentials with an external process" in the AWS SDKs and Tools Reference Guide. What it
    printed is never shown: it may hold a key.
    """

    def communicate(self, input: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Return what the process printed; raises CredentialProcessError if it is of no use."""
        try:
            out, err = super().communicate(input, timeout or PROCESS_SECONDS)
        except subprocess.TimeoutExpired:
            self._end()
            raise self._error(f"it did not end within {PROCESS_SECONDS:.0f} s", passing=True) from None
        except BaseException:
            self._end()
            raise
        finally:
            CHILDREN.over(self)
        if CHILDREN.ended:
            raise GivenUpError
        if self.returncode:
            last = err.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise self._error(": ".join([f"it ended with exit code {self.returncode}", *last]), passing=True)
        _check_output(out, self._error)
        return out, err

    def _end(self) -> None:
        self._kill()
        self.wait()

    def _kill(self) -> None:
        """Kill the process and what it has started; it stays in our group, as it may ask on the terminal."""
        for pid in [self.pid, *_descendants(self.pid)]:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def _error(self, reason: str, *, passing: bool = False) -> CredentialProcessError:
        words = self.args if isinstance(self.args, list) else [self.args]
        return CredentialProcessError(program=str(words[0]), reason=reason, passing=passing)


def _descendants(pid: int) -> Iterator[int]:
    """Yield the children of a process and theirs, where the system has /proc."""
    for path in glob(f"/proc/{pid}/task/*/children"):
        with suppress(OSError), open(path, encoding="ascii") as children:
            for child in map(int, children.read().split()):
                yield child
                yield from _descendants(child)


def _check_output(out: bytes, error: Callable[[str], CredentialProcessError]) -> None:
    try:
        document = json.loads(out.decode("utf-8"))
    except ValueError:
        # `from None`: the exception would hold what was printed.
        raise error("it printed nothing" if not out.strip() else "what it printed is not JSON") from None
    if not isinstance(document, dict):
        raise error("what it printed is not a JSON object")
    if document.get("Version") != 1:
        raise error('what it printed has no "Version": 1')
    for name in ("AccessKeyId", "SecretAccessKey"):
        if not isinstance(document.get(name), str):
            raise error(f"what it printed has no {name}")


def _adapt(providers: Iterable[Any]) -> None:
    """Give botocore's providers our prompt and our way to run a process.

    botocore has no public place for these. Where a later version keeps them under other names, its own prompt
    and its own way hold; tests/unit/aws/test_credentials.py fails then.
    """
    for provider in providers:
        if hasattr(provider, "_prompter"):
            provider._prompter = _ask_for_code
        if hasattr(provider, "_popen"):
            provider._popen = _start
        builder = getattr(provider, "_profile_provider_builder", None)
        if builder is not None:
            builder.providers = _adapted(builder.providers)


def _adapted(make: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """Adapt the providers of a source profile, too."""

    def making(*args: Any, **options: Any) -> list[Any]:
        providers = make(*args, **options)
        _adapt(providers)
        return providers

    return making


def _start(words: list[str], **options: Any) -> _Process:
    try:
        return CHILDREN.start(lambda: _Process(words, **options), _Process._kill)
    except Interrupted:
        raise GivenUpError from None
    except OSError as error:
        reason = f"it cannot be run: {error.strerror}"
        raise CredentialProcessError(program=words[0], reason=reason, passing=False) from error
    except IndexError:
        raise CredentialProcessError(program="", reason="it is empty", passing=False) from None


def _ask_for_code(prompt: str) -> str:
    """Read the code of an MFA device from the terminal without echo; the prompt goes to stderr."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise MfaError(reason="a code is needed, and it cannot be asked for without a terminal") from None
    try:
        code = getpass(prompt, stream=sys.stderr).strip()
    except EOFError:
        code = ""
    if not code:
        raise MfaError(reason="no code was given")
    return code


def _is_entry(found: Any) -> bool:
    """Say whether a cache's file holds what botocore will look for in it."""
    keys = found.get("Credentials") if isinstance(found, dict) else None
    if not isinstance(keys, dict):
        return False
    needed = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
    return all(isinstance(keys.get(name), str) for name in needed) and _is_time(keys["Expiration"])


def _is_time(text: str) -> bool:
    try:
        return parse_timestamp(text).tzinfo is not None
    except ValueError:
        return False


def _check_keys(frozen: Any, method: str) -> None:
    """Refuse keys that cannot be in a header, without showing them."""
    names = {
        "AWS_ACCESS_KEY_ID": frozen.access_key,
        "AWS_SECRET_ACCESS_KEY": frozen.secret_key,
        "AWS_SESSION_TOKEN": frozen.token,
    }
    for name, value in names.items():
        if value and not all("!" <= letter <= "~" for letter in value):
            message = f"${name}" if method == "env" else name.lower()
            raise ValueError(f"{message} holds a space, a line break or a character that is not ASCII")


@contextmanager
def _errors_of_one_kind(profile: str | None, method: str) -> Iterator[None]:
    try:
        yield
    except (CredentialsError, GivenUpError):
        raise
    except Exception as error:
        raise CredentialsError(profile=profile, method=method, error=error) from error
