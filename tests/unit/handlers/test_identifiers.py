from __future__ import annotations

import re
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.handlers.identifiers import sqs_id

LEGAL = re.compile(r"[!-~]{1,128}")


@given(st.text(max_size=300))
def test_every_text_becomes_a_legal_id(text):
    assert LEGAL.fullmatch(sqs_id(text))


@given(st.text(st.characters(codec="utf-8"), max_size=10))
def test_a_short_id_can_be_decoded_so_no_two_texts_share_one(text):
    encoded = sqs_id(text)
    assert text == ("" if encoded == "%~" else urllib.parse.unquote(encoded) if "%" in encoded else encoded)


@given(st.lists(st.text(st.sampled_from("ab%~ 0é"), max_size=4), unique=True))
def test_texts_made_of_the_awkward_characters_stay_apart(texts):
    assert len({sqs_id(text) for text in texts}) == len(texts)


def test_long_texts_that_differ_only_at_the_end_stay_apart():
    long = "x" * 500
    assert sqs_id(long + "a") != sqs_id(long + "b")
    assert len(sqs_id(long)) == 128


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x" * 127, True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("!" * 128, True),
        ("~", True),
        ("a b", False),
        (" ", False),
        ("\x7f", False),
        ("\t", False),
        ("é", False),
        ("%", False),  # it begins an escape
        ("", False),
    ],
)
def test_what_sqs_takes_is_kept_and_all_else_becomes_what_it_takes(text, kept):
    assert (sqs_id(text) == text) is kept
    assert LEGAL.fullmatch(sqs_id(text))


def test_a_legal_id_stays_readable():
    assert sqs_id("Codertocat/Hello-World") == "Codertocat/Hello-World"


def test_an_escaped_text_and_its_encoding_are_two_ids():
    assert sqs_id("a b") == "a%20b"
    assert sqs_id("a%20b") == "a%2520b"


def test_lone_surrogates_are_encoded_not_refused():
    assert LEGAL.fullmatch(sqs_id("\ud800"))
