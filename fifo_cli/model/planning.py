"""(wanted, found) → Plan: named changes, or every reason why there can be none. Nothing here calls AWS."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal, get_args

from fifo_cli.errors import ExitCode, UsageError
from fifo_cli.invocation import command_line
from fifo_cli.model.names import ADOPTED_TAG, DELETED_TAG, PIPELINE_TAG, REGION_TAG, SWITCH_TAG
from fifo_cli.model.resources import Found, Key, Kind, Resource, normalised
from fifo_cli.model.results import OPTIONAL, Document, Fields, Listed, named

Action = Literal["create", "update", "delete"]
# All inline policies of a role together (IAM User Guide, "IAM and AWS STS quotas").
INLINE_POLICIES_SIZE: Final = 10_240

_Paths = dict[tuple[Kind, str], str]
# What AWS cannot change on an existing resource, and changing which would mean to delete data.
_FIXED: Final[_Paths] = {
    ("table", "keys"): "the keys of a table cannot be changed; correct [table] or name another table",
    ("queue", "fifo"): "a queue cannot be made FIFO or standard afterwards; choose another pipeline name",
}
# A table of somebody else's has other readers, which a new stream would cut off.
_FIXED_OF_OTHERS: Final[_Paths] = {
    **_FIXED,
    ("table", "stream"): (
        "the view type of a stream cannot be edited, and a new stream would cut off its other readers;"
        " switch the stream off by hand when nothing reads it, and run this deploy again"
    ),
}
# A mapping is bound to one stream for life (Lambda API Reference, UpdateEventSourceMapping).
_MAPPING: Final = "deleted and created again: a mapping cannot be pointed at another stream or queue"
_STREAM: Final = "switched off and on again: the view type of a stream cannot be edited"
_REPLACING: Final[_Paths] = {
    ("event-source-mapping", "table"): _MAPPING,
    ("event-source-mapping", "queue"): _MAPPING,
    ("table", "stream"): _STREAM,
}


CODE_HASH: Final = "code_sha256"
# Tags of a queue by which a command that was cut off is known.
_MARKS: Final = (DELETED_TAG, SWITCH_TAG)
# What changes inside the functions' zips, as model/code_changes.py names it.
_IN_CODE: Final = ("settings", "requirements", "libraries", "fifo-cli", "files")


@dataclass(frozen=True, slots=True)
class Difference(Fields):
    """One property that is not as wanted; ``path`` is dotted. ``unified``: how a text differs, by line."""

    path: str
    old: Any
    new: Any
    unified: tuple[str, ...] | None = field(default=None, metadata=OPTIONAL)


def is_code_change(one: Difference) -> bool:
    """Say whether a difference is inside a function's zip."""
    return one.path.partition(".")[0] in _IN_CODE


@dataclass(frozen=True, slots=True)
class Change(Fields):
    """One thing deploy would do."""

    action: Action
    kind: Kind = field(metadata=named("type"))
    name: str
    diff: tuple[Difference, ...] = ()

    @property
    def key(self) -> Key:
        return (self.kind, self.name)

    @property
    def changed(self) -> frozenset[str]:
        """The properties (or ``tags``) that differ, without what is inside them."""
        return frozenset(difference.path.partition(".")[0] for difference in self.diff)


@dataclass(frozen=True, slots=True)
class Plan(Listed):
    """What would be changed, deletes last; with ``check`` any change needs a look (exit 1).

    ``losses`` are those of the warnings that are about data which is gone for good afterwards.
    """

    changes: tuple[Change, ...] = ()
    unchanged: int = 0
    warnings: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    check: bool = False

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.ATTENTION if self.check and self.changes else ExitCode.OK

    @property
    def summary(self) -> dict[str, int]:
        """How many are created, updated, deleted and left as they are."""
        count = Counter(one.action for one in self.changes)
        return {**{action: count[action] for action in get_args(Action)}, "unchanged": self.unchanged}

    def document(self) -> Document:
        return {"changes": [change.document() for change in self.changes], "summary": self.summary}


