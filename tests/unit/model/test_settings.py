from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.errors import ConfigError
from fifo_cli.model.settings import Settings, json_schema, load
from fifo_cli.operations.runtime_settings import runtime_settings

GOOD = """
[pipeline]
name = "orders"
[table]
name = "orders"
[api]
url = "https://api.example.com/v1/orders"
"""


@pytest.fixture
def read(tmp_path: Path):
    def read(text: str, env: str | None = None) -> Settings:
        path = tmp_path / "fifo.toml"
        path.write_text(text, encoding="utf-8")
        return load(path, env=env).settings

    return read


@pytest.fixture
def problems(read, tmp_path):
    def problems(text: str, env: str | None = None) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read(text, env)
        return [problem.replace(str(tmp_path), "HERE") for problem in caught.value.problems]

    return problems


def test_a_small_file_gets_every_default(read):
    settings = read(GOOD)
    assert settings.model_dump() == {
        "pipeline": {"name": "orders", "region": None},
        "table": {"name": "orders", "create": True, "partition_key": "id", "sort_key": None, "start": "now"},
        "message": {"events": ("INSERT",), "where": None, "body": None, "group": None},
        "queue": {
            "retention": timedelta(days=14),
            "high_throughput": False,
            "kms_key": None,
            "max_receives": 0,
        },
        "schedule": {"expressions": ("rate(5 minutes)",), "timezone": None, "messages_per_run": 10},
        "worker": {
            "trigger": "schedule",
            "concurrency": 1,
            "max_functions": 10,
            "max_rate": None,
            "retry": (timedelta(seconds=10), timedelta(minutes=5)),
            "breaker": 5,
        },
        "functions": {
            "runtime": "python3.13",
            "architecture": "arm64",
            "memory": 256,
            "timeout": timedelta(seconds=60),
            "log_retention": timedelta(days=30),
            "permissions_boundary": None,
            "subnets": (),
            "security_groups": (),
        },
        "api": (
            {
                "name": None,
                "url": "https://api.example.com/v1/orders",
                "method": "POST",
                "timeout": timedelta(seconds=10),
                "headers": {},
                "keys": {},
                "auth": None,
                "success": ("2xx",),
                "permanent": ("400", "404", "409", "410", "413", "415", "422"),
                "on_permanent": "park",
                "give_up_after": timedelta(0),
                "insecure": False,
            },
        ),
        "handlers": None,
        "check": {
            "depth": (1000, 10000),
            "age": (timedelta(minutes=15), timedelta(hours=1)),
            "dlq": (1, 10),
        },
        "alarms": None,
        "tags": {},
    }


def test_a_key_that_pydantic_uses_as_a_name_is_named(problems):
    assert problems(GOOD + '[tags]\nint = 1\n"function-a" = 2\n[table.x]') == [
        "table.x: unknown key; must be left out (known: name, create, partition_key, sort_key, start)",
        "tags.int: found 1; must be a string",
        "tags.function-a: found 2; must be a string",
    ]


def test_several_apis_are_read_in_order(read):
    text = GOOD.replace("[api]", "[[api]]") + '[[api]]\nurl = "http://second/"\n'
    assert [api.url for api in read(text).api] == ["https://api.example.com/v1/orders", "http://second/"]


def test_the_worker_may_be_started_by_the_queue(read):
    text = '[worker]\ntrigger = "queue"\nconcurrency = 32\nmax_rate = 100\nretry = ["1s", "12h"]\n'
    worker = read(GOOD + text).worker
    assert (worker.trigger, worker.concurrency, worker.max_rate) == ("queue", 32, 100)
    assert worker.retry == (timedelta(seconds=1), timedelta(hours=12))


def test_keys_have_types(read):
    text = GOOD.replace(
        '[table]\nname = "orders"', '[table]\nname = "orders"\npartition_key = "id:N"\nsort_key = "at:B"'
    )
    assert read(text).table.keys == (("id", "N"), ("at", "B"))


BROKEN = """
[pipeline]
name = "or ders"
regoin = "x"
[table]
name = 5
create = "yes"
[message]
where = "status =="
events = ["INSERT", "UPSERT"]
[queue]
retention = "99d"
max_receives = true
[schedule]
expressions = ["rate(1 minutes)", "cron(0 1 * * * *)"]
timezone = "Mars/Olympus"
[functions]
memory = "big"
[[api]]
url = "ftp://x"
[[api]]
url = "https://x/y"
success = ["2xx", "abc"]
on_permanent = "drop"
[handlers]
source = "nope"
message = "m:f"
[chekc]
a = 1
[env.prod.pipelin]
name = "x"
"""


