"""No part of a secret is shown, in every encoding a text holds it; ordinary words are."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fifo_cli.handlers.redaction import WITHHELD, Redactor
from tests.encodings import ENCODINGS, PART, REVERSIBLE, encoded

SECRET = 's3cr3t/Key+with=Some&Odd "Parts"-\u00e9-9f8e7d'


def made(*values: str) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.add(value)
    return redactor


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_a_secret_is_hidden_in_every_encoding(encode: Callable[[str], str]) -> None:
    shown = made(SECRET)(f"the API said: {encode(SECRET)} and no more")
    assert shown == WITHHELD or ("***" in shown and "9f8e7d" not in shown)
    assert encode(SECRET)[: PART + 6] not in shown


def test_what_is_no_secret_is_shown_as_it_is() -> None:
    text = 'HTTP 422: {"error": "no such order", "id": "3f2b8c1d-9a7e", "trace": "YWJjZGVmZ2hpamts"} 100 %'
    assert made(SECRET)(text) == text
    assert Redactor()(SECRET) == SECRET


@pytest.mark.parametrize(
    ("value", "text", "shown"),
    [
        ("test", "a contest of test, retest", "a contest of ***, retest"),
        ("test", "tested TEST (test)", "tested *** (***)"),
        ("abcd123", "abcd1234 abcd123", "abcd1234 ***"),
        ("abcd1234", "xxabcd1234xx", "xx***xx"),
        ("abcd12345678", "cut off: abcd12345", "cut off: ***"),
        ("abcd12345678", "the end is cd12345678", "the end is ***"),
        ("abcd12345678", "abcd12345678abcd12345678", "******"),
        ("abc", "abc is too short to hide", "abc is too short to hide"),
        ("", "nothing", "nothing"),
    ],
)
def test_only_the_secret_is_hidden(value: str, text: str, shown: str) -> None:
    assert made(value)(text) == shown


def test_a_short_secret_is_found_in_another_encoding() -> None:
    assert made("pa55")(f"Basic {ENCODINGS['base64']('user:pa55')}") == WITHHELD


def test_several_secrets_are_hidden_side_by_side() -> None:
    assert made("old-value", "new-value")("old-value new-value") == "*** ***"


def test_a_long_text_is_cut_off() -> None:
    shown = made(SECRET)("x" * 10_000 + SECRET)
    assert len(shown) < 4_100
    assert shown.endswith("…")


_ALPHABETS = [
    st.characters(min_codepoint=0x21, max_codepoint=0x7E),
    st.sampled_from("0123456789abcdef"),
    st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_"),
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Z"]),
]
_SECRETS = st.one_of([st.text(alphabet, min_size=8, max_size=200) for alphabet in _ALPHABETS])


@settings(max_examples=400)
@given(_SECRETS, st.sampled_from(REVERSIBLE), st.sampled_from(REVERSIBLE), st.data())
@example("abcdefgh", "base64 of user:KEY", "base64 without padding", None)
@example("\U00018cd600\xa1\xa1\U0001342f\xa1\U0002ebe1", "repr", "hex dump", None)
def test_no_seven_characters_of_a_secret_are_shown(
    secret: str, inner: str, outer: str, data: st.DataObject | None
) -> None:
    text = encoded(secret, inner, outer)
    start = data.draw(st.integers(0, len(text))) if data else 1
    end = data.draw(st.integers(start, len(text))) if data else len(text)
    shown = made(secret)(f"HTTP 500: {text[start:end]}")
    assert shown.startswith("HTTP 500: ") or shown == WITHHELD
    for part in _parts(secret):
        for form in (part, ENCODINGS[inner](part), encoded(part, inner, outer)):
            assert len(form) < PART or form not in shown
    # A longer piece would hold seven characters of the secret, with what stands around it.
    windows = (secret[at : at + PART] for at in range(len(secret) - PART + 1))
    longest = max(len(encoded(part, inner, outer)) for part in windows) * 8 / PART + 16
    assert end - start <= longest or text[start:end] not in shown


def _parts(secret: str) -> Iterator[str]:
    """Some of the parts of seven characters: all of a short secret."""
    starts = range(len(secret) - PART + 1)
    yield from (
        secret[start : start + PART] for start in random.Random(0).sample(starts, min(len(starts), 20))
    )
