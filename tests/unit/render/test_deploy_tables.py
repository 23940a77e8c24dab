"""The small tables of provisioning."""

from __future__ import annotations

from fifo_cli.render.deploy_tables import keys_table, outputs_table, stack_table, zips_table


def test_keys_show_what_is_set_and_what_is_missing() -> None:
    document = {
        "keys": [
            {
                "name": "api_key",
                "parameter": "/o/k",
                "exists": True,
                "version": 3,
                "modified_at": "2026-01-02",
            },
            {"name": "other", "parameter": "/o/l", "exists": False, "version": None, "modified_at": None},
        ]
    }

    assert keys_table(document) == (
        "KEY      PARAMETER  STATE    VERSION  MODIFIED\n"
        "api_key  /o/k       set            3  2026-01-02\n"
        "other    /o/l       missing        -  -\n"
    )
    assert keys_table({"keys": []}) == "fifo.toml names no keys.\n"


def test_zips_show_size_and_hash() -> None:
    document = {"zips": [{"function": "o-worker", "path": "b/w.zip", "bytes": 12345, "sha256": "ab"}]}

    assert zips_table(document) == "FUNCTION  PATH      BYTES  SHA256\no-worker  b/w.zip  12,345  ab\n"


def test_outputs_are_a_line_each() -> None:
    outputs = {
        "account": "1",
        "queues": {"main": "u", "dlq": None},
        "schedules": [
            {"name": "o-1", "expression": "rate(5 minutes)", "enabled": True, "next_run": None},
            {"name": "o-2", "expression": "rate(1 day)", "enabled": False, "next_run": None},
            {
                "name": "o-3",
                "expression": "cron(0 1 * * ? *)",
                "enabled": True,
                "next_run": "2026-01-02T01:00:00Z",
            },
        ],
    }

    assert outputs_table(outputs) == (
        "account:      1\nqueues main:  u\nqueues dlq:   -\n"
        "schedules:    o-1, rate(5 minutes), running\n"
        "schedules:    o-2, rate(1 day), paused\n"
        "schedules:    o-3, cron(0 1 * * ? *), next run 2026-01-02T01:00:00Z\n"
    )


def test_the_stack_shows_where_it_listens_or_that_it_does_not() -> None:
    running = {"endpoint": "http://127.0.0.1:1", "pid": 2, "running": True, "credentials": "/a b/credentials"}

    assert stack_table(running) == (
        "endpoint:     http://127.0.0.1:1\npid:          2\n"
        "key file:     /a b/credentials\n"
        "other tools:  set AWS_SHARED_CREDENTIALS_FILE to the key file, AWS_PROFILE=default,"
        " AWS_ENDPOINT_URL=http://127.0.0.1:1, AWS_DEFAULT_REGION=us-east-1\n"
    )
    assert stack_table({"running": False}) == "The embedded stack is not running.\n"