@dataclass(frozen=True, slots=True)
class DeployedSchedule(Fields):
    """A schedule, with its next run if this machine can know it."""

    name: str
    expression: str
    enabled: bool
    next_run: datetime | None


@dataclass(frozen=True, slots=True)
class DeployedMapping(Fields):
    """The event source mapping by which the queue starts the worker."""

    queue: str
    enabled: bool
    max_functions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs(Fields):
    """Where a pipeline's resources are; None for what does not exist (yet)."""

    account: str
    region: str
    queues: Mapping[str, str | None]
    functions: Mapping[str, str | None]
    versions: Mapping[str, str | None]
    table: str
    stream: str | None
    log_groups: Mapping[str, str]
    schedules: tuple[DeployedSchedule, ...]
    mapping: DeployedMapping | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True)
class DeployResult(Listed):
    """A plan that was carried out (or, in a dry run, was not), and where things are now."""

    plan: Plan
    outputs: Outputs

    def document(self) -> Document:
        return {**self.plan.document(), "outputs": self.outputs.document()}


def make_plan(
    wanted: Sequence[Resource], found: Mapping[Key, Found], *, pipeline: str, adopt: bool = False
) -> Plan:
    """Compare what is wanted with what was found.

    What was found but is not wanted is deleted if it ``is_surplus``, and left alone otherwise.
    Raises UsageError with every reason why nothing may be done: another's resources, keys that differ.
    """
    found = _foreseen(wanted, found)
    refusals = [reason for one in wanted for reason in _refusals(one, found.get(one.key), pipeline, adopt)]
    if refusals:
        raise UsageError(
            "\n".join([f"{pipeline} cannot be deployed:", *(f"  {reason}" for reason in refusals)]),
            hint="; ".join(("nothing was changed", *_ways_out(wanted, found, pipeline, adopt=adopt))),
        )
    changes = [change for one in wanted if (change := _change(one, found.get(one.key)))]
    keys = {one.key for one in wanted}
    surplus = [one for key, one in found.items() if key not in keys and is_surplus(one, pipeline)]
    deletes = [Change("delete", one.kind, one.name) for one in surplus]
    losses = tuple(text for change in changes for text in _losses(change, found.get(change.key)))
    return Plan(
        changes=(*changes, *deletes),
        unchanged=len(wanted) - len(changes),
        warnings=(*(text for change in changes for text in _warnings(change)), *losses),
        losses=losses,
    )


def is_surplus(found: Found, pipeline: str) -> bool:
    """Say whether what is not wanted is this pipeline's, as its tag shows.

    A mapping by which a queue starts its worker is, too, if it has nobody's tag: it was made by hand.
    """
    owner = found.tags.get(PIPELINE_TAG)
    started = str(found.properties.get("function")).split(":")
    by_hand = owner is None and found.kind == "event-source-mapping" and found.name in started
    return by_hand or owner == pipeline


def differences(wanted: Resource, found: Found) -> tuple[Difference, ...]:
    """Return how a found resource is not as wanted, path by path; what is not wanted is not looked at."""
    diff = [
        one
        for name, value in wanted.properties.items()
        if found.properties.get(name) not in wanted.accepts.get(name, ())
        for one in _compare(name, normalised(found.properties.get(name)), normalised(value))
    ]
    diff += [
        Difference(f"tags.{name}", found.tags.get(name), value)
        for name, value in wanted.tags.items()
        if found.tags.get(name) != value
    ]
    # A destroy was cut off before the delete itself, or a deploy before it had changed what starts the
    # worker: the queue stays, so the mark goes.
    diff += [Difference(f"tags.{tag}", found.tags[tag], None) for tag in _MARKS if tag in found.tags]
    if wanted.must_run and not found.facts["enabled"]:
        diff.append(Difference("enabled", False, True))
    replacing = [
        text for one in diff if one.old is not None and (text := _REPLACING.get((wanted.kind, one.path)))
    ]
    return (*diff, *(Difference("replaced", None, text) for text in replacing))