def test_all_problems_are_reported_together_each_with_key_finding_and_remedy(problems):
    assert problems(BROKEN) == [
        "pipeline.name: found 'or ders'; must be 1 to 55 letters, digits, hyphens or underscores,"
        " a letter or digit first",
        "pipeline.regoin: unknown key; must be left out (did you mean 'region'?)",
        "table.name: found 5; must be a string",
        "table.create: found 'yes'; must be true or false",
        "message.events[1]: found 'UPSERT'; must be 'INSERT', 'MODIFY' or 'REMOVE'",
        "message.where: found 'status =='; must be a JMESPath expression"
        " (Invalid jmespath expression: Incomplete expression)",
        'queue.retention: found \'99d\'; must be a duration from "1m" to "14d", such as "90s" or "15m"',
        "queue.max_receives: found true; must be a whole number",
        "schedule.expressions[0]: found 'rate(1 minutes)'; must be rate(1 minute): the unit of 1 is minute",
        "schedule.expressions[1]: found 'cron(0 1 * * * *)'; must be a cron expression in which exactly one"
        " of day-of-month and day-of-week is ?",
        "schedule.timezone: found 'Mars/Olympus'; must be an IANA time zone, such as \"America/Los_Angeles\"",
        "functions.memory: found 'big'; must be a whole number",
        "api[0].url: found 'ftp://x'; must be an http:// or https:// URL",
        "api[1].success[1]: found 'abc'; must be an HTTP status such as 204, or a class such as \"2xx\"",
        "api[1].on_permanent: found 'drop'; must be 'park' or 'block'",
        "chekc: unknown table; must be one of pipeline, table, message, queue, schedule, worker, functions,"
        " api, handlers, check, alarms, tags, env",
        "env.prod.pipelin: found; must be one of alarms, api, check, functions, handlers, message, pipeline,"
        " queue, schedule, table, tags, worker",
        "handlers.source: 'HERE/nope'; must be an existing folder",
    ]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (
            '[functions]\ntimeout = "14s"',
            "functions.timeout: 14s; must be at least 15s: the timeouts of all [api] tables and 5s"
            " to finish cleanly",
        ),
        (
            '[functions]\nsubnets = ["s"]',
            "functions: subnets without security_groups or the reverse; must be both or neither",
        ),
        ('[functions]\nlog_retention = "36h"', "functions.log_retention: 36h; must be whole days"),
        (
            "[check]\ndepth = [5, 1]",
            "check.depth: found [5, 1]; must be [warning, critical] with warning not above critical",
        ),
        (
            '[worker]\ntrigger = "queue"\n[queue]\nmax_receives = 3',
            'queue.max_receives: 3; must be 0 with [worker] trigger = "queue": each pause in an outage counts'
            " as a receive",
        ),
        (
            '[worker]\nretry = ["5m", "10s"]',
            "worker.retry: found ['5m', '10s']; must be [first, longest] with first not above longest",
        ),
        (
            '[worker]\nretry = ["1s", "12h", "1d"]',
            "worker.retry: found ['1s', '12h', '1d']; must be a list of two, [first, longest]",
        ),
        (
            '[worker]\nretry = "10s"',
            "worker.retry: found '10s'; must be a list of two, [first, longest]",
        ),
        ("[check]\ndepth = [1]", "check.depth: found [1]; must be a list of two, [warning, critical]"),
        (
            '[check]\nage = ["1m", "2m", "3m"]',
            "check.age: found ['1m', '2m', '3m']; must be a list of two, [warning, critical]",
        ),
        ("[check]\ndlq = 5", "check.dlq: found 5; must be a list of two, [warning, critical]"),
        ('[worker]\ntrigger = "cron"', "worker.trigger: found 'cron'; must be 'schedule' or 'queue'"),
        (
            "[worker]\nmax_rate = 0",
            "worker.max_rate: found 0; must be a number of calls a second from 0.001 to 1000000",
        ),
        (
            "[worker]\nmax_rate = 1e-9",
            "worker.max_rate: found 1e-09; must be a number of calls a second from 0.001 to 1000000",
        ),
        (
            "[worker]\nmax_rate = inf",
            "worker.max_rate: found inf; must be a number of calls a second from 0.001 to 1000000",
        ),
        (
            "[worker]\nmax_rate = nan",
            "worker.max_rate: found nan; must be a number of calls a second from 0.001 to 1000000",
        ),
        ("[worker]\nconcurrency = 65", "worker.concurrency: found 65; must be less than or equal to 64"),
        ("[worker]\nconcurrency = true", "worker.concurrency: found true; must be a whole number"),
        ("[worker]\nmax_functions = 1", "worker.max_functions: found 1; must be greater than or equal to 2"),
        (
            "[worker]\nbreaker = 1000000000",
            "worker.breaker: found 1000000000; must be less than or equal to 120000",
        ),
        ("[worker]\nbreaker = -1", "worker.breaker: found -1; must be greater than or equal to 0"),
        ("[message]\nevents = []", "message.events: found []; must be a list with at least one value"),
        (
            '[tags]\n"aws:x" = "y"',
            "tags.aws:x: found 'aws:x'; must be 1 to 128 letters, digits and _.:/=+-@,"
            " not starting with aws: or fifo-cli:",
        ),
    ],
)
def test_impossible_combinations_are_named(problems, more, problem):
    (found, *others) = problems(GOOD + more)
    assert not others
    assert found == problem


