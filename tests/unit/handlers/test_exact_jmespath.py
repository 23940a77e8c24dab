from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jmespath.exceptions import JMESPathError

from fifo_cli.handlers import exact_json
from fifo_cli.handlers.exact_jmespath import Expression, equal

# What DynamoDB holds: 38 digits, exponents from -130 to 125.
DIGITS_38 = "12345678901234567890123456789012345678"
LARGEST = "9.9999999999999999999999999999999999999E+125"
SMALLEST = "1E-130"
NEARLY_TWO = "1.999999999999999999"

ITEM: dict[str, Any] = {
    "amount": exact_json.number(NEARLY_TWO),
    "text": NEARLY_TWO,
    "negative": exact_json.number("-" + NEARLY_TWO),
    "third": 0.3,
    "tenth": 0.1,
    "whole": exact_json.number(DIGITS_38),
    "largest": exact_json.number(LARGEST),
    "smallest": exact_json.number(SMALLEST),
    "mixed": [exact_json.number(text) for text in ("3", "0.1", NEARLY_TWO, "-2.5", "0.2")],
    "rows": [
        {"n": exact_json.number("0.10000000000000000002"), "name": "c"},
        {"n": 0.1, "name": "a"},
        {"n": exact_json.number("0.10000000000000000001"), "name": "b"},
    ],
}


def found(expression: str, value: Any = None) -> Any:
    """Return the result as JSON text, in which each digit can be seen."""
    return exact_json.dumps(Expression(expression).search(ITEM if value is None else value))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("to_number(text)", NEARLY_TWO),
        ("to_number(amount)", NEARLY_TWO),
        ("to_number(`0.12345678901234567890123456789012345678`)", f"0.{DIGITS_38}"),
        (f"to_number('{LARGEST}')", LARGEST),
        (f"to_number('{SMALLEST}')", "1e-130"),
        ("to_string(amount)", f'"{NEARLY_TWO}"'),
        ("to_string(whole)", f'"{DIGITS_38}"'),
        ("to_string([amount])", f'"[{NEARLY_TWO}]"'),
        ("to_string({a: amount, b: 'é'})", f'"{{\\"a\\":{NEARLY_TWO},\\"b\\":\\"\\\\u00e9\\"}}"'),
        ("type(amount)", '"number"'),
        ("type(third)", '"number"'),
        ("type(`1e400`)", '"number"'),
        ("sum(mixed)", "2.799999999999999999"),
        ("sum([tenth, `0.2`])", "0.3"),
        ("sum([largest, smallest])", f"99999999999999999999999999999999999999{'0' * 88}.{'0' * 129}1"),
        ("sum(`[]`)", "0"),
        ("avg([tenth, `0.2`])", "0.15"),
        ("avg([amount])", NEARLY_TWO),
        ("avg([whole, whole])", DIGITS_38),
        ("avg(`[1, 1, 2]`)", "1.3333333333333333333333333333333333333"),
        ("avg(`[]`)", "null"),
        ("max(mixed)", "3"),
        ("min(mixed)", "-2.5"),
        ("max([amount, `1.9999999999999999989`])", NEARLY_TWO),
        ("min([tenth, `0.10000000000000000000000001`])", "0.1"),
        ("max(`[]`)", "null"),
        ("max(['a', 'b'])", '"b"'),
        ("sort(mixed)", f"[-2.5,0.1,0.2,{NEARLY_TWO},3]"),
        ("sort(['b', 'a'])", '["a","b"]'),
        ("sort_by(rows, &n)[].name", '["a","b","c"]'),
        ("max_by(rows, &n).name", '"c"'),
        ("min_by(rows, &n).name", '"a"'),
        ("sort_by(rows, &name)[0].n", "0.1"),
        ("abs(negative)", NEARLY_TWO),
        ("abs(`-0.3`)", "0.3"),
        ("ceil(amount)", "2"),
        ("floor(amount)", "1"),
        ("ceil(negative)", "-1"),
        ("floor(negative)", "-2"),
        ("ceil(smallest)", "1"),
        ("floor(smallest)", "0"),
        ("floor(whole)", DIGITS_38),
        ("ceil(third)", "1"),
        ("amount == `1.999999999999999999`", "true"),
        ("amount == `1.9999999999999999990`", "true"),
        ("amount == `2`", "false"),
        ("amount != `2.0`", "true"),
        ("amount < `2`", "true"),
        ("amount > `1.99999999999999999899`", "true"),
        ("tenth < `0.10000000000000000000001`", "true"),
        ("tenth <= `0.1`", "true"),
        ("tenth >= `0.10000000000000000000001`", "false"),
        ("`1` == `1.0`", "true"),
        ("`100000000000000000000000` == `1e23`", "true"),
        ("[`1`] == [`1.0`]", "true"),
        ("{a: `1`} == {a: `1.0`}", "true"),
        ("`1` == `true`", "false"),
        ("[`0`] == [`false`]", "false"),
        ("mixed[?@ > `1.9999`]", f"[3,{NEARLY_TWO}]"),
        ("contains(mixed, `1.999999999999999999`)", "true"),
        ("contains(mixed, `1.999999999999999998`)", "false"),
        ("contains(`[true]`, `1`)", "false"),
        ("contains(text, '999')", "true"),
        ("join('/', mixed[*].to_string(@))", f'"3/0.1/{NEARLY_TWO}/-2.5/0.2"'),
        ("not_null(nothing, amount)", NEARLY_TWO),
        ("to_array(amount)", f"[{NEARLY_TWO}]"),
        ("map(&to_number(@), [text])", f"[{NEARLY_TWO}]"),
        ("merge({a: amount}, {b: `1`})", f'{{"a":{NEARLY_TWO},"b":1}}'),
        ("reverse([amount, `1`])", f"[1,{NEARLY_TWO}]"),
        ("length(mixed)", "5"),
        ('`"a\\`b"`', '"a`b"'),
        ("'`1.5`'", '"`1.5`"'),
    ],
)
def test_every_function_works_exactly_on_every_number(expression, expected):
    assert found(expression) == expected


