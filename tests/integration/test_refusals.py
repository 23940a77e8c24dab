"""What AWS may answer to a deploy or destroy: reported with call, resource and what was done; or awaited."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.model.settings import load
from fifo_cli.operations.deploy.deploy import deploy
from fifo_cli.operations.deploy.plan import plan
from tests.cli_harness import Project, Ran, Stack, wait_until
from tests.faults import Action, AnswerWithError, Delay, Drop, DropAnswer, Pass, on
from tests.integration.fork_server import ForkServer
from tests.integration.proxy import Proxy, Request
from tests.integration.test_killed import NOTED, made_of, mutates

Make = Callable[..., Project]
Run = Callable[..., Ran]
FUNCTIONS = "POST /2015-03-31/functions"


@pytest.fixture
def run(fork_server: ForkServer, proxy: Proxy) -> Run:
    """Run a command line through the proxy, as a process; a key of twelve digits is another account's."""

    def ran(
        made: Project, *args: str, account: str = "test", region: str = "us-east-1", **variables: str
    ) -> Ran:
        keys = {
            **variables,
            "AWS_ACCESS_KEY_ID": account,
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": region,
        }
        if account != "test":
            keys["AWS_SESSION_TOKEN"] = "test"  # the stack's key all the same
        return fork_server.run(made.folder, [*args, "--endpoint-url", proxy.endpoint], keys)

    return ran


DENIED = (
    "User: arn:aws:sts::123456789012:assumed-role/dev/me is not authorized to perform: {0} on resource: {1}"
    " because no identity-based policy allows the {0} action"
)
REFUSALS = {
    "a denied queue": (
        "CreateQueue",
        AnswerWithError("AccessDenied", DENIED.format("sqs:createqueue", "*"), status=403),
        "CreateQueue on queue {name}",
        "sqs:createqueue",
    ),
    "a denied table": (
        "CreateTable",
        AnswerWithError("AccessDeniedException", DENIED.format("dynamodb:CreateTable", "*")),
        "create table {name}: CreateTable on table {name}: permission denied",
        "dynamodb:CreateTable",
    ),
    "a denied role": (
        "CreateRole",
        AnswerWithError("AccessDenied", DENIED.format("iam:CreateRole", "*"), status=403),
        "create role {name}-worker: CreateRole on role {name}-worker: permission denied",
        "iam:CreateRole",
    ),
    "a role that may not be passed": (
        FUNCTIONS,
        AnswerWithError("AccessDeniedException", DENIED.format("iam:PassRole", "*"), status=403),
        "create function {name}-worker: CreateFunction on function {name}-worker: permission denied",
        "iam:PassRole",
    ),
    "an organisation that forbids": (
        "CreateLogGroup",
        AnswerWithError("AccessDeniedException", "explicit deny in a service control policy"),
        "CreateLogGroup on log group /aws/lambda/{name}-worker: permission denied",
        "ask for the permission to call CreateLogGroup",
    ),
    "too many roles": (
        "CreateRole",
        AnswerWithError("LimitExceeded", "Cannot exceed quota for RolesPerAccount: 1000", status=409),
        "CreateRole on role {name}-worker: a quota of the account is used up",
        "RolesPerAccount: 1000",
    ),
    "too much code": (
        FUNCTIONS,
        AnswerWithError("CodeStorageExceededException", "Code storage limit exceeded."),
        "CreateFunction on function {name}-worker: a quota of the account is used up",
        "Service Quotas",
    ),
    "too many rules": (
        "PutRule",
        AnswerWithError(
            "LimitExceededException", "The requested resource exceeds the maximum number allowed."
        ),
        "create rule {name}-1: PutRule on rule {name}-1: a quota of the account is used up",
        "exceeds the maximum number",
    ),
}


