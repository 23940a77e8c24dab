"""The JSON of results."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from fifo_cli.render.documents import json_document, json_line


def test_a_document_is_indented_and_keeps_letters_as_they_are() -> None:
    assert json_document({"a": "é", "b": [1]}) == '{\n  "a": "é",\n  "b": [\n    1\n  ]\n}\n'


def test_a_row_is_one_line_even_with_line_breaks_in_it() -> None:
    row = {"body": "a\nb\u2028c"}

    assert json_line(row).count("\n") == 1
    assert json.loads(json_line(row)) == row


@pytest.mark.parametrize("write", [json_document, json_line])
def test_what_acts_on_a_terminal_is_escaped_and_reads_the_same(write: Callable[[object], str]) -> None:
    acting = "\x1b[2J \x7f \x9b31m \u202egnp.exe \u2028 \u061c \udcff"
    written = write({"body": acting, "naïve 日本 🎉": 1})

    assert json.loads(written) == {"body": acting, "naïve 日本 🎉": 1}
    assert "naïve 日本 🎉" in written
    assert not set(written) & set("\x1b\x7f\x9b\u202e\u2028\u061c\udcff")


@pytest.mark.parametrize("write", [json_document, json_line])
def test_what_json_cannot_hold_is_never_written(write: object) -> None:
    assert callable(write)
    with pytest.raises(ValueError, match="Out of range"):
        write({"a": float("nan")})
