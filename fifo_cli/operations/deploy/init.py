"""init: a commented fifo.toml that loads as it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from fifo_cli.errors import UsageError
from fifo_cli.invocation import command_line
from fifo_cli.model.limits import PIPELINE_NAME_MAX
from fifo_cli.model.results import Result
from fifo_cli.model.setting_types import PipelineName
from fifo_cli.model.settings import CONFIG_FILE, PERMANENT
from fifo_cli.own_files import check_folder

_TABLE_NAME_MIN: Final = 3
_TEMPLATE: Final = """\
# One pipeline: DynamoDB table -> its stream -> enqueuer -> SQS FIFO queue -> schedule -> worker -> HTTP API.
# A line of "# " and a key shows a default or an example; `fifo-cli schema` says what is allowed.

[pipeline]
name = "{name}"                      # prefix of every resource: {name}.fifo, {name}-dlq.fifo, ...
# region = "us-west-2"               # else --region, $AWS_REGION or the profile's

[table]
name = "{table}"
create = true                        # false: the table exists; only its stream is switched on
partition_key = "id"                 # "id" is a string, "id:N" a number
# sort_key = "created:N"
# start = "now"                      # a table that was there before: "now", or "oldest" (24 hours)

[message]
events = ["INSERT"]                  # INSERT, MODIFY, REMOVE
# where = "status == 'paid'"         # JMESPath over the item; items for which it is false are skipped
# body = "{{order: id, total: total}}" # JMESPath over the item; without it the whole item, as JSON
# group = "customer_id"              # order holds within a group; without it there is one group, "all"

[queue]
retention = "14d"
# high_throughput = true             # more than 300 calls a second, with many groups
# kms_key = "alias/my-key"           # without it SQS's own encryption
# max_receives = 0                   # 0: no outage is too long; n: SQS parks a message after n receives

[schedule]
expressions = ["rate(5 minutes)"]    # and cron(0 18 ? * MON-FRI *), several if need be
# timezone = "America/Los_Angeles"   # without it UTC
messages_per_run = 10

# [worker]
# trigger = "schedule"               # or "queue": within seconds, Lambda polls main; [schedule] is unused
# concurrency = 1                    # groups delivered at a time by one function, 1 to 64
# max_functions = 10                 # trigger = "queue": functions at a time, 2 to 1000
# max_rate = 100                     # API calls a second of one function; without it no limit
# retry = ["10s", "5m"]              # trigger = "queue": a failed group's pause: first, longest (it doubles)
# breaker = 5                        # failures in a row, of different groups, that end a run; 0: never

# [functions]
# runtime = "python3.13"
# architecture = "arm64"
# memory = 256                       # MiB
# timeout = "60s"
# log_retention = "30d"

[api]                                # [[api]] several times: called in order, deleted when all have succeeded
# name = "{name}"                    # how results, logs and reasons call it; default its host
url = "https://api.example.com/v1/{name}"
method = "POST"
timeout = "10s"
headers = {{ Authorization = "Bearer {{api_key}}" }}
# placeholder -> SSM parameter, "secretsmanager:NAME" or "secretsmanager:NAME#FIELD": `fifo-cli keys set`
keys = {{ api_key = "/{name}/api-key" }}
# auth = {{ type = "hmac", secret = "{{api_key}}", header = "X-Signature" }} # or oauth2, mtls, basic, ...
success = ["2xx"]
permanent = [{permanent}]
on_permanent = "park"                # park (to the DLQ, with the reason) or block (keep the group waiting)
give_up_after = "0s"                 # park a message older than this that still fails; 0s = never
# insecure = false                   # true: keys may go to an http:// URL that is not on this machine

# [handlers]                         # your own code
# source = "handlers/"
# message = "orders:to_message"      # item -> JSON-able body, or None to skip
# request = "orders:to_request"      # body, attributes, keys -> httpx.Request
# include = ["fixtures/key.pem"]     # files that look like secrets and are meant to be in the zip
# allow_builds = false               # true: requirements may be built, which runs their code here

# [check]                            # of `fifo-cli check` and the alarms: [warning, critical]
# depth = [1000, 10000]
# age = ["15m", "1h"]
# dlq = [1, 10]

# [alarms]
# sns_topic = "arn:aws:sns:us-west-2:111122223333:on-call"

# [tags]
# team = "payments"

# [env.prod.pipeline]                # with --env prod these tables overlay the ones above
# name = "{name}-prod"
"""


@dataclass(frozen=True, slots=True)
class InitResult(Result):
    """Where the new fifo.toml lies."""

    path: Path


def init(folder: Path, *, name: str | None = None) -> InitResult:
    """Write fifo.toml into ``folder``, made if need be; the name is the folder's own if None.

    Raises UsageError, with nothing written, if there is one already, the name is not possible, or the
    folder cannot be written.
    """
    folder = folder.absolute()
    text = config_text(name if name is not None else _name_of(folder))
    path = folder / CONFIG_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_folder(folder)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        if not folder.is_dir():
            raise UsageError(
                f"{folder} is not a folder", hint=f"name a folder: {command_line('init DIR')}"
            ) from None
        raise UsageError(
            f"{path} exists already; nothing was changed",
            hint=f"edit it, or give another folder: {command_line('init DIR')}",
        ) from None
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}",
            hint=f"give a folder that can: {command_line('init DIR')}",
        ) from None
    return InitResult(path)


def config_text(name: str) -> str:
    """Return the fifo.toml of a pipeline called ``name``; raise UsageError if it cannot be called so."""
    try:
        TypeAdapter(PipelineName).validate_python(name)
    except ValidationError as error:
        allowed = error.errors()[0]["ctx"]["error"]
        raise UsageError(
            f"{name!r} is not a pipeline name; it must be {allowed}", hint="give another with --name"
        ) from None
    table = name if len(name) >= _TABLE_NAME_MIN else f"{name}-items"
    return _TEMPLATE.format(name=name, table=table, permanent=", ".join(PERMANENT))


def _name_of(folder: Path) -> str:
    """Make the folder's name a pipeline's, as far as its characters allow."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.name).strip("-_")
    return name[:PIPELINE_NAME_MAX] or "pipeline"