def changes(proxy: Proxy) -> list[str]:
    """Return the calls that change the pipeline; what a command notes in its history does not."""
    return [one.action for one in proxy.requests if mutates(one) and one.action not in NOTED]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refused_call_is_reported_with_what_was_done_and_the_next_deploy_completes_the_work(
    project: Make, proxy: Proxy, run: Run, clients: Aws, refusal: str
) -> None:
    action, answer, text, said = REFUSALS[refusal]
    made = project()
    proxy.rule = on(action, do=answer)
    ended = run(made, "deploy", "--yes", "-q")
    assert (ended.code, ended.out) == (3, "")
    assert text.format(name=made.name) in ended.err
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert " of 16 changes were made" in ended.err
    assert re.search(r"run `fifo-cli deploy( -[^`]*)?` again; it continues where this one stopped", ended.err)
    proxy.rule = on("nothing", do=Pass())
    deploy(clients, load(made.config))
    assert plan(clients, load(made.config)).changes == ()


def test_what_was_done_until_a_refusal_is_exactly_what_is_there(
    project: Make, proxy: Proxy, run: Run, clients: Aws
) -> None:
    made = project()
    proxy.rule = on(
        "PutTargets", do=AnswerWithError("AccessDeniedException", DENIED.format("events:PutTargets", "*"))
    )
    ended = run(made, "deploy", "--yes", "-q")
    assert ended.code == 3
    assert "15 of 16 changes were made: create queue " in ended.err
    assert f"create table {made.name}" in ended.err
    left = plan(clients, load(made.config)).changes
    assert [(one.action, one.kind) for one in left] == [("update", "rule")]


def test_a_refused_delete_is_reported_with_what_is_gone_already(
    project: Make, proxy: Proxy, run: Run, clients: Aws
) -> None:
    made = project()
    deploy(clients, load(made.config))
    proxy.rule = on(
        "DeleteRole", do=AnswerWithError("AccessDenied", DENIED.format("iam:DeleteRole", "*"), status=403)
    )
    ended = run(made, "destroy", "--yes", "-q")
    assert ended.code == 3
    name = made.names.function("worker")
    assert f"delete role {name}: DeleteRole on role {name}: permission denied" in ended.err
    assert f"delete rule {made.name}-1, " in ended.err
    assert re.search(
        r"run `fifo-cli destroy( -[^`]*)?` again; it continues where this one stopped", ended.err
    )


def test_looking_without_permission_names_the_call_and_changes_nothing(
    project: Make, proxy: Proxy, run: Run
) -> None:
    made = project()
    proxy.rule = on(
        "DescribeTable",
        do=AnswerWithError("AccessDeniedException", DENIED.format("dynamodb:DescribeTable", "*")),
    )
    for args in (("plan",), ("deploy", "--yes"), ("destroy", "--yes"), ("pause",)):
        ended = run(made, *args)
        assert (ended.code, ended.out) == (3, ""), args
        assert f"DescribeTable on table {made.name}: permission denied" in ended.err or (
            "DescribeTable on event source mapping" in ended.err
        ), args
        assert "dynamodb:DescribeTable" in ended.err
    assert changes(proxy) == []


def test_in_another_account_or_region_it_is_named_and_nothing_is_touched(
    project: Make, proxy: Proxy, run: Run, clients: Aws
) -> None:
    made = project()
    deploy(clients, load(made.config))
    for where in ({"account": "111122223333"}, {"region": "eu-west-1"}):
        account, region = where.get("account", "000000000000"), where.get("region", "us-east-1")
        place = f"account {account}, region {region}"
        proxy.clear()
        for args in (("pause",), ("resume", "worker"), ("rollback", "--yes")):
            ended = run(made, *args, **where)
            assert (ended.code, ended.out) == (3, ""), args
            assert place in ended.err, ended.err
            assert "check --env, --profile and --region" in ended.err
        gone = run(made, "destroy", "--yes", **where)
        assert gone.code == 0, gone.err
        assert f"there is nothing of {made.name} to delete in {place}" in gone.err
        assert changes(proxy) == []
    assert plan(clients, load(made.config)).changes == ()


def test_a_deploy_into_another_region_does_not_take_the_roles_of_the_first(
    project: Make, proxy: Proxy, run: Run, clients: Aws
) -> None:
    made = project()
    deploy(clients, load(made.config))
    proxy.clear()
    ended = run(made, "deploy", "--yes", region="eu-west-1")
    assert (ended.code, ended.out) == (2, "")
    assert (
        f"role {made.name}-worker belongs to the pipeline '{made.name}' in us-east-1, not in eu-west-1"
        in ended.err
    )
    assert changes(proxy) == []


