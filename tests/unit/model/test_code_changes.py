"""What differs between two zips: settings, requirements, this program's part, and the user's files."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.model.code_changes import SETTINGS_FILE, SHORT_LINES, NewCode, code_changes

OURS = {
    "fifo_cli/__init__.py": b'__version__ = "1.0.0"\n',
    "fifo_cli/handlers/worker.py": b"def handler(): ...\n",
    "httpx/__init__.py": b"",
    "httpx/__version__.py": b'__title__ = "httpx"\n__version__ = "0.28.1"\n',
}
SETTINGS: dict[str, Any] = {
    "pipeline": "orders",
    "message": {"events": ["INSERT"], "where": "status == 'paid'", "body": None},
    "messages_per_run": 10,
    "apis": [{"url": "https://api.example.com/v1", "headers": {"Authorization": "Bearer {key}"}}],
    "code": {"message": "orders:to_message", "request": None},
}
SECRET = "hunter2hunter2"


def settings(**changes: Any) -> dict[str, bytes]:
    return {SETTINGS_FILE: json.dumps({**SETTINGS, **changes}).encode()}


def api(**changes: Any) -> dict[str, bytes]:
    return settings(apis=[{**SETTINGS["apis"][0], **changes}])


def wheel(name: str, version: str, *modules: str) -> dict[str, bytes]:
    info = f"{name}-{version}.dist-info"
    files = {f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()}
    for module in modules:
        files[f"{module}/__init__.py"] = f"# {version}\n".encode()
    if modules:
        files[f"{info}/top_level.txt"] = "\n".join(modules).encode()
    return files


def changes(
    old: dict[str, bytes], new: dict[str, bytes], own: tuple[str, ...] = (), *, whole: bool = False
) -> list[tuple[str, Any, Any]]:
    found = code_changes(
        OURS | old,
        NewCode(OURS | new, own, {"httpx"}),
        is_secret=lambda name, data: name.endswith(".pem"),
        whole=whole,
    )
    return [(one.path, one.old, one.new) for one in found]


def unified(
    before: str, after: str, *, name: str = "orders.py", whole: bool = False
) -> tuple[str, ...] | None:
    new = NewCode({**OURS, name: after.encode()}, {name})
    found = code_changes(
        {**OURS, name: before.encode()}, new, is_secret=lambda name, data: name.endswith(".pem"), whole=whole
    )
    return found[0].unified


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (settings(), []),
        (
            settings(message={**SETTINGS["message"], "where": "status == 'Paid'"}),
            [("settings.message.where", "status == 'paid'", "status == 'Paid'")],
        ),
        (
            settings(message={**SETTINGS["message"], "where": None}),
            [("settings.message.where", "status == 'paid'", None)],
        ),
        (
            settings(message={**SETTINGS["message"], "group": "customer_id"}),
            [("settings.message.group", None, "customer_id")],
        ),
        (
            settings(message={**SETTINGS["message"], "events": ["INSERT", "MODIFY"]}),
            [("settings.message.events", ["INSERT"], ["INSERT", "MODIFY"])],
        ),
        (settings(messages_per_run=20), [("settings.schedule.messages_per_run", 10, 20)]),
        (
            settings(worker={"retry_first": 10.0, "retry_longest": 300.0}, run_needs=7.5),
            [
                ("settings.worker.retry[0]", None, "10s"),
                ("settings.worker.retry[1]", None, "5m"),
                ("settings.run_needs", None, "7.5s"),
            ],
        ),
        (
            settings(code={"message": "orders:other", "request": "orders:to_request"}),
            [
                ("settings.handlers.message", "orders:to_message", "orders:other"),
                ("settings.handlers.request", None, "orders:to_request"),
            ],
        ),
        (
            api(url="https://api.example.com/v2"),
            [("settings.api.url", "https://api.example.com/v1", "https://api.example.com/v2")],
        ),
        (
            settings(apis=[SETTINGS["apis"][0], {"url": "https://b.example.com/"}]),
            [
                ("settings.api[1].url", None, "https://api.example.com/v1"),
                ("settings.api[1].headers.Authorization", None, "Bearer {key}"),
                ("settings.api[2].url", None, "https://b.example.com/"),
                ("settings.api.url", "https://api.example.com/v1", None),
                ("settings.api.headers.Authorization", "Bearer {key}", None),
            ],
        ),
    ],
)  # fmt: skip
def test_settings_are_named_as_in_fifo_toml(changed: dict[str, bytes], expected: Any) -> None:
    found = changes(settings(), changed)
    assert found == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Bearer {key}", "Bearer {token}", ("Bearer {key}", "Bearer {token}")),
        (f"Bearer {SECRET}", "Bearer {key}", ("***", "Bearer {key}")),
        (f"Bearer {SECRET}", f"Bearer {SECRET}2", ("***", "*** (changed)")),
        (SECRET, f"{SECRET} {{key}}", ("***", "*** (changed)")),
        ("Bearer {key}", f"{SECRET}{{key}}", ("Bearer {key}", "***")),
        (None, SECRET, (None, "***")),
    ],
)
def test_a_header_shows_its_placeholders_and_nothing_else(old: Any, new: Any, expected: Any) -> None:
    headers = [{} if value is None else {"Authorization": value} for value in (old, new)]
    found = changes(api(headers=headers[0]), api(headers=headers[1]))
    assert found == [("settings.api.headers.Authorization", *expected)]
    assert SECRET not in repr(found)


def test_no_secret_of_auth_or_of_a_query_is_shown() -> None:
    old = api(auth={"type": "basic", "password": SECRET}, url="https://a.example.com/?token=abc&v=1")
    new = api(auth={"type": "hmac", "secret": f"x{SECRET}"}, url="https://a.example.com/?token=abd&v=1")
    found = changes(old, new)
    assert ("settings.api.auth.type", "basic", "hmac") in found
    assert ("settings.api.auth.password", "***", None) in found
    assert ("settings.api.url", "https://a.example.com/?token=***&v=***", "*** (changed)") in found
    assert SECRET not in repr(found)
    assert "abd" not in repr(found)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (wheel("requests", "2.31.0", "requests"), wheel("requests", "2.32.3", "requests"),
         [("requirements.requests", "2.31.0", "2.32.3")]),
        ({}, wheel("PyYAML", "6.0.2", "yaml"), [("requirements.pyyaml", None, "6.0.2")]),
        (wheel("PyYAML", "6.0.2", "yaml"), {}, [("requirements.pyyaml", "6.0.2", None)]),
        # Without top_level.txt, as hatchling makes it.
        (wheel("stripe_sdk", "1.0") | {"stripe_sdk/a.py": b"1"}, wheel("stripe_sdk", "1.1"),
         [("requirements.stripe-sdk", "1.0", "1.1")]),
        ({}, wheel("beautifulsoup4", "4.12") | {"bs4/__init__.py": b"x"},
         [("requirements.beautifulsoup4", None, "4.12")]),
        (wheel("six", "1.16", "six"), wheel("six", "1.16", "six") | {"six/__init__.py": b"patched"},
         [("requirements", "the same versions", "other content: six/__init__.py")]),
        ({}, {"fifo_cli/__init__.py": b'__version__ = "1.1.0"\n'}, [("fifo-cli", "1.0.0", "1.1.0")]),
        ({}, {"fifo_cli/handlers/worker.py": b"patched"},
         [("fifo-cli", "1.0.0", "1.0.0 (other content: fifo_cli/handlers/worker.py)")]),
        ({}, {"httpx/__version__.py": b'__version__ = "0.29.0"\n'},
         [("libraries.httpx", "0.28.1", "0.29.0")]),
    ],
)  # fmt: skip
def test_requirements_libraries_and_this_program_are_compared_by_version(
    old: Any, new: Any, expected: Any
) -> None:
    assert changes(old, new) == expected


def test_files_of_the_user_are_named_and_a_folder_that_comes_or_goes_is_one_entry() -> None:
    folder = {f"rules/r{number}.py": b"x = 1\n" for number in range(5)}
    own = ("orders.py", "new.py", "logo.png", "key.pem")
    old = {"orders.py": b"a = 1\n", "gone.py": b"", "logo.png": b"\0\1", "key.pem": b"OLD KEY", **folder}
    new = {"orders.py": b"a = 2\n", "new.py": b"b = 1\n", "logo.png": b"\0\2\3", "key.pem": b"NEW KEY"}
    found = changes(old, new, own)
    assert [(path, before and before.partition(" (")[0], after and after.partition(" (")[0])
            for path, before, after in found] == [
        ("files.rules/", "5 files, 30 bytes", None),
        ("files.gone.py", "0 bytes", None),
        ("files.key.pem", "7 bytes", "7 bytes"),
        ("files.logo.png", "2 bytes", "3 bytes"),
        ("files.new.py", None, "6 bytes"),
        ("files.orders.py", "6 bytes", "6 bytes"),
    ]  # fmt: skip
    assert "KEY" not in repr(found)


def test_a_changed_text_is_shown_as_a_short_unified_diff_or_all_of_it() -> None:
    before = "\n".join(f"line {number}" for number in range(100))
    after = before.replace("line", "LINE")
    assert unified("a\nb\nc\n", "a\nB\nc\n") == ("@@ -1,3 +1,3 @@", " a", "-b", "+B", " c")
    short = unified(before, after)
    assert short is not None
    assert len(short) == SHORT_LINES + 1
    assert short[-1] == "(189 more lines)"
    whole = unified(before, after, whole=True)
    assert whole is not None
    assert len(whole) == 201
    assert unified("a", "b" * 300_000) is None
    assert unified("a", "b\0") is None
    assert unified("-----OLD", "-----NEW", name="key.pem") is None


@pytest.mark.parametrize(
    "line",
    [
        f"password = '{SECRET}'",
        f'API_KEY: str = "{SECRET}"',
        f'config = {{"api_key": "{SECRET}", "n": 1}}',
        f"db_password='{SECRET}'",
        f'client_secret = b"{SECRET}"',
        f'headers["Authorization"] = "{SECRET}"',
        f"TOKEN = f'{SECRET}'",
    ],
)
def test_a_line_that_sets_a_secret_shows_no_value(line: str) -> None:
    found = unified("x = 1\n", f"{line}\n")
    assert found is not None
    assert SECRET not in repr(found)
    assert "***" in repr(found)


@given(
    st.dictionaries(st.text(min_size=1), st.binary(max_size=20)),
    st.dictionaries(st.text(min_size=1), st.binary()),
)
def test_any_two_zips_can_be_compared(old: dict[str, bytes], new: dict[str, bytes]) -> None:
    found = code_changes(old, NewCode(new, frozenset(new)), is_secret=lambda name, data: False)
    assert bool(found) == (old != new)
