"""Expressions that can only fail are refused before they meet an item; what may work is not."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jmespath.exceptions import JMESPathError

from fifo_cli.handlers import exact_jmespath
from fifo_cli.model.expressions import fault_of


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("sum(`1`)", "argument 1 of sum() is an array, and never a number"),
        ("length(`1`)", "argument 1 of length() is an array or an object or a string, and never a number"),
        ("length(`null`)", "never null"),
        ("abs('x')", "argument 1 of abs() is a number"),
        ("a && sum(`1`)", "argument 1 of sum()"),
        ("a[?length(`true`) > `1`]", "argument 1 of length()"),
        ("{x: keys(`[]`)}", "argument 1 of keys()"),
        ('sum(`[1, "a"]`)', "sum()"),
        ("sort([`1`, 'a'])", "sort()"),
        ("join(',', `[1]`)", "join()"),
        ("join(`1`, a)", "argument 1 of join()"),
        ("sum(to_string(a))", "argument 1 of sum() is an array, and never a string"),
        ("length(to_number(a))", "argument 1 of length()"),
        ("abs(keys(a))", "argument 1 of abs()"),
        ("starts_with(a, `1`)", "argument 2 of starts_with()"),
        ("contains(`1`, a)", "argument 1 of contains()"),
        ("abs(@)", "argument 1 of abs() is a number, and never an object"),
        ("sort({a: a})", "argument 1 of sort()"),
        ("floor(a == b)", "argument 1 of floor()"),
        ("length(!a)", "argument 1 of length()"),
        ("max(`[true]`)", "max()"),
        ("a[::0]", "the step of a slice"),
        ("map(&sum(`1`), a)", "argument 1 of sum()"),
        ("a | b | length(`1`)", "argument 1 of length()"),
        ("length()", "length() takes 1 argument, not 0"),
        ("length(a, b)", "length() takes 1 argument, not 2"),
        ("size(a)", "the function size() does not exist"),
        ("&a", "&... gives a function"),
    ],
)
def test_what_can_only_fail_is_refused(expression: str, said: str) -> None:
    assert said in (fault_of(expression) or "")


@pytest.mark.parametrize(
    "expression",
    [
        "sum(a)", "sum([a, b])", "sum([`1`, `2.5`])", "length(@)", "keys(@)", "length('abc')", "length(`[]`)",
        "a | abs(@)", "a[*].abs(@)", "a[?abs(@) > `1`]", "map(&abs(@), a)", "sort_by(a, &b)", "max_by(a, &b)",
        "abs(to_number(a))", "length(to_string(a))", "join(',', keys(@))", "length(not_null(a, `1`))",
        "to_number('x')", "avg(`[]`)", "max(`[]`)", "reverse('ab')", "a[::-1]", "type(`1`) == 'number'",
        "starts_with(to_string(a), 'x')", "merge(@, {a: b})", "abs(max(a))", "a.[abs(@)]", "`1e400` > a",
        "ceil(`1e400`)", "a.*.length(@)", "length(reverse(a))", "(a || `0`) > `1`", "a[0].abs(@)",
    ],
)  # fmt: skip
def test_what_may_work_is_accepted(expression: str) -> None:
    assert fault_of(expression) is None


_ATOMS = st.sampled_from(
    ["a", "@", "`1`", "'x'", "`[1]`", "`[]`", "`{}`", "`null`", "a == b", "[a]", "{a: a}"]
)
_ONE = st.sampled_from(["abs", "avg", "keys", "length", "max", "reverse", "sort", "sum", "to_number", "type"])
_ITEMS = [{"a": value, "b": 1} for value in (None, 1, "x", "7", [1], ["x"], [], {}, {"c": 2}, True)]


@given(st.recursive(_ATOMS, lambda inner: st.builds("{}({})".format, _ONE, inner), max_leaves=4))
def test_what_works_for_some_item_is_never_refused(expression: str) -> None:
    for item in _ITEMS:
        with suppress(JMESPathError, TypeError, ValueError):
            exact_jmespath.compiled(expression).search(item)
            assert fault_of(expression) is None