class FirstOf:
    """A rule that answers the first request of each kind in some way."""

    def __init__(self, do: Action, which: Callable[[Request], bool] = mutates) -> None:
        self.do, self.which = do, which
        self.seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Action:
        if not self.which(request):
            return Pass()
        with self._lock:
            self.seen[request.action] += 1
            return self.do if self.seen[request.action] == 1 else Pass()


def test_throttling_is_waited_out_and_said_aloud(project: Make, proxy: Proxy, run: Run, clients: Aws) -> None:
    made = project()
    proxy.rule = FirstOf(
        AnswerWithError("ThrottlingException", "Rate exceeded"),
        lambda one: one.action in {FUNCTIONS, "CreateQueue", "CreateRole", "PutRule", "DescribeTable"},
    )
    ended = run(made, "deploy", "--yes").ok()
    for service, action in (("lambda", "CreateFunction"), ("sqs", "CreateQueue"), ("iam", "CreateRole")):
        assert f"waiting for {service}: {action} again: AWS throttles (ThrottlingException)" in ended.err
    assert plan(clients, load(made.config)).changes == ()


def test_what_takes_aws_a_moment_is_waited_for_and_said_aloud(
    project: Make, proxy: Proxy, run: Run, clients: Aws
) -> None:
    made = project()
    name = made.names.function("worker")
    too_new = AnswerWithError(
        "InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda."
    )
    rules = [
        on(FUNCTIONS, nth=1, do=too_new),
        on(
            f"POST /2015-03-31/functions/{name}/versions",
            nth=1,
            do=AnswerWithError(
                "ResourceConflictException",
                "The operation cannot be performed at this time. An update is in progress for resource",
                status=409,
            ),
        ),
        on(
            "POST /2015-03-31/event-source-mappings",
            nth=1,
            do=AnswerWithError(
                "InvalidParameterValueException",
                "Cannot access stream x. Please ensure the role can perform the GetRecords Actions",
            ),
        ),
        on("CreateQueue", nth=1, do=AnswerWithError("QueueDeletedRecently", "wait 60 seconds")),
    ]
    proxy.rule = lambda request: next((do for rule in rules if (do := rule(request)) != Pass()), Pass())
    ended = run(made, "deploy", "--yes").ok()
    assert "waiting for its role to be known to Lambda" in ended.err
    assert f"waiting for {name}: busy with another update" in ended.err
    assert "waiting for its role's permissions to be in effect" in ended.err
    assert "not free: a queue of this name was deleted within the last minute" in ended.err
    assert plan(clients, load(made.config)).changes == ()


class CutFrom:
    """A rule that cuts connections from the nth request on, counted from the first that changes something.

    The history's own calls are neither counted nor cut.
    """

    def __init__(self, nth: int, do: Action) -> None:
        self.nth, self.do, self.seen = nth, do, 0
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Action:
        if request.action in NOTED:
            return Pass()
        with self._lock:
            self.seen += bool(self.seen or mutates(request))
            return self.do if self.seen >= self.nth else Pass()


ONCE = {"AWS_MAX_ATTEMPTS": "1"}


@pytest.mark.parametrize("do", [Drop(), DropAnswer()], ids=["Drop", "DropAnswer"])
@pytest.mark.parametrize("nth", [1, 4, 12, 24, 36, 48, 70])
def test_a_deploy_whose_connection_breaks_says_how_many_changes_were_made(
    project: Make, proxy: Proxy, run: Run, nth: int, do: Action
) -> None:
    made = project()
    proxy.rule = CutFrom(nth, do)
    ended = run(made, "deploy", "--yes", "-q", **ONCE)
    assert (ended.code, ended.out) == (3, "")
    (counted,) = re.findall(r"(\d+) of 16 changes were made", ended.err)
    assert (int(counted) == 16) == (nth >= 48)  # by then deploy reads what it has made
    assert re.search(r"run `fifo-cli deploy( -[^`]*)?` again; it continues where this one stopped", ended.err)
    assert "Traceback" not in ended.err
    proxy.rule = on("nothing", do=Pass())
    assert run(made, "deploy", "--yes", "-q").code == 0


