"""The report page of prove: whole, escaped, without scripts, and never better than the run was."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from fifo_cli.model.prove_result import ON_THIS_MACHINE, CheckVerdict, Left, Measurement, Resource
from fifo_cli.render.html import Html, element
from fifo_cli.render.prove_page import prove_page, seconds
from fifo_cli.render.prove_pictures import bar, strip
from tests.unit.render.prove_sample import in_trouble, sample

_VOID = {"meta"}
_NAMES = {
    "html", "head", "meta", "title", "style", "body", "main", "header", "section", "h1", "h2", "p", "dl",
    "div", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "span", "strong", "code", "figure",
    "figcaption", "svg", "path", "rect", "ul", "li", "b",
}  # fmt: skip


class Page(HTMLParser):
    """A page as a browser reads it; fails where it is not well formed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += attrs
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data))

    @property
    def text(self) -> str:
        return "\n".join(text for name, text in self.texts if name != "style")

    def of(self, name: str) -> list[str]:
        return [text for where, text in self.texts if where == name]


def page(result: object = None) -> Page:
    return Page(prove_page(result or sample()))  # type: ignore[arg-type]


def test_it_has_all_that_the_run_has() -> None:
    result = sample()
    shown = page(result)
    assert shown.of("h1") == ["No check failed: 15 passed"]
    assert shown.of("h2") == [
        "The run", "Checks", "Timeline", "Measured", "Made and removed", "Requests", "About this page",
    ]  # fmt: skip
    for check in result.checks:
        assert check.name in shown.of("strong")
        assert check.detail in shown.of("td")
    for one in result.created:
        assert one.name in shown.of("td")
    for text in (
        "123456789012",
        "eu-west-1",
        result.identity,
        result.credentials,
        result.cost,
        "2026-11-29 10:00:00 UTC",
        "sqs ReceiveMessage",
        "1,842",
        "3.13.1",
        "from the answer to a put until the API has it",
        "0.80 s, once",
        "All that this run made was removed.",
    ):
        assert text in shown.text
    assert len(re.findall("<svg", prove_page(result))) == len(result.checks) + 3