def _api(keys: str) -> str:
    return f'[api]\nurl = "https://api.example.com/"\nkeys = {{ {keys} }}\n'


def _tags(*keys: str) -> str:
    return "[tags]\n" + "".join(f'"{key}" = "x"\n' for key in keys)


LONG_CRON = f"cron({','.join(map(str, range(60)))} {','.join(map(str, range(24)))} ? JAN,FEB,MAR,APR MON *)"
# What AWS's API References refuse, and what they take: each with the key of the problem, and its words.
AWS_REFUSES = {
    # Systems Manager, PutParameter: "you must include a leading forward slash character"; fifteen levels.
    _api('k = "orders/key"'): ("api.keys.k", '"/orders/key"'),
    _api('k = "orders/"'): ("api.keys.k", "begins with /"),
    _api('k = "/orders//key"'): ("api.keys.k", "without //"),
    _api('k = "/orders/"'): ("api.keys.k", "without //"),
    _api('k = "/"'): ("api.keys.k", "SSM parameter"),
    _api('k = "//key"'): ("api.keys.k", "without //"),
    _api(f'k = "{"/a" * 16}"'): ("api.keys.k", "at most 15 levels"),
    # Secrets Manager, CreateSecret: "ASCII letters, numbers, and the following characters: /_+=.@-".
    _api('k = "secretsmanager:"'): ("api.keys.k", "the name of a secret (letters, digits and /_+=.@-)"),
    _api('k = "secretsmanager:#f"'): ("api.keys.k", "the name of a secret"),
    _api('k = "secretsmanager:a b"'): ("api.keys.k", "the name of a secret"),
    _api('k = "secretsmanager:ä"'): ("api.keys.k", "the name of a secret"),
    _api('k = "secretsmanager:a*"'): ("api.keys.k", "the name of a secret"),
    _api(f'k = "secretsmanager:{"a" * 513}"'): ("api.keys.k", "the name of a secret"),
    _api('k = "secretsmanager:orders#"'): ("api.keys.k", "the name of a field after the #, or no #"),
    _api('k = "secretsmanager:arn:aws:ssm:eu-west-1:123456789012:parameter/k"'): ("api.keys.k", "its ARN"),
    _api('k = "secretsmanager:arn:aws:secretsmanager:eu-west-1:123456789012:secret:o:field::"'): (
        "api.keys.k",
        "with #FIELD behind it",
    ),
    _api('k = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:o-AbCdEf"'): (
        "api.keys.k",
        '"secretsmanager:" and then the ARN of the secret',
    ),
    _api('k = "SecretsManager:orders"'): (
        "api.keys.k",
        '"secretsmanager:NAME" or "secretsmanager:NAME#FIELD"',
    ),
    _api('k = "ssm:/orders"'): ("api.keys.k", "the name of an SSM parameter, "),
    _api("k = 1"): ("api.keys.k", "a string"),
    # IAM: tag keys are not case-sensitive; aws: is reserved in every case; 50 tags of a resource.
    _tags("Team", "team"): ("tags.team", "not only in case"),
    _tags("a b", "A b", "A B"): ("tags.A b", "not only in case"),
    _tags("AWS:x"): ("tags.AWS:x", "not starting with aws:"),
    _tags("Aws:x"): ("tags.Aws:x", "not starting with aws:"),
    _tags("Fifo-CLI:pipeline"): ("tags.Fifo-CLI:pipeline", "not starting with aws: or fifo-cli:"),
    _tags("a\u0301"): ("tags.a\u0301", "letters, digits"),
    _tags("a*"): ("tags.a*", "letters, digits"),
    _tags("x" * 129): (f"tags.{'x' * 129}", "1 to 128"),
    _tags(*(f"t{n}" for n in range(41))): ("tags", "at most 40"),
    # EventBridge, PutRule: 256 characters; IANA zones; Lambda: 20 KB of resource-based policy.
    f'[schedule]\nexpressions = ["{LONG_CRON}"]': ("schedule.expressions[0]", "at most 256 characters"),
    '[schedule]\ntimezone = "Factory"': ("schedule.timezone", "IANA time zone"),
    '[schedule]\ntimezone = "localtime"': ("schedule.timezone", "IANA time zone"),
    f"[schedule]\nexpressions = {[f'rate({n} minutes)' for n in range(2, 43)]}": (
        "schedule.expressions",
        "at most 40, or with a timezone",
    ),
    '[functions]\nlog_retention = "2d"': ("functions.log_retention", "one of 1d, 3d, 5d"),
    '[functions]\nlog_retention = "365h"': ("functions.log_retention", "whole days"),
    '[functions]\ntimeout = "901s"': ("functions.timeout", '"15m"'),
    "[functions]\nmemory = 10241": ("functions.memory", "10240"),
}
AWS_TAKES = [
    _api('k = "/orders/key"'),
    _api('k = "orders.key_1-a"'),
    _api(f'k = "{"/a" * 15}"'),
    _api('k = "/aws/reference/secretsmanager/orders"'),
    _api('k = "secretsmanager:orders"'),
    _api('k = "secretsmanager:/prod/orders_api+a=b.c@d-AbCdEf#api key"'),
    _api('k = "secretsmanager:orders#a#b"'),
    _api('k = "secretsmanager:rds!cluster-1234#password"'),
    _api(
        'k = "secretsmanager:arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:o/api-AbCdEf#k"'
    ),
    _api(f'k = "secretsmanager:{"a" * 512}"'),
    _tags("Team", "teams", "awsome", "fifo-client", "x" * 128, "Größe", "a b", "a.b:c/d=e+f-g@h", "部"),
    _tags(*(f"t{n}" for n in range(40))),
    '[tags]\nempty = ""',
    f'[schedule]\nexpressions = ["cron({",".join(map(str, range(60)))} * * * ? *)"]',
    '[schedule]\ntimezone = "UTC"',
    '[schedule]\ntimezone = "US/Pacific"',
    f"[schedule]\nexpressions = {[f'rate({n} minutes)' for n in range(2, 42)]}",
    f'[schedule]\ntimezone = "UTC"\nexpressions = {[f"rate({n} minutes)" for n in range(2, 60)]}',
    '[functions]\nlog_retention = "3653d"',
    '[functions]\ntimeout = "15m"',
    "[functions]\nmemory = 10240",
]