@pytest.mark.parametrize(
    "text",
    [
        "nan",
        "NaN",
        "infinity",
        "-Infinity",
        "1_000",
        "٣",
        " 1 ",
        "1\n",
        "0x10",
        "+1",
        "01",
        "1.",
        ".5",
        "1e",
        "",
        "-",
    ],
)
def test_what_is_not_a_number_of_json_is_null(text):
    assert Expression("to_number(@)").search(text) is None


@pytest.mark.parametrize("value", [None, True, False, [], {}, [1]])
def test_what_is_neither_text_nor_a_number_gives_null(value):
    assert Expression("to_number(@)").search(value) is None


@pytest.mark.parametrize("text", ["1e9999999999", "-1e9999999999999999999", "1e-9999999999999999999"])
def test_numbers_beyond_every_bound_stay_what_they_are(text):
    value = Expression("to_number(@)").search(text)
    assert (
        Decimal(exact_json.dumps(value)) == Decimal(text)
        if len(text) < 15
        else exact_json.dumps(value) == text
    )
    assert Expression("@ > `1`").search(value) is (text == "1e9999999999")
    for name in ("abs", "ceil", "floor"):
        Expression(f"{name}(@)").search(value)


@pytest.mark.parametrize(
    "expression",
    ["sum(['a'])", "abs('1')", "max([`1`, 'a'])", "sort_by(rows, &[n])", "ceil(`true`)", "avg(rows)"],
)
def test_a_wrong_type_is_an_error_as_before(expression):
    with pytest.raises((JMESPathError, TypeError)):
        Expression(expression).search(ITEM)


@pytest.mark.parametrize("expression", ["&text", "nothing || &text", "to_string(&text)", "not_null(&text)"])
def test_an_expression_that_gives_a_function_is_an_error(expression):
    with pytest.raises((JMESPathError, TypeError)):
        Expression(expression).search(ITEM)


NUMBERS = st.decimals(
    min_value=Decimal("-1E125"), max_value=Decimal("1E125"), allow_nan=False, places=None
).map(lambda value: f"{value:.37E}")


@given(st.lists(NUMBERS, min_size=1, max_size=8))
def test_order_sum_and_text_are_those_of_the_exact_numbers(texts):
    exact = [Decimal(text) for text in texts]
    item = {"n": [exact_json.number(text) for text in texts], "t": texts}
    for expression, expected in [("max(n)", max(exact)), ("min(n)", min(exact))]:
        assert Decimal(found(expression, item)) == expected
    assert [Decimal(str(n)) for n in Expression("sort(n)").search(item)] == sorted(exact)
    assert [Decimal(t) for t in Expression("n[*].to_string(@)").search(item)] == exact
    assert equal(Expression("t[*].to_number(@)").search(item), item["n"])
    below, above = min(exact), max(exact)
    assert Expression(f"`{below}` <= `{above}`").search(item) is True
    assert Expression(f"`{below}` == `{above}`").search(item) is (below == above)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text()
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_a_literal_is_the_value_that_it_spells(value):
    literal = json.dumps(value).replace("`", "\\`")
    assert equal(Expression(f"`{literal}`").search(None), exact_json.loads(json.dumps(value)))
