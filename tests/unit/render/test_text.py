"""Tables and text that a terminal can be trusted with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.render.text import count, display_width, fields, fit, fold, paint, printable, shorten, table


def test_columns_are_aligned_and_lines_have_no_trailing_spaces() -> None:
    shown = table([("main", 12, None), ("a-long-name", 3, "x")], headers=("QUEUE", "N", "OLDEST"), right=(1,))

    assert shown == "QUEUE         N  OLDEST\nmain         12  -\na-long-name   3  x\n"


def test_a_table_without_rows_keeps_its_headers_and_one_without_both_is_empty() -> None:
    assert table([], headers=("A", "B")) == "A  B\n"
    assert table([]) == ""


def test_short_rows_are_filled_up() -> None:
    assert table([("a", "b"), ("c",)]) == "a  b\nc\n"


def test_the_widest_column_gives_way_to_the_terminal() -> None:
    shown = table([("id", "x" * 60, "y" * 20)], width=50)

    assert shown == f"id  {'x' * 12}…{'x' * 11}  {'y' * 20}\n"
    assert len(shown.rstrip("\n")) == 50


def test_columns_are_not_made_unreadable_on_a_terminal_that_is_far_too_narrow() -> None:
    shown = table([("abcdefghijkl", "abcdefghijkl")], width=5)

    assert shown == "abcd…jkl  abcd…jkl\n"


def test_wide_characters_take_two_columns_and_combining_ones_none() -> None:
    assert display_width("日本e\u0301") == 5
    assert table([("日本", "x"), ("abcd", "y")]) == "日本  x\nabcd  y\n"
    assert fit("日本語", 5) == "日本…"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2028", "\\u2028"),
        ("\udcff", "\\udcff"),
        ("naïve 日本 🎉", "naïve 日本 🎉"),
    ],
)
def test_data_cannot_act_on_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert table([(text,)]) == shown + "\n"


@pytest.mark.parametrize("invisible", "\u00ad\u200b\u2060\u2063\ufeff")
def test_what_has_no_width_does_not_make_two_names_look_alike(invisible: str) -> None:
    assert printable(f"cust{invisible}omer") == f"cust\\u{ord(invisible):04x}omer".replace("\\u00ad", "\\xad")


@pytest.mark.parametrize("text", ["\u0645\u06cc\u200c\u062e", "👩\u200d🚒", "zoë", "日本"])
def test_joiners_and_letters_of_all_languages_stay(text: str) -> None:
    assert printable(text) == text


def test_printable_keeps_what_it_should() -> None:
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"


def test_paint_adds_codes_only_if_colours_are_on() -> None:
    assert paint("x", "red", color=True) == "\x1b[31mx\x1b[0m"
    assert paint("x", "red", color=False) == "x"
    assert paint("", "red", color=True) == ""


def test_fields_align_their_values() -> None:
    assert fields([("a", 1), ("long", None)]) == "a:     1\nlong:  -\n"


def test_count_minds_the_plural() -> None:
    assert [count(0, "item"), count(1, "item"), count(1234, "item")] == ["0 items", "1 item", "1,234 items"]


def test_what_differs_at_its_end_is_shortened_in_the_middle() -> None:
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:orders-worker"

    assert shorten(arn, 21) == "arn:aws:la…ers-worker"
    assert shorten("short", 21) == "short"
    assert table([("a", arn)], width=24) == "a  arn:aws:la…ers-worker\n"
    assert table([("a", "a sentence that goes on and on")], width=24) == "a  a sentence that goes…\n"
    assert table([("a", arn)]) == f"a  {arn}\n"


@given(text=st.text(max_size=60), width=st.integers(1, 40))
def test_shortened_text_fits_and_keeps_both_ends(text: str, width: int) -> None:
    shown = shorten(text, width)

    assert display_width(shown) <= width
    if display_width(text) <= width:
        assert shown == text
    else:
        head, _, tail = shown.rpartition("…")
        assert text.startswith(head)
        assert text.endswith(tail)


@pytest.mark.parametrize(
    ("text", "width", "folded"),
    [
        ("one two three", 9, "one two\nthree"),
        ("one two three", 13, "one two three"),
        ("one two three", None, "one two three"),
        ("  one two three", 9, "  one two\n  three"),
        ("  next: a-very-long-word b", 10, "  next:\n  a-very-long-word\n  b"),
        ("漢字 漢字 漢字", 9, "漢字 漢字\n漢字"),
        ("one two\n\nthree four\n", 8, "one two\n\nthree\nfour\n"),
        ("a  b    c", 20, "a  b    c"),
        ("\x1b[1mone two\x1b[0m", 4, "\x1b[1mone\ntwo\x1b[0m"),
        ("\x1b[31mone\x1b[0m two", 7, "\x1b[31mone\x1b[0m two"),
    ],
)
def test_sentences_break_at_spaces_and_only_on_a_terminal(text: str, width: int | None, folded: str) -> None:
    assert fold(text, width) == folded