def _with_api(more: str) -> str:
    return GOOD.partition("[api]")[0] + more if more.startswith("[api]") else GOOD + more


@pytest.mark.parametrize("more", AWS_REFUSES, ids=lambda more: more[:60])
def test_what_aws_would_refuse_halfway_through_a_deploy_is_refused_at_once(problems, more):
    key, words = AWS_REFUSES[more]
    found = problems(_with_api(more))
    assert found[0].startswith(f"{key}: "), found
    assert words in found[0]


@pytest.mark.parametrize("more", AWS_TAKES, ids=lambda more: more[:60])
def test_what_aws_takes_is_accepted(read, more):
    read(_with_api(more))


AUTHS = [
    'auth = { type = "basic", username = "{user}-1", password = "" }',
    'auth = { type = "standard-webhooks", secret = "{user}" }',
    'auth = { type = "hmac", secret = "{user}", header = "X-Signature" }',
    'auth = { type = "hmac", secret = "x", header = "X", algorithm = "sha512", format = "{user} {base64}" }',
]
OTHER_AUTHS = [
    'auth = { type = "oauth2", token_url = "https://l/{user}", client_id = "{user}", client_secret = "x" }',
    'auth = { type = "mtls", certificate = "{user}", key = "{user}" }',
    'auth = { type = "standard-webhooks", secret = "whsec_{user}" }',
    'auth = { type = "standard-webhooks", secret = "whsec_c2VjcmV0LXg=  whsec_c2VjcmV0" }',
]
BAD_AUTHS = {
    'auth = { type = "oauth2", token_url = "l", client_id = "", client_secret = 7, client_auth = "x" }': [
        "auth.token_url: found 'l'; must be an http:// or https:// URL",
        "auth.client_id: found ''; must be a text",
        "auth.client_secret: found int; must be a string",
        "auth.client_auth: found 'x'; must be 'basic' or 'post'",
    ],
    'auth = { type = "oauth2", token_url = "http://l/", client_id = "x", client_secret = "{x}" }': [
        "auth.client_secret: {x}; must be a name from api.keys (user)",
        "auth.token_url: 'http://l/' with client_secret; must be https://, or insecure = true",
    ],
    'auth = { type = "mtls", certificate = "{user}", ca = "{ca}" }': [
        "auth.key: missing; must be given",
        "auth.ca: {ca}; must be a name from api.keys (user)",
    ],
    'auth = { type = "hmac", secret = "{x}", header = " ", format = "{user}" }': [
        "auth.header: found ' '; must be an HTTP header name",
        "auth.secret: {x}; must be a name from api.keys (user)",
        "auth.format: '{user}'; must be a text with {hex} or {base64}",
    ],
    'auth = { type = "hmac", secret = "x", header = "X", format = "é", algorithm = 1, content = true }': [
        "auth.algorithm: found 1; must be 'sha256' or 'sha512'",
        "auth.format: found 'é'; must be printable ASCII",
        "auth.content: found true; must be '{body}' or '{timestamp}.{body}'",
    ],
    'auth = { type = "basic", username = "a\\tb\\u007f", password = "x" }': [
        "auth.username: found 'a\\tb\\x7f'; must be a text without a colon or control characters",
    ],
    'auth = { type = "mtls", certificate = "{user}", key = "{user}", ca = "{ca}" }': [
        "auth.ca: {ca}; must be a name from api.keys (user)",
    ],
    "auth = {}": ["auth.type: missing; must be 'basic' or "],
    'auth = "basic"': ["auth: found 'basic'; must be a table"],
    'auth = { type = "oauth" }': ["auth.type: found 'oauth'; must be 'basic' or "],
    'auth = { type = "basic", username = 7, pasword = "x" }': [
        "auth.username: found 7; must be a string",
        "auth.password: missing; must be given",
        "auth.pasword: unknown key; must be left out (did you mean 'password'?)",
    ],
    'auth = { type = "basic", username = "a:b", password = 12345 }': [
        "auth.username: found 'a:b'; must be a text without a colon",
        "auth.password: found int; must be a string",
    ],
    'auth = { type = "basic", username = "{nobody}", password = "{none}" }\nheaders.authorization = "x"': [
        "headers.authorization: a header that auth sets; must be left out",
        "auth.username: {nobody}; must be a name from api.keys (user)",
        "auth.password: {none}; must be a name from api.keys (user)",
    ],
    'auth = { type = "standard-webhooks", secret = "" }\nmethod = 5': [
        "method: found 5; must be 'POST'",
        "auth.secret: it is empty; must be a text that is not blank",
    ],
    'auth = { type = "hmac", secret = "  ", header = "X" }': [
        "auth.secret: it is empty; must be a text that is not blank",
    ],
    **{
        f'auth = {{ type = "standard-webhooks", secret = "{secret}" }}': [
            "auth.secret: malformed; must be whsec_ and base64, or several of it with spaces between",
        ]
        for secret in ("whsec_abc!", "whsec_", "c2VjcmV0LXg=", "whsec_c2VjcmV0LXg= whsec_c2V")
    },
    'auth = { type = "hmac", secret = "x", header = " ", algorithm = "md5", format = "é", content = "b" }': [
        "auth.header: found ' '; must be an HTTP header name",
        "auth.algorithm: found 'md5'; must be 'sha256' or 'sha512'",
        "auth.format: found 'é'; must be printable ASCII",
        "auth.content: found 'b'; must be '{body}' or '{timestamp}.{body}'",
    ],
    'auth = { type = "hmac", secret = "x", header = "Idempotency-Key", algorithm = "sha512" }': [
        "auth.header: 'Idempotency-Key'; must be a header for the signature alone",
        "auth.format: 'sha256={hex}' with algorithm = \"sha512\"; must be a text that says sha512",
    ],
    'auth = { type = "hmac", secret = "x", header = "X", format = "{user}", content="{timestamp}.{body}"}': [
        "auth.format: '{user}'; must be a text with {hex} or {base64}",
        "auth.format: '{user}'; must be a text with {timestamp}",
    ],
}


