"""No part of a secret is shown, in every encoding a text holds it; ordinary words are."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fifo_cli.handlers.redaction import WITHHELD, Redactor
from tests.encodings import ENCODINGS, PART, REVERSIBLE, encoded, leak

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


@pytest.mark.parametrize(
    "mark", ["<b>{}</b>", '<i class="x">{}</i>', "\x1b[1m{}", "\x1b[0;31m{}\x1b[0m", "<wbr>{}"]
)
@pytest.mark.parametrize("encode", [str, lambda text: text[:20], lambda text: text[-PART:]])
def test_a_secret_is_found_between_what_marks_its_characters(mark: str, encode: Callable[[str], str]) -> None:
    text = "".join(mark.format(char) for char in encode(SECRET))
    assert made(SECRET)(f"no such key: {text}!") == WITHHELD


def test_a_page_is_shown_as_it_is() -> None:
    rows = "".join(
        f'<tr class="r{n}"><td>configuration of {n}</td><td>internationalisation</td></tr>' for n in range(40)
    )
    page = f"<html><head><title>502 Bad Gateway</title></head><body><table>{rows}</table></body></html>"
    assert made(SECRET)(page) == page


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


# How many bits of a text each character of an encoding stands for.
BITS = {
    "base64": 6,
    "base64 for URLs, without padding": 6,
    "base32": 5,
    "base32 in lower case, without padding": 5,
    "base32 with the digits first": 5,
    "base32 with the digits first, in lower case": 5,
    "hexadecimal": 4,
    "HEXADECIMAL": 4,
}


@pytest.mark.parametrize("outer", REVERSIBLE)
def test_a_secret_is_hidden_in_one_encoding_within_another(outer: str) -> None:
    for inner in REVERSIBLE:
        shown = made(SECRET)(f"HTTP 500: {encoded(SECRET, inner, outer)}")
        assert is_hidden(shown, inner), (inner, shown)


@pytest.mark.parametrize(
    "spread",
    [json.dumps, str, ",".join, ", ".join, "\n".join],
    ids=["JSON", "Python", "commas", "commas and blanks", "lines"],
)
def test_a_secret_is_hidden_where_its_characters_are_apart(spread: Callable[[list[str]], str]) -> None:
    """An encoding may itself hold what is put between the characters, as a list of bytes does."""
    page = "The configuration of this customer was refused by the authorisation service. "
    for inner in REVERSIBLE:
        shown = made(SECRET)(f"{page}{spread(list(ENCODINGS[inner](SECRET)))} {page}")
        assert is_hidden(shown, inner), (inner, shown)


def is_hidden(shown: str, inner: str) -> bool:
    return shown == WITHHELD or ("***" in shown and not leak(shown, SECRET, inner, "plain"))


@settings(max_examples=400)
@given(_SECRETS, st.sampled_from(REVERSIBLE), st.sampled_from(REVERSIBLE), st.data())
@example("abcdefgh", "base64 of user:KEY", "base64 without padding", None)
@example("\U00018cd600\xa1\xa1\U0001342f\xa1\U0002ebe1", "repr", "hex dump", None)
@example("00000000\U00010000:", "%uXXXX", "%uXXXX", None)
@example("000000000", "signed bytes", "a list of characters", None)
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


@pytest.mark.parametrize("secret", ["00000000", "q7Zx9Kw2", "q7Zx9Kw2Lm"])
@pytest.mark.parametrize("before", ["", "u", "u:"])
@pytest.mark.parametrize(("name", "bits"), [*BITS.items()])
def test_seven_characters_are_found_wherever_a_piece_of_an_encoding_begins_and_ends(
    secret: str, before: str, name: str, bits: int
) -> None:
    redact, text = made(secret), ENCODINGS[name](before + secret)
    for start in range(len(text)):
        for end in range(start + 1, len(text) + 1):
            # The bytes that are whole in this piece, counted from the secret's first one.
            first, behind = -(-start * bits // 8) - len(before), end * bits // 8 - len(before)
            if min(len(secret), behind) - max(0, first) >= PART:
                piece = text[start:end]
                assert piece not in redact(f"HTTP 500: {piece}"), (start, end)


def _parts(secret: str) -> Iterator[str]:
    """Some of the parts of seven characters: all of a short secret."""
    starts = range(len(secret) - PART + 1)
    yield from (
        secret[start : start + PART] for start in random.Random(0).sample(starts, min(len(starts), 20))
    )


JSON_KEY = json.dumps(
    {"username": "app_user", "password": 'ab"cd/ef\u00e9!ij', "pin": "pa55", "n": [1, "in-a-list"]}
)
PEM = """-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj
MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu
-----END PRIVATE KEY-----
"""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('no access for ab"cd/ef\u00e9!ij', "no access for ***"),
        ("app_user is locked", "*** is locked"),
        ("wrong pin pa55", "wrong pin ***"),
        ("in-a-list", "***"),
        (f"got {JSON_KEY}", "got ***"),
        ("Basic YXBwX3VzZXI6YWIiY2QvZWbDqSFpag==", WITHHELD),
        ('{"pass\\u0077ord":"ab\\"cd\\/ef\\u00e9!ij"}', WITHHELD),
    ],
)
def test_the_fields_of_a_key_that_is_json_are_keys(text: str, shown: str) -> None:
    assert made(JSON_KEY)(text) == shown


@pytest.mark.parametrize("value", ["[", "{", '{"a": ', "[" * 4_000, '["abc"]', "{}", "null", '"text"'])
def test_a_key_that_is_no_json_or_holds_little_is_hidden_as_it_is(value: str) -> None:
    assert made(value)("all is well") == "all is well"


@pytest.mark.parametrize(
    "text",
    [
        "bad line MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3S",
        "bad line " + base64.b64decode("MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3S").hex(),
        "bad line " + base64.b64decode("MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3S").hex(":").upper(),
        PEM.replace("\n", "\\n"),
        PEM.replace("\n", ""),
        PEM.split("\n")[2],
    ],
)
def test_no_line_of_a_pem_key_is_shown(text: str) -> None:
    shown = made(PEM)(text)
    assert shown == WITHHELD or "***" in shown
    assert "MzEfYyj" not in shown
    assert "33311f63" not in shown.replace(":", "").lower()


def test_what_can_be_decoded_without_end_is_withheld() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\\%&u;#x"
    text = "".join(random.Random(7).choices(alphabet, k=4_000))
    assert made(SECRET)(text) == WITHHELD


def test_a_page_that_was_seen_before_is_looked_at_again_when_there_is_another_key() -> None:
    redactor = made("old-value-1")
    assert redactor("another-9") == "another-9"
    redactor.add("another-9")
    assert redactor("another-9") == "***"
    assert [redactor(f"{n}: another-9") for n in range(300)] == [f"{n}: ***" for n in range(300)]


@pytest.mark.parametrize(
    "encode", [ENCODINGS[name] for name in ("plain", "base64", "hexadecimal", "\\uXXXX")]
)
@pytest.mark.parametrize("before", [0, 3_970, 3_999, 4_000, 7_985, 12_345])
def test_a_text_of_any_length_is_shown_without_the_key(encode: Callable[[str], str], before: int) -> None:
    text = "." * before + encode(SECRET) + "." * 9_000
    shown = made(SECRET).long(text)
    assert leak(shown, SECRET, "plain", "plain") is None
    assert shown.endswith("." * 1_000)
    assert made(SECRET).long("." * 20_000) == "." * 20_000
