from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.handlers import exact_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=None).filter(lambda d: abs(d.adjusted()) < 126)
)
def test_a_number_is_written_with_the_value_it_was_read_with(value):
    assert Decimal(exact_json.dumps(exact_json.number(str(value)))) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1.0", 1),
        ("0.1", 0.1),
        ("1E+3", 1000),
        ("-0", 0),
        ("99999999999999999999999999999999999999", 99999999999999999999999999999999999999),
        ("0.12345678901234567890123456789012345678", Decimal("0.12345678901234567890123456789012345678")),
        ("1E-130", 1e-130),
    ],
)
def test_numbers_are_plain_where_plain_is_exact(text, value):
    found = exact_json.number(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "", "one", "0x10"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match="not a"):
        exact_json.number(text)


@given(JSON)
def test_json_in_equals_json_out(value):
    assert exact_json.loads(exact_json.dumps(value)) == value


def test_decimals_inside_anything_are_written_digit_for_digit():
    exact = Decimal("3.14159265358979323846264338327950288")
    assert exact_json.dumps({"a": [exact, {"b": "é"}]}) == f'{{"a":[{exact},{{"b":"é"}}]}}'


def test_a_float_that_a_double_cannot_hold_is_read_as_a_decimal():
    text = '{"n":0.1234567890123456789}'
    assert exact_json.dumps(exact_json.loads(text)) == text


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a":-Infinity}', "{", ""])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        exact_json.loads(text)


def test_characters_that_sqs_refuses_are_escaped_and_the_value_stays():
    value = {"k\ufffe": "a\uffffb\x00\ud800"}
    text = exact_json.dumps(value)
    assert not set(text) & {"\ufffe", "\uffff", "\x00", "\ud800"}
    assert json.loads(text) == value


def test_nan_is_refused_when_written():
    with pytest.raises(ValueError, match=r"."):
        exact_json.dumps({"a": float("nan")})
    with pytest.raises(ValueError, match="not JSON"):
        exact_json.dumps({"a": Decimal("NaN")})


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1e9999999999999999999}',
        "[-1.5E+99999999999999999999]",
        "[1e-99999999999999999999]",
        "[0e99999999999999999999]",
        "[" + "7" * 5_000 + "]",
        "[" + "7" * 100_000 + ".5]",
        "-" + "1" * 700,
    ],
)
def test_numbers_beyond_every_bound_come_back_as_they_were(text):
    assert exact_json.dumps(exact_json.loads(text)) == text


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 50_000])
def test_what_is_nested_too_deeply_is_not_json(text):
    with pytest.raises(ValueError, match=r"nested|Expecting|Invalid"):
        exact_json.loads(text)


def test_an_object_that_holds_itself_is_not_json():
    value: dict[str, object] = {"n": Decimal("1.999999999999999999")}
    value["again"] = value
    with pytest.raises(ValueError, match=r"nested|Circular"):
        exact_json.dumps(value)