@pytest.mark.parametrize("auth", [*AUTHS, *OTHER_AUTHS])
def test_each_type_of_authentication_is_taken_and_reaches_the_functions(read, auth):
    settings = read(_with_api(_api('user = "/user"') + auth))
    given = runtime_settings(settings)["apis"][0]["auth"]
    assert given["type"] in auth
    assert None not in given.values()


@pytest.mark.parametrize("auth", BAD_AUTHS)
def test_all_that_is_wrong_with_an_authentication_is_reported_together(problems, auth):
    found = problems(_with_api(_api('user = "/user"') + auth))
    wanted = BAD_AUTHS[auth]
    assert len(found) == len(wanted), found
    assert all(one.startswith(f"api.{text}") for one, text in zip(found, wanted, strict=True)), found


def test_an_environment_may_have_another_type_of_authentication_or_one_key_of_it(read):
    text = _with_api(_api('user = "/user"') + AUTHS[0]) + "\n"
    other = '[env.prod.api]\nauth = { type = "standard-webhooks", secret = "{user}" }\n'
    assert read(text + other, env="prod").api[0].auth.model_dump() == {
        "type": "standard-webhooks",
        "secret": "{user}",
    }
    same = read(text + '[env.prod.api.auth]\npassword = "{user}"\n', env="prod").api[0].auth
    assert same.model_dump() == {"type": "basic", "username": "{user}-1", "password": "{user}"}


