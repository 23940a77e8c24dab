"""plan and deploy name what changes inside the functions' code; no secret is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fifo_cli.aws.function_code import deployed_files
from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.errors import FifoError
from fifo_cli.events import Event, Noted
from fifo_cli.model.settings import load
from fifo_cli.operations.deploy.deploy import deploy
from fifo_cli.operations.deploy.plan import plan
from tests import faults
from tests.cli_harness import Project, Stack
from tests.integration.emulators import Emulator
from tests.integration.proxy import Proxy

Make = Callable[..., Project]
CODE = "def to_message(item):\n    return {'id': item['id']}\n"
SECRET = "hunter2hunter2"


def written(
    made: Project, *, where: str = "status == 'paid'", code: str = CODE, header: str = "Bearer {k}"
) -> None:
    (made.folder / "handlers").mkdir(exist_ok=True)
    (made.folder / "handlers" / "orders.py").write_text(code)
    made.configure(
        {
            "pipeline": {"name": made.name},
            "table": {"name": made.name},
            "message": {"where": where},
            "schedule": {"expressions": ["rate(365 days)"]},
            "api": [
                {
                    "url": "http://127.0.0.1:9/",
                    "headers": {"Authorization": header},
                    "keys": {"k": f"/{made.name}/k"},
                }
            ],
            "handlers": {"source": "handlers/", "message": "orders:to_message"},
        }
    )


@pytest.fixture
def deployed(project: Make) -> Project:
    made = project()
    written(made)
    ran = made.run("deploy", "--local", "--yes")
    assert ran.code == 0, ran.err
    return made


def entries(made: Project, *options: str) -> dict[str, list[dict[str, Any]]]:
    document = json.loads(made.run("plan", "--local", "-o", "json", *options).out)
    return {one["name"]: one["diff"] for one in document["changes"]}


def test_settings_and_files_are_named_and_both_functions_are_shown_once(deployed: Project) -> None:
    assert "Nothing to change" in deployed.run("plan", "--local").out
    body = "".join(f"    x{number} = {number}\n" for number in range(40))
    code = CODE.replace("item):\n", f"item):\n{body}    password = '{SECRET}'\n")
    written(deployed, where="status == 'Paid'", code=code, header=f"Bearer {SECRET}")
    found = entries(deployed)
    assert set(found) == {
        f"{deployed.name}-{role}{alias}" for role in ("enqueuer", "worker") for alias in ("", ":live")
    }
    diff = {one["path"]: one for one in found[f"{deployed.name}-enqueuer"]}
    assert diff["settings.message.where"] == {
        "path": "settings.message.where",
        "old": "status == 'paid'",
        "new": "status == 'Paid'",
    }
    assert diff["settings.api.headers.Authorization"]["new"] == "***"
    assert diff["files.orders.py"]["unified"][-1].endswith("more lines)")
    assert all(diff.keys() == {one["path"] for one in others} for others in found.values())
    short = deployed.run("plan", "--local").out
    assert short.count("settings.message.where") == 1
    assert "    settings.message.where: status == 'paid' -> status == 'Paid'\n" in short
    assert f"code: the same changes as in {deployed.name}-enqueuer" in short
    assert "code_sha256" not in short
    assert "fifo-cli plan --diff" in short
    assert max(map(len, short.splitlines())) <= 80
    whole = deployed.run("plan", "--local", "--diff").out
    assert "+    x39 = 39" in whole
    assert "+    x39 = 39" not in short
    asked = deployed.run("deploy", "--local", "--dry-run").out
    assert "settings.message.where: status == 'paid' -> status == 'Paid'" in asked
    assert SECRET not in "".join(
        [short, whole, asked, json.dumps(found), json.dumps(entries(deployed, "--diff"))]
    )


def test_what_is_read_is_the_code_of_that_hash(stack: Stack, deployed: Project) -> None:
    aws, name = stack.aws(), f"{deployed.name}-worker"
    hash_ = aws.client("lambda").get_function(FunctionName=name)["Configuration"]["CodeSha256"]
    assert deployed_files(aws, name, None, hash_)["orders.py"] == CODE.encode()
    with pytest.raises(FifoError, match="code of another version"):
        deployed_files(aws, name, None, "another")


@pytest.mark.parametrize("broken", [faults.AnswerWithError("AccessDenied", status=403), faults.Drop()])
def test_code_that_cannot_be_read_is_reported_and_its_hash_serves(
    deployed: Project, proxy: Proxy, broken: faults.Action
) -> None:
    written(deployed, where="status == 'Paid'")
    proxy.rule = lambda request: broken if "/lambda-code/" in request.path else faults.Pass()
    heard: list[Event] = []
    made = plan(
        Aws(AwsEndpoint(endpoint_url=proxy.endpoint, local=True)),
        load(deployed.config),
        listener=heard.append,
    )
    assert {one.path for change in made.changes for one in change.diff} == {"code_sha256"}
    notes = [one.text for one in heard if isinstance(one, Noted) and "is not shown" in one.text]
    assert len(notes) == 1
    assert "127.0.0.1" in notes[0]
    assert "X-Amz" not in notes[0]


def test_an_address_at_aws_is_not_called_by_a_run_against_an_emulator(
    moto: Emulator, project: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = project()
    written(made)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    aws = Aws(AwsEndpoint(endpoint_url=moto.endpoint, region="us-east-1"))
    deploy(aws, load(made.config))
    written(made, where="status == 'Paid'")
    heard: list[Event] = []
    changed = plan(aws, load(made.config), listener=heard.append)
    assert "code_sha256" in {one.path for change in changed.changes for one in change.diff}
    assert any("leads elsewhere" in one.text for one in heard if isinstance(one, Noted))