def _foreseen(wanted: Sequence[Resource], found: Mapping[Key, Found]) -> Mapping[Key, Found]:
    """Return what is found with the mappings as they will be once their tables have a new stream."""
    foreseen = dict(found)
    renewed = {
        one.name
        for one in wanted
        if one.kind == "table" and one.key in found
        for diff in differences(one, found[one.key])
        if diff.path == "stream" and diff.old is not None
    }
    for key, one in found.items():
        if one.kind == "event-source-mapping" and one.properties.get("table") in renewed:
            stream = one.facts.get("source")
            foreseen[key] = replace(one, properties={**one.properties, "table": stream})
    return foreseen


def _change(wanted: Resource, found: Found | None) -> Change | None:
    if found is None:
        diff = tuple(Difference(name, None, value) for name, value in wanted.properties.items())
        return Change("create", wanted.kind, wanted.name, diff)
    diff = differences(wanted, found)
    return Change("update", wanted.kind, wanted.name, diff) if diff else None


def _compare(path: str, old: Any, new: Any) -> list[Difference]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [
            one for name in {**new, **old} for one in _compare(f"{path}.{name}", old.get(name), new.get(name))
        ]
    return [] if old == new else [Difference(path, old, new)]


def _refusals(wanted: Resource, found: Found | None, pipeline: str, adopt: bool) -> list[str]:
    thing = f"{wanted.kind} {wanted.name}"
    if size := _too_long_policy(wanted):
        return [
            f"{thing}: its policy has {size:,} characters, and IAM takes {INLINE_POLICIES_SIZE:,} of a role;"
            " give the parameters in keys shorter names, or use fewer of them"
        ]
    if found is None:
        return [] if wanted.managed else [f"{thing} does not exist, and [table] says create = false"]
    owned = ownership_refusal(wanted, found, pipeline, adopt=adopt)
    reasons = [owned] if owned else []
    fixed = _FIXED if wanted.managed else _FIXED_OF_OTHERS
    for one in differences(wanted, found):
        why = fixed.get((wanted.kind, one.path))
        if why and one.old is not None:
            reasons.append(f"{thing}: {one.path} is {one.old!r}, not {one.new!r}: {why}")
    return reasons


def _too_long_policy(wanted: Resource) -> int:
    """Return the length of a role's policy if IAM would not take it, else 0; white space is not counted."""
    policy = wanted.properties.get("policy") if wanted.kind == "role" else None
    size = len(json.dumps(policy, separators=(",", ":"))) if policy else 0
    return size if size > INLINE_POLICIES_SIZE else 0


def _ways_out(
    wanted: Sequence[Resource], found: Mapping[Key, Found], pipeline: str, *, adopt: bool
) -> list[str]:
    """Say what can be done about resources that are not this pipeline's."""
    owners = {
        found[one.key].tags.get(PIPELINE_TAG)
        for one in wanted
        if one.key in found and ownership_refusal(one, found[one.key], pipeline, adopt=adopt)
    }
    ways = []
    if None in owners:
        ways.append(f"what carries no tag can be taken over with {command_line('deploy --adopt')}")
    if others := sorted(owner for owner in owners if owner not in (None, pipeline)):
        ways.append(
            f"choose other names in [pipeline] and [table]; if this is {' or '.join(map(repr, others))}"
            f" renamed, take back its name and run {command_line('destroy')} first"
        )
    return ways


def ownership_refusal(wanted: Resource, found: Found, pipeline: str, *, adopt: bool) -> str | None:
    """Say why a found resource may not be touched: another's tag, or none at all without ``adopt``."""
    thing, owner = f"{wanted.kind} {wanted.name}", found.tags.get(PIPELINE_TAG)
    if not wanted.tags or (owner is None and adopt):
        return None
    if owner is None:
        return f"{thing} exists already and does not carry the tag {PIPELINE_TAG}"
    if owner != pipeline:
        return f"{thing} belongs to the pipeline {owner!r}"
    region, ours = found.tags.get(REGION_TAG), wanted.tags.get(REGION_TAG)
    if region is not None and ours is not None and region != ours:
        return (
            f"{thing} belongs to the pipeline {owner!r} in {region}, not in {ours}"
            f" ({wanted.kind}s have no region: check --region, or choose another name)"
        )
    return None