def test_a_destroy_whose_connection_breaks_says_how_many_changes_were_made(
    project: Make, proxy: Proxy, run: Run, clients: Aws, stack: Stack
) -> None:
    made = project()
    deploy(clients, load(made.config))
    proxy.rule = CutFrom(9, Drop())
    ended = run(made, "destroy", "--yes", "-q", **ONCE)
    assert (ended.code, ended.out) == (3, "")
    assert re.search(r"[1-9]\d* of 16 changes were made: delete ", ended.err)
    assert re.search(r"run `fifo-cli destroy( -[^`]*)?` again", ended.err)
    proxy.rule = on("nothing", do=Pass())
    run(made, "destroy", "--yes").ok()
    assert made_of(stack, made.name) == []


@pytest.mark.parametrize(
    ("nth", "do", "said"),
    [
        (1, Drop(), "0 of 2 changes were made"),  # and nothing can be taken back
        (2, Drop(), "1 of 2 changes were made\n{name}-enqueuer: live is at 1"),
        (2, DropAnswer(), "whether live is at 1 is not known"),
    ],
)
def test_a_rollback_whose_connection_breaks_says_how_many_changes_were_made(
    project: Make, proxy: Proxy, run: Run, clients: Aws, nth: int, do: Action, said: str
) -> None:
    made = project()
    deploy(clients, load(made.config))
    made.config.write_text(
        made.config.read_text().replace('"messages_per_run" = 10', '"messages_per_run" = 7')
    )
    deploy(clients, load(made.config))
    proxy.rule = CutFrom(nth, do)
    ended = run(made, "rollback", "--yes", "-q", **ONCE)
    assert (ended.code, ended.out) == (3, "")
    assert said.format(name=made.name) in ended.err
    assert re.search(r"run `fifo-cli rollback --to 1( -[^`]*)?` again", ended.err)
    proxy.rule = on("nothing", do=Pass())
    run(made, "rollback", "--to", "1", "--yes", "-q").ok()


def test_a_lost_answer_to_every_delete_does_no_harm(
    project: Make, proxy: Proxy, run: Run, clients: Aws, stack: Stack
) -> None:
    made = project(alarms={"sns_topic": "arn:aws:sns:us-east-1:000000000000:oncall"})
    deploy(clients, load(made.config))
    rule = FirstOf(DropAnswer())
    proxy.rule = rule
    run(made, "destroy", "--yes").ok()
    assert len(rule.seen) >= 12
    assert made_of(stack, made.name) == []


def test_a_deploy_of_nothing_new_makes_no_call_that_changes_anything(
    project: Make, proxy: Proxy, run: Run
) -> None:
    made = project(
        alarms={"sns_topic": "arn:aws:sns:us-east-1:000000000000:oncall"}, tags={"team": "payments"}
    )
    run(made, "deploy", "--yes").ok()
    made_calls = [one.action for one in proxy.requests if mutates(one)]
    assert len(made_calls) >= 25
    proxy.clear()
    again = run(made, "deploy", "-o", "json").ok()  # there is nothing to ask about
    assert again.json()["summary"] == {"create": 0, "update": 0, "delete": 0, "unchanged": 20}
    assert changes(proxy) == []
    assert len(proxy.requests) > 40


def test_an_interrupted_deploy_says_what_was_made_and_the_next_one_completes_it(
    project: Make, proxy: Proxy, clients: Aws
) -> None:
    made = project()
    proxy.rule = on(FUNCTIONS, do=Delay(1.0))
    running = made.start("deploy", "--yes", endpoint=proxy.endpoint)
    wait_until(lambda: proxy.counts[FUNCTIONS] > 0)
    running.interrupt()
    ended = running.wait()
    assert ended.code == 130, ended.err
    assert re.search(r"interrupted: \d+ of 16 changes were made: .*create table", ended.err)
    assert "Traceback" not in ended.err
    assert not any(request.path.endswith("/aliases") for request in proxy.requests)
    deploy(clients, load(made.config))
    assert plan(clients, load(made.config)).changes == ()
