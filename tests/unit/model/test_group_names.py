"""A group is shown by its name, and what is shown means the same group when it is typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.handlers.identifiers import sqs_id
from fifo_cli.model.group_names import group_ids, named_group, shown_group

# The name in the item; as SQS has it; as it is shown.
NAMES: list[tuple[str, str, str]] = [
    ("cust-07", "cust-07", "cust-07"),
    ("zoë", "zo%C3%AB", "zoë"),
    ("a b", "a%20b", "a b"),
    ("日本", "%E6%97%A5%E6%9C%AC", "日本"),
    ("100%", "100%25", "100%"),
    ("50%off", "50%25off", "50%off"),
    ("zo%C3%AB", "zo%25C3%25AB", "zo%25C3%25AB"),  # shown as a name it would mean the group zoë
    ("zo%25C3%25AB", "zo%2525C3%2525AB", "zo%2525C3%2525AB"),
    ("a%2fb", "a%252fb", "a%2fb"),
    ("line\nbreak", "line%0Abreak", "line%0Abreak"),
    ("\x1b[31mred", "%1B[31mred", "%1B[31mred"),
    ("\u202eabc", "%E2%80%AEabc", "%E2%80%AEabc"),
    ("", "%~", "%~"),
    (" padded ", "%20padded%20", " padded "),
    ("🧾", "%F0%9F%A7%BE", "🧾"),
    ("zoe\u0308", "zoe%CC%88", "zoe\u0308"),  # not the same name as with one character
]


@pytest.mark.parametrize(("name", "group_id", "shown"), NAMES, ids=[ascii(one[0]) for one in NAMES])
def test_a_name_is_shown_as_people_know_it_and_found_as_it_is_shown(name, group_id, shown):
    assert sqs_id(name) == group_id
    assert shown_group(group_id) == shown
    assert group_id in group_ids(shown)
    assert group_ids(group_id) == {group_id}


@pytest.mark.parametrize(
    "group_id",
    ["50%", "%", "%zz", "%c3%ab", "%C3", "%41", "a%ZZb", "x" * 128, sqs_id("é" * 300), "%~", "a%"],
)
def test_an_id_that_is_no_encoded_name_is_shown_as_it_is(group_id):
    assert shown_group(group_id) == group_id
    assert group_id in group_ids(group_id)


def test_a_name_that_is_too_long_to_be_shown_is_found():
    assert sqs_id("é" * 300) in group_ids("é" * 300)


def test_what_was_typed_is_named_with_its_id():
    assert named_group("zoë") == "group zoë (zo%C3%AB)"
    assert named_group("zo%C3%AB") == "group zoë (zo%C3%AB)"
    assert named_group("cust-07") == "group cust-07"


@given(st.text(max_size=40))
def test_what_is_shown_means_the_same_group_when_it_is_typed(name):
    group_id = sqs_id(name)
    assert group_id in group_ids(shown_group(group_id))
    assert group_ids(group_id) >= {group_id}


@given(st.text(max_size=20), st.text(max_size=20))
def test_two_groups_are_never_shown_alike(one, other):
    if one != other:
        assert shown_group(sqs_id(one)) != shown_group(sqs_id(other))


@given(st.text(alphabet="%0123456789ABCDEFabz~é", max_size=12), st.text(alphabet="%25C3ABz", max_size=12))
def test_names_that_look_like_ids_are_not_shown_alike_either(one, other):
    if one != other:
        assert shown_group(sqs_id(one)) != shown_group(sqs_id(other))
    assert sqs_id(one) in group_ids(shown_group(sqs_id(one)))