def make_destroy_plan(
    wanted: Sequence[Resource], found: Mapping[Key, Found], *, pipeline: str, keep: Collection[Kind] = ()
) -> Plan:
    """Plan to delete what is found and this pipeline's; what stays, and what data goes, is in the warnings.

    What is not managed (a table that exists without us), was taken over with ``--adopt`` (a table), or
    carries another's tag or none stays. An alias goes with its function, whose tags it shares.
    """
    resources = {one.key: one for one in wanted}
    deletes: list[Change] = []
    warnings: list[str] = []
    for key, one in found.items():
        stays = None if one.kind in keep else _why_it_stays(one, resources.get(key), found, pipeline)
        if stays:
            warnings.append(f"{one.kind} {one.name} stays: {stays}")
        elif one.kind not in keep:
            deletes.append(Change("delete", one.kind, one.name))
    warnings += [text for change in deletes if (text := held(found[change.key]))]
    return Plan(tuple(deletes), unchanged=len(found) - len(deletes), warnings=tuple(warnings))


def held(found: Found) -> str | None:
    """Say what data a resource holds, which goes with it; None if it holds none."""
    count = found.facts.get("holds")
    if not count:
        return None
    noun = "message" if found.kind == "queue" else "item"
    message = f"{count:,}" if isinstance(count, int) else count
    return f"{found.kind} {found.name} holds {message} {noun}{'' if count == 1 else 's'}"


def _why_it_stays(
    found: Found, wanted: Resource | None, all_found: Mapping[Key, Found], pipeline: str
) -> str | None:
    if wanted is not None and not wanted.managed:
        return "[table] says create = false; its stream stays on"
    if found.kind == "table" and ADOPTED_TAG in found.tags:
        return "it was there before it was taken over with --adopt"
    if found.kind == "alias":
        function = all_found.get(("function", found.name.partition(":")[0]))
        # An alias whose function is deleted goes with it.
        return _why_it_stays(function, None, all_found, pipeline) if function else None
    owner = found.tags.get(PIPELINE_TAG)
    if owner is None:
        return f"it does not carry the tag {PIPELINE_TAG}"
    if owner != pipeline:
        return f"it belongs to the pipeline {owner!r}"
    return ownership_refusal(wanted, found, pipeline, adopt=False) if wanted else None


def _warnings(change: Change) -> list[str]:
    """Say what follows from a change, beside the data that is lost."""
    return [
        f"{change.name}: its stream is switched on; only changes made from then on become messages"
        for one in change.diff
        if change.action == "update" and change.kind == "table" and one.path == "stream" and one.old is None
    ]


def _losses(change: Change, found: Found | None) -> list[str]:
    """Say what data is gone for good after a change to what was found."""
    texts = []
    for one in change.diff if change.action == "update" and found else ():
        if one.path == "retention_days" and found and found.facts.get("bytes"):
            texts += _lost_logs(change.name, one)
        if one.old is None:
            continue
        if change.kind == "queue" and one.path == "retention" and one.new < one.old:
            texts.append(
                f"{change.name}: retention goes down from {one.old} s to {one.new} s; SQS applies it to"
                " waiting messages too, so it deletes backlog older than that"
            )
        if change.kind == "event-source-mapping" and one.path == "table":
            stays = "" if f":table/{one.new}/" in one.old else "; that table stays as it is"
            texts.append(
                f"{change.name}: it read {one.old}; what is still unread there will not become"
                f" messages{stays}"
            )
        if change.kind == "table" and one.path == "stream":
            texts.append(
                f"{change.name}: its stream is switched off and on again; changes made in between do not"
                " become messages, so let nothing write to the table meanwhile"
            )
    return texts


def _lost_logs(name: str, retention: Difference) -> list[str]:
    """Say what a shorter retention, in days, deletes of a log group; None keeps for ever."""
    if retention.old is not None and retention.old <= retention.new:
        return []
    kept = "for ever" if retention.old is None else f"for {retention.old} days"
    return [
        f"{name}: logs were kept {kept}, and are for {retention.new} days from now on; older ones, which"
        " audit and trace need, are deleted"
    ]
