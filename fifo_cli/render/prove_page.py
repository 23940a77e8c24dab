"""The report of ``prove`` as one HTML page that a person can show to others.

It has no script, loads nothing, and forbids both by its own policy. It is made for paper, a phone and the
dark, too. Of what was delivered it has counts and times alone.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from fifo_cli.errors import without_login
from fifo_cli.model.prove_result import ON_THIS_MACHINE, OWN_FUNCTION, CheckVerdict, Resource
from fifo_cli.model.urls import authority_of
from fifo_cli.render.html import Html, element, void
from fifo_cli.render.prove_pictures import bar, strip
from fifo_cli.render.prove_style import CSS
from fifo_cli.render.prove_text import left_text
from fifo_cli.render.text import count

if TYPE_CHECKING:
    from fifo_cli.model.prove_result import Check, Measurement, ProveResult

# Class of the style sheet, and sign, so that no verdict is known by its colour alone.
_LOOK: Final = {
    CheckVerdict.PASSED: ("passed", "✓"),
    CheckVerdict.FAILED: ("failed", "✗"),
    CheckVerdict.NOT_OFFERED: ("open", "○"),
    CheckVerdict.NOT_RUN: ("open", "○"),
}
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(CSS.encode()).digest()).decode()}';"
    " base-uri 'none'; form-action 'none'"
)


def prove_page(result: ProveResult) -> str:
    sections = (
        _headline(result),
        _facts(result),
        _checks(result),
        _timeline(result),
        _measured(result),
        _resources(result),
        _requests(result),
        _about(result),
    )
    head = element(
        "head",
        void("meta", charset="utf-8"),
        void("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        void("meta", name="referrer", content="no-referrer"),
        void("meta", name="color-scheme", content="light dark"),
        element("title", f"fifo-cli prove: {result.pipeline}"),
        element("style", Html(CSS)),
    )
    body = element("body", element("main", *filter(None, sections)))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def seconds(value: float) -> str:
    """Write a time span as people read it: 0.25 s, 12.3 s, 3 min 20 s, 3 h 5 min."""
    if value < 1:
        return f"{value:.2f} s"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _headline(result: ProveResult) -> Html:
    kind, words = _outcome(result)
    notes = []
    if result.endpoint:
        notes.append(
            f"This ran against an emulator at {without_login(result.endpoint)}. It proves the program;"
            " of AWS it proves nothing."
        )
    if result.kept:
        notes.append("What was made was kept on purpose (--keep).")
    if result.left:
        notes.append(f"{left_text(result)}: see below.")
    return element(
        "header",
        element("p", "fifo-cli prove", class_="what"),
        element("h1", words, class_=kind),
        *(element("p", note, class_="note") for note in notes),
    )


def _outcome(result: ProveResult) -> tuple[str, str]:
    """Return the look of the whole, and its words: never better than the worst of it."""
    failed, passed = result.count(CheckVerdict.FAILED), result.count(CheckVerdict.PASSED)
    open_ones = [
        f"{result.count(verdict)} {verdict}"
        for verdict in (CheckVerdict.NOT_OFFERED, CheckVerdict.NOT_RUN)
        if result.count(verdict)
    ]
    said = ", ".join([f"{passed} passed", *open_ones])
    if failed:
        return "failed", f"{count(failed, 'check')} failed, {said}"
    if result.interrupted:
        return "open", f"Interrupted: {said}"
    if not passed:
        return "open", f"Nothing was proven: {said}"
    look = "open" if result.left or result.count(CheckVerdict.NOT_RUN) else "passed"
    return look, f"No check failed: {said}"


def _facts(result: ProveResult) -> Html:
    took = (result.ended - result.started).total_seconds()
    facts = {
        "account": result.account,
        "region": result.region,
        "pipeline": result.pipeline,
        "who": result.identity,
        "credentials": result.credentials,
        "delivered to": _api(result.api),
        "began": _moment(result.started),
        "ended": f"{_moment(result.ended)}, after {seconds(took)}",
        "cost": result.cost,
        **result.versions,
    }
    pairs = (
        element("div", element("dt", name), element("dd", without_login(value)))
        for name, value in facts.items()
        if value
    )
    return _section("The run", element("dl", *pairs))


def _api(api: str) -> str:
    """Return an API without what a URL may hold beside its host."""
    return authority_of(without_login(api)) if "://" in api else api


def _checks(result: ProveResult) -> Html:
    return _section(
        "Checks", _table(("verdict", "check", "took", "what was seen"), map(_check, result.checks), "checks")
    )


def _check(check: Check) -> Sequence[str]:
    kind, sign = _LOOK[check.verdict]
    return (
        element("span", f"{sign} {check.verdict}", class_=f"verdict {kind}"),
        element("strong", check.name),
        seconds(check.seconds) if check.started else "",
        without_login(check.detail),
    )


def _timeline(result: ProveResult) -> Html | None:
    ran = [check for check in result.checks if check.started is not None]
    whole = (result.ended - result.started).total_seconds()
    if not ran:
        return None
    rows = [
        element(
            "div",
            element("span", check.name),
            bar(
                ((check.started or result.started) - result.started).total_seconds(),
                check.seconds,
                whole,
                kind=_LOOK[check.verdict][0],
                label=f"{check.name}: {check.verdict} after {seconds(check.seconds)}",
            ),
            class_="row",
        )
        for check in ran
    ]
    axis = element(
        "div",
        element("span"),
        element("span", element("span", f"{result.started:%H:%M:%S} UTC"), element("span", seconds(whole))),
        class_="row axis-text",
    )
    return _section("Timeline", element("div", *rows, axis, class_="timeline"))


def _measured(result: ProveResult) -> Html | None:
    shown = [_measurement(one) for one in result.measured.values() if one.values]
    if not shown:
        return None
    note = "Each line is a value, from 0 to the slowest; the strong one is the median."
    return _section("Measured", element("p", note, class_="hint"), element("div", *shown, class_="measured"))


def _measurement(one: Measurement) -> Html:
    values = sorted(one.values)
    middle, most = one.median, values[math.ceil(len(values) * 0.95) - 1]
    shown = seconds if one.unit == "s" else (lambda value: f"{value:,g} {one.unit}")
    if len(values) == 1:
        return element("figure", element("figcaption", one.what), element("p", f"{shown(middle)}, once"))
    said = (
        f"median {shown(middle)} · 95 % within {shown(most)} · slowest {shown(values[-1])} ·"
        f" {len(values):,} values"
    )
    picture = strip(values, marked=middle, label=f"{one.what}: {said}")
    return element("figure", element("figcaption", one.what), picture, element("p", said))


def _resources(result: ProveResult) -> Html | None:
    created, removed = set(result.created), set(result.removed)
    left = {(one.type, one.name) for one in result.left}
    every = dict.fromkeys((*result.created, *result.removed))

    def fate(one: Resource) -> Html:
        if (one.type, one.name) in left:
            return element("span", "left", class_="failed")
        if one in removed:
            return element("span", "removed", class_="passed")
        return element("span", "kept" if result.kept else "not confirmed", class_="open")

    rows = ((one.type, one.name, "made" if one in created else "found", fate(one)) for one in every)
    all_gone = created <= removed and not (result.left or result.kept or result.count(CheckVerdict.FAILED))
    remains = (
        (one.type, one.name, without_login(one.reason), element("code", one.command.strip("`")))
        for one in result.left
    )
    return _section(
        "Made and removed",
        _table(("type", "name", "made", "removed"), rows, "made") if every else "",
        _table(("left", "name", "why", "remove it by"), remains, "left") if result.left else "",
        element("p", "All that this run made was removed.", class_="hint") if all_gone else "",
    )


def _requests(result: ProveResult) -> Html | None:
    if not result.requests:
        return None
    ordered = sorted(result.requests.items(), key=lambda item: (-item[1], item[0]))
    items = (element("li", element("span", name), element("b", f"{times:,}")) for name, times in ordered)
    whom = "the emulator" if result.endpoint else "AWS"
    total = f"{count(sum(result.requests.values()), 'request')} of this machine to {whom}, by kind."
    return _section("Requests", element("p", total, class_="hint"), element("ul", *items, class_="requests"))


def _about(result: ProveResult) -> Html:
    lines = [
        "This page names the account, its resources and who ran this. It holds no key, no secret and no"
        " message: only items made up for this run were delivered, and their names may be above.",
        "It has no script and loads nothing: its own policy forbids both.",
    ]
    if result.api in (OWN_FUNCTION, ON_THIS_MACHINE):
        lines.insert(0, _about_its_function(result))
    return _section("About this page", *(element("p", line) for line in lines))


def _about_its_function(result: ProveResult) -> str:
    """Say what the run's own function was, to whom its URL was open, and for how long."""
    said = (
        "The items went to an API on this machine. A function of the run's own was made and asked, too."
        if result.api == ON_THIS_MACHINE
        else "The API was a function with a URL, so that the worker could reach it as it reaches yours."
    )
    where = "The URL was the emulator's; on AWS it is public." if result.endpoint else "The URL was public."
    lines = [
        said,
        where,
        "The function answers only requests with a random secret of 256 bits, of which it has the hash alone;"
        " its role may write its own log and use its own table, and nothing else.",
    ]
    if result.kept and Resource("function", f"{result.pipeline}-receiver") in result.created:
        lines.append("It was kept, so its URL is there until prove --clean.")
    return " ".join(lines)


def _section(title: str, *content: str) -> Html:
    return element("section", element("h2", title), *content)


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]], kind: str) -> Html:
    head = element("thead", element("tr", *(element("th", header, scope="col") for header in headers)))
    body = element("tbody", *(element("tr", *(element("td", cell) for cell in row)) for row in rows))
    return element("table", head, body, class_=kind)


def _moment(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
