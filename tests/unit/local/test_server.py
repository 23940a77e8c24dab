"""What the stack's process adds to ministack: stream records outlive a restart."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from fifo_cli.local.server import keep_streams


def _dynamodb(**state: Any) -> SimpleNamespace:
    """A module with the names of ministack 1.5.33's, which restores its tables but no stream records."""
    module = SimpleNamespace(tables={}, _stream_records={}, _stream_trimmed={}, _closed_streams={})
    module.__dict__.update(state)
    module.get_state = lambda: {"tables": dict(module.tables)}
    module.load_persisted_state = lambda data: module.tables.update(data["tables"])
    return module


def test_stream_records_are_saved_and_restored_with_the_tables():
    before = _dynamodb(
        tables={"t": {}},
        _stream_records={"t": [{"eventID": "1"}]},
        _stream_trimmed={"t": 4},
        _closed_streams={"arn": {"records": []}},
    )
    keep_streams(before)
    saved = before.get_state()
    before._stream_records["t"].append({"eventID": "2"})
    after = _dynamodb()
    keep_streams(after)
    after.load_persisted_state(saved)
    assert after.tables == {"t": {}}
    assert after._stream_records == {"t": [{"eventID": "1"}]}
    assert after._stream_trimmed == {"t": 4}
    assert after._closed_streams == {"arn": {"records": []}}


def test_a_state_saved_without_stream_records_is_still_restored():
    module = _dynamodb()
    keep_streams(module)
    module.load_persisted_state({"tables": {"t": {}}})
    assert (module.tables, module._stream_records) == ({"t": {}}, {})


def test_a_ministack_that_saves_its_stream_records_is_left_alone():
    module = _dynamodb()

    def own() -> dict[str, Any]:
        return {"stream_records": {}}

    module.get_state = own
    keep_streams(module)
    assert module.get_state is own
