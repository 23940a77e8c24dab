"""The checks of the pipeline's beginning and end: who we are, policies, the API, deploy, plan, destroy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.aws.policy_check import (
    NotPermittedError,
    NotSimulatedError,
    allowed,
    check_simulation,
    create_and_delete,
)
from fifo_cli.model.names import PIPELINE_TAG
from fifo_cli.model.prove_result import Resource
from fifo_cli.model.receiver_protocol import AnswerRules
from fifo_cli.operations.prove.check_context import expect
from fifo_cli.operations.prove.pipeline import NotOfferedError
from fifo_cli.operations.prove.run_resources import find

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fifo_cli.operations.prove.check_context import CheckContext
    from fifo_cli.operations.prove.receiver import HttpReceiver

# By audience: the kind of resource, what its policy must allow on it, and what it must not.
_RIGHTS: Final = {
    "deployer": [("main", "sqs:CreateQueue sqs:DeleteQueue", "sqs:ReceiveMessage")],
    "operator": [
        ("main", "sqs:ReceiveMessage sqs:SendMessage sqs:DeleteMessage", "sqs:DeleteQueue"),
        ("table", "dynamodb:PutItem", "dynamodb:DeleteTable"),
    ],
    "monitor": [("main", "sqs:GetQueueAttributes", "sqs:ReceiveMessage sqs:SendMessage")],
}
_STRANGERS: Final = "somebody-elses"


def identity(context: CheckContext) -> str:
    """The commands act in the account and region in which this run does."""
    place = context.aws.place
    policy = json.dumps(context.run("policy", "monitor"))
    expect(
        f":{place.region}:{place.account}:" in policy,
        f"the commands do not act in account {place.account}, region {place.region}, as this run does",
    )
    return f"{context.aws.caller}, found by {context.aws.credentials_source}"


def policies(context: CheckContext) -> str:
    """IAM takes the policies of deployer, operator and monitor; they allow what they must, and no more."""
    printed = context.commands.run_side_by_side(*(("policy", audience) for audience in _RIGHTS))
    documents = {audience: _listed(done.json()) for audience, done in zip(_RIGHTS, printed, strict=True)}
    lacking = [
        what
        for what, check in (("to create policies", _create), ("to simulate policies", _simulate))
        if not _permitted(check, context, documents)
    ]
    if len(lacking) > 1:
        raise NotOfferedError(f"not permitted {' or '.join(lacking)}")
    sizes = ", ".join(f"{audience} {len(found)}" for audience, found in documents.items())
    return f"{sizes} documents" + "".join(f"; not permitted {one}" for one in lacking)


def _listed(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found]


def _permitted(
    check: Callable[[CheckContext, Mapping[str, list[Any]]], None],
    context: CheckContext,
    documents: Mapping[str, list[Any]],
) -> bool:
    try:
        check(context, documents)
    except NotPermittedError:
        return False
    except NotSimulatedError as error:
        raise NotOfferedError(error.message) from error
    return True


def _create(context: CheckContext, documents: Mapping[str, list[Any]]) -> None:
    tags = {PIPELINE_TAG: context.name, **context.layout.tags}
    for audience, policies in documents.items():
        for number, policy in enumerate(policies):
            create_and_delete(context.aws, f"{context.name}-{audience}-{number}", policy, tags)


def _simulate(context: CheckContext, documents: Mapping[str, list[Any]]) -> None:
    check_simulation(context.aws)
    for audience, rights in _RIGHTS.items():
        for kind, must, must_not in rights:
            _simulate_one(context, audience, documents[audience], kind, must.split(), must_not.split())


def _simulate_one(
    context: CheckContext,
    audience: str,
    documents: list[Any],
    kind: str,
    must: list[str],
    must_not: list[str],
) -> None:
    place, names = context.aws.place, context.names
    ours, other = {
        "main": (place.queue(names.main), place.queue(f"{_STRANGERS}.fifo")),
        "table": (place.table(context.name), place.table(_STRANGERS)),
    }[kind]
    found = allowed(context.aws, documents, [*must, *must_not], ours)
    lacking, more = sorted(set(must) - found), sorted(found & set(must_not))
    expect(not lacking, f"the policy of {audience} does not allow {', '.join(lacking)} on {ours}")
    expect(not more, f"the policy of {audience} allows {', '.join(more)} on {ours}")
    more = sorted(allowed(context.aws, documents, must, other))
    expect(not more, f"the policy of {audience} allows {', '.join(more)} on {other}, which is another's")


def api(context: CheckContext) -> str:
    """The API answers whoever has the secret, and nobody else."""
    ask(context.receiver)
    return "answers, and refuses who has no secret"


def ask(receiver: HttpReceiver) -> None:
    """Ask an API with the secret and without it; raises CheckFailed unless it makes the difference."""
    receiver.forget()
    answers = receiver.strangers_get()
    shown = ", ".join(map(str, sorted(answers)))
    expect(answers == {403}, f"without the secret the API answers {shown}, and not 403 alone")


def deploy(context: CheckContext) -> str:
    """`deploy` makes everything, and the functions get their keys."""
    with context.timed("deploy", "a deploy that makes everything"):
        summary = context.deploy()["summary"]
    expect(summary["create"] and not summary["update"], f"the first deploy did {summary}")
    context.commands.run_side_by_side(
        *(("keys", "set", name, "--yes") for name in ("secret", "api_key")),
        stdin=(context.receiver.secret, context.key),
    )
    context.created += [Resource("parameter", f"/{context.name}/{name}") for name in ("secret", "api-key")]
    context.answer_by(AnswerRules())
    status = context.run("status", codes=(0, 1))
    expect(status["account"] == context.aws.place.account, f"status speaks of account {status['account']}")
    return f"{summary['create']} resources created"


def plan(context: CheckContext) -> str:
    """After a deploy there is nothing to change, and a second deploy changes nothing."""
    _unchanged(context, "at once")
    again = context.run("deploy", "--yes")
    expect(not again["changes"], f"a second deploy changed {_shown(again)}")
    context.sleep(context.waits.again)
    _unchanged(context, f"after {context.waits.again:.0f} s")
    return f"empty at once and after {context.waits.again:.0f} s"


def _unchanged(context: CheckContext, when: str) -> None:
    found = context.run("plan", "--check", codes=(0, 1))
    expect(not found["changes"], f"{when} after the deploy there is something to change: {_shown(found)}")


def _shown(plan: Any) -> str:
    return ", ".join(f"{one['action']} {one['type']} {one['name']}" for one in plan["changes"])


def destroy(context: CheckContext) -> str:
    """`destroy` removes everything that deploy made."""
    with context.timed("destroy", "a destroy"):
        result = context.run("destroy", "--yes")
    context.note(result)
    found = context.run("plan")["summary"]
    expect(not found["unchanged"] and not found["update"], f"after the destroy, a plan finds {found}")
    return f"{result['summary']['delete']} resources deleted"


def deploy_again(context: CheckContext) -> str:
    """The same name can be deployed at once after a destroy, and destroyed again."""
    with context.timed("deploy_again", "a deploy at once after a destroy of the same name"):
        made = context.deploy()["summary"]
    found = context.run("plan", "--check", codes=(0, 1))
    expect(not found["changes"], f"after the second deploy there is something to change: {_shown(found)}")
    result = context.run("destroy", "--yes")
    context.note(result)
    expect(
        result["summary"]["delete"] == made["create"],
        f"{made['create']} resources were made, and {result['summary']['delete']} deleted",
    )
    return f"{made['create']} resources created and deleted again"


def nothing_left(context: CheckContext) -> str:
    """Nothing is left of the pipeline, nor of the API and the keys, which are removed here."""

    def found() -> list[Resource]:
        return [
            one
            for one in find(context.aws, context.name, all_kinds=True)
            if one.type != "parameter" and not one.name.endswith("-receiver")
        ]

    seconds = context.until(
        lambda: not found(),
        lambda: "still there: " + ", ".join(f"{one.type} {one.name}" for one in found()),
        context.waits.gone,
    )
    context.measure("gone", "from a destroy until no service shows anything of it", seconds)
    removed, left = context.remove()
    context.removed += removed
    expect(not left, "left: " + "; ".join(f"{one.type} {one.name}: {one.reason}" for one in left))
    return "no service shows anything of the pipeline, its API and its keys"
