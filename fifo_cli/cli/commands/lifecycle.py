"""Commands that steer a deployed pipeline: rollback, pause, resume, destroy, and the policies to do so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Impact, command
from fifo_cli.cli.parameters import DryRunOfChanges
from fifo_cli.errors import ExitCode
from fifo_cli.events import Event, Started, Warned

if TYPE_CHECKING:
    from fifo_cli.model.planning import Plan
    from fifo_cli.operations.deploy.rollback import RollbackResult


_UNBOUNDED: Final = (
    "without a permissions boundary, whoever holds this policy can do all that can be done in the account: it"
    " may write any policy for the two roles and run any code with them. Set [functions] permissions_boundary"
    " in fifo.toml before you give it to anybody who is not an administrator"
)


Part = Annotated[
    Literal["enqueuer", "worker", "all"], typer.Argument(metavar="enqueuer|worker|all", help="Which one.")
]


@command(
    "rollback",
    impact=Impact.DESTROYS,
    examples=["fifo-cli rollback --dry-run", "fifo-cli rollback", "fifo-cli rollback --to 7 --yes"],
)
def rollback(
    cli: Cli,
    *,
    to: Annotated[
        int | None,
        typer.Option("--to", metavar="VERSION", help="This version. Default: the one before the live one."),
    ] = None,
    dry_run: DryRunOfChanges = False,
) -> ExitCode:
    """Point both functions' live alias at the previous version.

    Code and settings go back together, both functions or neither. Queues, schedules and the rest stay as
    they are; `plan` then shows what differs from fifo.toml, and `deploy` goes forward again.
    """
    from fifo_cli.operations.deploy.rollback import rollback
    from fifo_cli.render.deploy_tables import moves_table

    def confirm(result: RollbackResult) -> None:
        cli.confirm(f"move live of both functions:\n\n{moves_table(result)}")
        cli.begin()

    result = rollback(cli.aws, cli.names, to=to, confirm=confirm, dry_run=dry_run, listener=cli.listener)
    return cli.emit(result, lambda: moves_table(result))


@command(
    "pause",
    impact=Impact.WRITES,
    examples=["fifo-cli pause", "fifo-cli pause worker --wait", "fifo-cli pause enqueuer -o json"],
)
def pause(
    cli: Cli,
    *,
    part: Part = "all",
    wait: Annotated[
        bool, typer.Option("--wait", help="Return only when what was in flight is done.")
    ] = False,
) -> ExitCode:
    """Stop the enqueuer, the worker or both; nothing is lost meanwhile.

    The worker is paused by switching off what starts it: its schedules, or its event source mapping. The
    enqueuer is paused by switching off its event source mapping. Both go on where they stopped. The stream
    keeps records for 24 hours: do not pause the enqueuer for longer.

    On AWS --wait takes three minutes or more: a disabled rule may still fire, and SQS's counts are late.
    """
    from fifo_cli.operations.deploy.pause import pause
    from fifo_cli.render.deploy_tables import pause_table

    cli.begin()
    result = pause(cli.aws, cli.settings, part, wait=wait, listener=cli.listener)
    return cli.emit(result, lambda: pause_table(result))


@command("resume", impact=Impact.WRITES, examples=["fifo-cli resume", "fifo-cli resume worker --env prod"])
def resume(cli: Cli, *, part: Part = "all") -> ExitCode:
    """Start the enqueuer, the worker or both again, where they stopped."""
    from fifo_cli.operations.deploy.pause import resume
    from fifo_cli.render.deploy_tables import pause_table

    cli.begin()
    result = resume(cli.aws, cli.settings, part, listener=cli.listener)
    return cli.emit(result, lambda: pause_table(result))


@command(
    "destroy",
    impact=Impact.DESTROYS,
    examples=["fifo-cli destroy --dry-run", "fifo-cli destroy --keep-table --keep-queues"],
)
def destroy(
    cli: Cli,
    *,
    keep_table: Annotated[bool, typer.Option("--keep-table", help="Do not delete the table.")] = False,
    keep_queues: Annotated[bool, typer.Option("--keep-queues", help="Do not delete the queues.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
) -> ExitCode:
    """Remove what deploy made, in a safe order; a table it did not create stays.

    It counts the messages and items that would be deleted, and asks about them once more.
    """
    from fifo_cli.model.resources import Kind
    from fifo_cli.operations.deploy.destroy import destroy
    from fifo_cli.render.plan import plan_table

    def confirm(plan: Plan, data: Sequence[str]) -> None:
        cli.confirm(f"delete:\n\n{plan_table(plan)}\n")
        if data:
            cli.confirm("delete for good what these hold:\n\n" + "\n".join(data) + "\n")
        cli.begin()

    def listen(event: Event) -> None:
        # The history goes last, and with it what was written into it: nothing may be written after that.
        if event == Started("delete", "log-group", cli.names.operations_log):
            cli.end(ExitCode.OK)
        cli.listener(event)

    kept: dict[Kind, bool] = {"table": keep_table, "queue": keep_queues}
    result = destroy(
        cli.aws,
        cli.settings,
        keep=frozenset(kind for kind, keep in kept.items() if keep),
        confirm=confirm,
        dry_run=dry_run,
        listener=listen,
    )
    return cli.emit(
        result,
        lambda: plan_table(result, done=not dry_run) if result.changes else "Nothing to delete.",
    )


@command(
    "policy",
    impact=Impact.READS,
    examples=["fifo-cli policy monitor", "fifo-cli policy deployer --env prod > deployer.json"],
)
def policy(
    cli: Cli,
    *,
    audience: Annotated[
        Literal["operator", "monitor", "deployer", "prover"],
        typer.Argument(metavar="operator|monitor|deployer|prover", help="Whom it is for."),
    ],
) -> ExitCode:
    """Print the IAM policy for an operator, a monitor or a deployer of this pipeline.

    monitor: plan, depth, check, status, logs, keys list. operator: also everything that moves messages,
    reads the stream, puts items, pauses and resumes. deployer: what a monitor may, and deploy, destroy,
    rollback, keys set. prover: for all that prove does, on pipelines of its own; it needs no fifo.toml.
    """
    from fifo_cli.model.operator_policies import people_policies, prover_policies
    from fifo_cli.operations.deploy.remote_state import table_key

    if audience == "prover":
        from fifo_cli.operations.prove.pipeline import layouts

        cli.listener(Warned(_UNBOUNDED))
        return cli.emit_document(prover_policies(layouts(), cli.account.place))
    if audience == "deployer" and not cli.settings.functions.permissions_boundary:
        cli.listener(Warned(_UNBOUNDED))
    key = table_key(cli.aws, cli.settings, cli.listener) if audience != "monitor" else None
    documents = people_policies(cli.settings, cli.aws.place, audience, table_key=key)
    return cli.emit_document(documents if len(documents) > 1 else documents[0])