def test_a_key_is_not_called_as_a_part_of_a_signature(problems):
    (found,) = problems(
        _with_api(_api('hex = "/hex"') + 'auth = { type = "hmac", secret = "{hex}", header = "X" }')
    )
    assert found == "api.keys.hex: 'hex', which auth.format has too; must be another name"


@pytest.mark.parametrize(
    ("auth", "refused"), [(auth, "basic" in auth) for auth in AUTHS], ids=["basic", "webhooks", "hmac", "key"]
)
def test_a_password_goes_over_http_only_if_that_is_said_and_a_signature_may(problems, read, auth, refused):
    text = _with_api(_api('user = "/user"') + auth).replace("https://api", "http://api")
    if refused:
        (problem,) = problems(text)
        assert problem.startswith(
            "api.url: 'http://api.example.com/' with auth = \"basic\"; must be https://"
        )
        text = text.replace("[api]", "[api]\ninsecure = true")
    read(text)


@pytest.mark.parametrize(
    ("auth", "url"),
    [(OTHER_AUTHS[0], "http://api.example.com/"), (OTHER_AUTHS[1], "http://127.0.0.1/")],
    ids=["oauth2", "mtls"],
)
def test_neither_a_token_goes_over_http_nor_is_there_a_certificate(problems, auth, url):
    text = _with_api(_api('user = "/user"') + auth).replace("https://api.example.com/", url)
    (problem,) = problems(text)
    assert problem.startswith(f"api.url: '{url}'")
    assert "must be https://" in problem


def test_handlers_without_a_function_do_nothing(problems):
    (found, _) = problems(GOOD + '[handlers]\nsource = "nope"\n')
    assert found == "handlers: only source; must be message, request or both beside it"


@pytest.mark.parametrize(
    ("code", "reference", "problem"),
    [
        (None, "orders:f", "'orders:f'; must be in a module that is in HERE/code: no orders is there"),
        ("", "orders:f", "'orders:f'; must be a function of HERE/code/orders.py: it defines no f"),
        (
            "def f(:",
            "orders:f",
            "'orders:f'; must be in a module that Python can read: HERE/code/orders.py, line 1:",
        ),
        ("import os", "os:system", "'os:system'; must be in a module of your own: os is one of Python's"),
    ],
)
def test_code_that_is_not_there_is_found_before_anything_is_deployed(
    problems, tmp_path, code, reference, problem
):
    (tmp_path / "code").mkdir()
    if code is not None:
        (tmp_path / "code" / "orders.py").write_text(code)
    (found,) = problems(GOOD + f'[handlers]\nsource = "code"\nmessage = "{reference}"\n')
    assert found.startswith(f"handlers.message: {problem}")


@pytest.mark.parametrize(
    "code", ["def f(i): ...", "async def f(i): ...", "from x import f", "f = 1", "from x import *"]
)
def test_code_that_is_there_is_accepted_however_it_is_bound(read, tmp_path, code):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "orders.py").write_text(code)
    assert read(GOOD + '[handlers]\nsource = "code"\nmessage = "orders:f"\n').handlers is not None