def test_it_has_no_script_loads_nothing_and_forbids_both() -> None:
    text = prove_page(in_trouble())
    shown = Page(text)
    assert shown.names <= _NAMES
    names = {name for name, _ in shown.attributes}
    assert not {name for name in names if name.startswith("on")} | ({"src", "href", "style"} & names)
    assert "url(" not in text
    assert "@import" not in text
    (css,) = shown.of("style")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = next(value for name, value in shown.attributes if value and value.startswith("default-src"))
    assert policy == (f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'")
    assert "</" not in css


HOSTILE = "<script>alert(1)</script>\"'&<!--]]>\u202etxt.exe\x1b[31m\x00"
SHOWN = "<script>alert(1)</script>\"'&<!--]]>\\u202etxt.exe\\x1b[31m\\x00"


def test_every_text_is_escaped_and_cannot_hide_or_reorder_others() -> None:
    result = sample()
    check = replace(result.checks[0], name=HOSTILE, detail=HOSTILE)
    one = Resource(HOSTILE, HOSTILE)
    hostile = replace(
        result,
        account=HOSTILE,
        region=HOSTILE,
        pipeline=HOSTILE,
        checks=(check,),
        measured={HOSTILE: Measurement(HOSTILE, HOSTILE, (1.0, 2.0))},
        left=(Left(HOSTILE, HOSTILE, HOSTILE, HOSTILE),),
        endpoint=HOSTILE,
        identity=HOSTILE,
        credentials=HOSTILE,
        api=HOSTILE,
        created=(one,),
        removed=(one,),
        requests={HOSTILE: 1},
        versions={HOSTILE: HOSTILE},
        cost=HOSTILE,
    )
    shown = page(hostile)
    assert shown.names <= _NAMES
    assert "\u202e" not in shown.text
    assert "\x1b" not in prove_page(hostile)
    # In title, facts, check, timeline, measurement, resource, what is left and requests: nothing is left out.
    assert sum(SHOWN in text for _, text in shown.texts) >= 24


def test_lines_of_a_detail_stay_lines() -> None:
    assert "g07-3, g07-4\nthe group waits" in page(in_trouble()).text


def test_passwords_in_urls_and_what_a_url_of_the_api_holds_beside_its_host_are_not_shown() -> None:
    result = sample()
    check = replace(result.checks[0], detail="https://user:hunter2@proxy.example refused")
    shown = prove_page(
        replace(
            result,
            checks=(check,),
            api="https://hooks.example/t0ken-in-the-path?key=s3cret",
            endpoint="http://user:hunter2@stack.example:4566",
        )
    )
    assert "hunter2" not in shown
    assert "t0ken" not in shown
    assert "s3cret" not in shown
    assert "hooks.example" in shown
    assert "public URL" not in shown


@pytest.mark.parametrize(
    ("changes", "headline"),
    [
        ({}, "1 check failed, 12 passed, 1 not offered here, 1 not run"),
        ({"interrupted": True}, "1 check failed, 12 passed, 1 not offered here, 1 not run"),
        ({"checks": sample().checks[:2], "interrupted": True}, "Interrupted: 2 passed"),
        ({"checks": ()}, "Nothing was proven: 0 passed"),
        (
            {"checks": tuple(replace(one, verdict=CheckVerdict.NOT_RUN) for one in sample().checks)},
            "Nothing was proven: 0 passed, 15 not run",
        ),
    ],
)
def test_the_headline_is_never_better_than_the_run(changes: dict[str, object], headline: str) -> None:
    shown = page(replace(in_trouble(), **changes))  # type: ignore[arg-type]
    assert shown.of("h1") == [headline]
    assert ("class", "passed") not in [one for one in shown.attributes if one == ("class", "h1 passed")]
    assert "1 resource could not be removed: see below." in shown.of("p")


def test_what_could_not_be_looked_for_is_said_apart() -> None:
    kind = Left("table", "fifo-prove-*", "denied", "aws dynamodb list-tables", unlisted=True)
    shown = page(replace(in_trouble(), left=(kind,)))
    assert "1 kind of resource could not be looked for: see below." in shown.of("p")


def test_what_an_emulator_proves_is_said() -> None:
    assert any("of AWS it proves nothing" in one for one in page(in_trouble()).of("p"))
    assert not any("emulator" in one for one in page().of("p"))


def test_only_a_function_of_its_own_on_aws_had_a_public_url() -> None:
    result = sample()
    assert "The URL was public." in page(result).text
    emulated = page(replace(result, endpoint="http://127.0.0.1:4566"))
    assert "The URL was the emulator's" in emulated.text
    assert "2,119 requests of this machine to the emulator" in emulated.text
    assert "2,119 requests of this machine to AWS" in page(result).text
    here = page(replace(result, endpoint="http://127.0.0.1:4566", api=ON_THIS_MACHINE))
    assert "The items went to an API on this machine." in here.text
    assert "The API was a function" not in here.text
    assert "The URL" not in page(replace(result, api="https://receiver.example.com")).text


def test_of_what_was_made_it_says_what_became_of_it() -> None:
    result = sample()
    lost = result.created[0]
    unconfirmed = page(replace(result, removed=result.removed[1:]))
    assert "not confirmed" in unconfirmed.of("span")
    assert "All that this run made was removed." not in unconfirmed.text
    kept = page(replace(result, removed=result.removed[1:], kept=True))
    assert "kept" in kept.of("span")
    assert "What was made was kept on purpose (--keep)." in kept.text
    assert "its URL is there until prove --clean." in kept.text
    assert "its URL is there" not in page().text
    began = page(replace(result, created=result.created[:1], removed=(), kept=True))
    assert "its URL is there" not in began.text
    left = page(
        replace(result, removed=result.removed[1:], left=(Left("queue", lost.name, "denied", "`aws x`"),))
    )
    assert "left" in left.of("span")
    assert left.of("code") == ["aws x"]
    failed = page(in_trouble())
    assert "All that this run made was removed." not in failed.text


def test_a_run_that_was_over_at_once_is_a_page_too() -> None:
    result = sample()
    empty = replace(
        result, checks=(), measured={}, created=(), removed=(), requests={}, versions={}, ended=result.started
    )
    assert page(empty).of("h2") == ["The run", "Checks", "Made and removed", "About this page"]
    assert page(replace(result, ended=result.started)).of("h1") == ["No check failed: 15 passed"]
    long = replace(result, ended=result.started + timedelta(hours=3, minutes=5))
    assert "after 3 h 5 min" in page(long).text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00 s"), (0.254, "0.25 s"), (59.9, "59.9 s"), (200, "3 min 20 s"), (3600, "1 h 0 min")],
)  # fmt: skip
def test_times_are_written_as_people_read_them(value: float, text: str) -> None:
    assert seconds(value) == text


def test_a_picture_stays_inside_its_place() -> None:
    for drawn in (
        bar(95, 20, 100, kind="passed", label="x"),
        bar(-5, 1, 100, kind="passed", label="x"),
        bar(0, 0, 0, kind="passed", label="x"),
    ):
        left, width = (float(re.findall(f' {name}="([0-9.-]+)"', drawn)[0]) for name in ("x", "width"))
        assert left >= 0
        assert width >= 4
        assert left + width <= 1000
    ticks = strip([0.0, 5.0, 5.0, 10.0], marked=5.0, label="x")
    assert re.findall(r'd="((?:M\d+ 3V18)+)"', ticks) == ["M2 3V18M500 3V18M998 3V18"]
    assert "M500 0V20" in ticks
    assert strip([0.0, 0.0], marked=0.0, label="x")
    many = strip([one / 7 for one in range(10_000)], marked=1.0, label="x")
    assert len(many) < 15_000


def test_only_what_was_made_here_is_html() -> None:
    assert element("p", "<b>", element("b", "x"), Html("<i>"), title='"<') == (
        '<p title="&quot;&lt;">&lt;b&gt;<b>x</b><i></p>'
    )