_FUNCTION = "&... gives a function, not a value; only map(), max_by(), min_by(), sort_by() take one"


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("foo(@)", "the function foo() does not exist"),
        ("&account", _FUNCTION),
        ("id || &account", _FUNCTION),
        ("id | &account", _FUNCTION),
        ("[id, &account]", _FUNCTION),
        ("{a: &account}", _FUNCTION),
        ("not_null(id, &account)", _FUNCTION),
        ("to_array(&account)", _FUNCTION),
        ("map(&(&account), rows)", _FUNCTION),
        ("sort_by(rows, account)", "argument 2 of sort_by() is an expression with & before it, such as &id"),
        ("(" * 5_000, "it is nested too deeply"),
        ("a[?sort(b, c)]", "sort() takes 1 argument, not 2"),
        ("{x: merge()}", "merge() takes at least 1 argument, not 0"),
        ("a ==", "Invalid jmespath expression: Incomplete expression"),
    ],
)
def test_an_expression_that_would_fail_on_every_item_is_found(problems, expression, fault):
    (found,) = problems(GOOD + f'[message]\nbody = "{expression}"\n')
    assert found.endswith(f"must be a JMESPath expression ({fault})")


@pytest.mark.parametrize("header", ["Idempotency-Key", "content-length", "Transfer-Encoding"])
def test_headers_that_this_program_sets_itself_are_refused(problems, header):
    (found,) = problems(GOOD + f'headers = {{ {header} = "x" }}\n')
    assert found == f"api.headers.{header}: a header that this program sets itself; must be left out"


def test_a_byte_order_mark_is_no_problem(read):
    assert read("\ufeff" + GOOD).pipeline.name == "orders"


def test_a_placeholder_without_a_key_and_a_status_of_two_minds_are_found(problems):
    text = GOOD + 'headers = { A = "Bearer {nokey}" }\nsuccess = ["2xx", 404]\n'
    assert problems(text) == [
        "api.headers.A: {nokey}; must be a name from api.keys (empty)",
        "api.permanent: 404; must be statuses that are not in success as well",
    ]


def test_the_problems_of_a_single_api_are_reported_without_a_number(problems):
    assert problems(GOOD + 'method = "SEND"\n')[0].startswith("api.method: found 'SEND'; must be 'POST'")


def test_one_placeholder_means_one_parameter(problems):
    api = '[[api]]\nurl = "http://x/"\nkeys = { k = "/%s" }\n'
    text = '[pipeline]\nname = "o"\n[table]\nname = "ooo"\n' + api % "a" + api % "b"
    assert problems(text) == ["api[1].keys.k: '/b'; must be '/a' as in the first, or another name"]


def test_a_missing_table_is_missing(problems):
    assert problems("") == [
        "pipeline: missing; must be a [pipeline] table",
        "table: missing; must be a [table] table",
        "api: missing; must be a [api] table",
    ]


def test_an_environment_overlays_table_by_table(read):
    text = (
        GOOD
        + '[queue]\nretention = "4d"\n[env.prod.pipeline]\nname = "orders-prod"\n'
        + '[env.prod.api]\ntimeout = "3s"\n'
    )
    settings = read(text, env="prod")
    assert settings.pipeline.name == "orders-prod"
    assert settings.queue.retention == timedelta(days=4)
    assert (settings.api[0].url, settings.api[0].timeout) == (
        "https://api.example.com/v1/orders",
        timedelta(seconds=3),
    )
    assert read(text).pipeline.name == "orders"


def test_an_unknown_environment_is_named_with_those_there_are(read):
    with pytest.raises(ConfigError, match=r"no \[env.dev\] tables; environments there: prod"):
        read(GOOD + '[env.prod.pipeline]\nname = "x"\n', env="dev")


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"\xff\xfe", "is not TOML"), (b"[pipeline", "is not TOML"), (b"a = 1\x00", "is not TOML")],
)
def test_what_is_no_toml_is_said_to_be_none(tmp_path, data, said):
    path = tmp_path / "fifo.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=said):
        load(path)


def _resolve(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node or "anyOf" in node:
        node = node["anyOf"][0] if "anyOf" in node else schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return node


def test_the_schema_knows_every_key_and_forbids_others():
    schema = json_schema()
    assert set(schema["properties"]) == {*Settings.model_fields, "env"}
    assert schema["additionalProperties"] is False
    for name in Settings.model_fields:
        if name == "tags":
            continue
        table = _resolve(schema, schema["properties"][name])
        assert table["additionalProperties"] is False, name
    assert schema["required"] == ["pipeline", "table", "api"]
    assert json.loads(json.dumps(schema)) == schema


def test_the_schemas_patterns_accept_what_the_checks_accept():
    import re

    queue = json_schema()["$defs"]["Queue"]["properties"]
    assert re.search(queue["retention"]["pattern"], "14d")
    assert not re.search(queue["retention"]["pattern"], "14 days")


@pytest.mark.parametrize(
    ("url", "extra", "refused"),
    [
        ("http://api.example.com/", "", True),
        ("http://10.0.0.8:8080/", "", True),
        ("http://127.0.0.1.example.com/", "", True),
        ("http://api.example.com/", "insecure = true", False),
        ("http://127.0.0.1:8080/", "", False),
        ("http://[::1]:8080/", "", False),
        ("http://localhost/", "", False),
        ("https://api.example.com/", "", False),
    ],
)
def test_a_key_goes_over_http_only_to_this_machine_or_if_that_is_said(problems, read, url, extra, refused):
    api = f'url = "{url}"\nheaders = {{ Authorization = "Bearer {{k}}" }}\nkeys = {{ k = "/k" }}\n{extra}\n'
    text = '[pipeline]\nname = "o"\n[table]\nname = "ooo"\n[api]\n' + api
    if refused:
        (problem,) = problems(text)
        assert problem.startswith("api.url: ")
        assert "insecure = true" in problem
    else:
        read(text)


def test_plain_http_without_keys_needs_no_permission(read):
    read('[pipeline]\nname = "o"\n[table]\nname = "ooo"\n[api]\nurl = "http://api.example.com/"\n')


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:port/", "http://[::1/x", "http://xn--/", "https://me:pw@api.example.com/"]
)
def test_a_url_that_cannot_be_called_is_a_problem_of_the_file(problems, url):
    (problem,) = problems(f'[pipeline]\nname = "o"\n[table]\nname = "ooo"\n[api]\nurl = "{url}"\n')
    assert problem.startswith("api.url: ")
    assert "must be a URL" in problem


URL = "https://api.example.com/v1"
PORT = "https://api.example.com:8443/v1"


@pytest.mark.parametrize(
    ("apis", "names"),
    [
        ([{"url": URL}], ["api.example.com"]),
        ([{"url": PORT}], ["api.example.com"]),
        ([{"url": URL, "name": "billing"}], ["billing"]),
        ([{"url": URL, "name": "a"}], ["a"]),
        ([{"url": "http://[::1]:8080/x"}], ["::1"]),
        ([{"url": "https://API.Example.com/x"}], ["api.example.com"]),
        ([{"url": URL}, {"url": "https://stock.example.com"}], ["api.example.com", "stock.example.com"]),
        ([{"url": URL}, {"url": PORT}], ["api.example.com", "api.example.com:8443"]),
        ([{"url": PORT}, {"url": PORT + "/2"}], ["api.example.com:8443 #1", "api.example.com:8443 #2"]),
        ([{"url": URL}, {"url": URL, "name": "stock"}], ["api.example.com #1", "stock"]),
        ([{"url": URL}, {"url": PORT, "name": "api.example.com"}], ["api.example.com #1", "api.example.com"]),
        ([{"url": URL + "/SECRET"}, {"url": URL + "/OTHER"}], ["api.example.com #1", "api.example.com #2"]),
        (
            [{"url": "http://[::1]:8080/x"}, {"url": "http://[::1]:8081/x"}],
            ["[::1]:8080", "[::1]:8081"],
        ),
    ],
)
def test_an_api_is_called_by_its_name_or_its_host_and_no_two_alike(apis, names):
    settings = Settings.model_validate(
        {"pipeline": {"name": "orders"}, "table": {"name": "orders"}, "api": apis}
    )

    assert list(settings.api_names) == names
    assert [api["name"] for api in runtime_settings(settings)["apis"]] == names


@pytest.mark.parametrize("name", ["", " ", "a ", "-a", "a\nb", "é", "x" * 65, "#1", "a{b}"])
def test_a_name_that_no_log_line_could_show_is_refused(problems, name):
    [problem] = problems(GOOD.replace("[api]", f"[api]\nname = {json.dumps(name)}"))

    assert problem.startswith("api.name: found")


def test_two_apis_of_one_name_are_refused(problems):
    table = '[[api]]\nname = "billing"\nurl = "https://{}.example.com"\n'
    config = GOOD.partition("[api]")[0] + table.format("a") + table.format("b")

    assert problems(config) == ["api[1].name: 'billing'; must be another name than that of api[0]"]
