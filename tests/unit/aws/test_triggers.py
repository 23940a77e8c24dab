"""How main is polled, as one call shows it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.stub import Stubber

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.aws.triggers import get_polling
from fifo_cli.model.health import Polling


@pytest.mark.parametrize(
    ("mappings", "found"),
    [
        ([], None),
        ([{"State": "Deleting"}], None),
        ([{"State": "Enabled", "LastProcessingResult": "OK"}], Polling("Enabled")),
        ([{"State": "Deleting"}, {"State": "Disabling"}], Polling("Disabling")),
        (
            [{"State": "Enabled", "LastProcessingResult": "PROBLEM: Function call failed"}],
            Polling("Enabled", "PROBLEM: Function call failed"),
        ),
        ([{"State": "Enabled", "LastProcessingResult": "No records processed"}], Polling("Enabled")),
    ],
)
def test_a_mapping_has_its_state_and_what_lambda_says_is_wrong(
    mappings: list[dict[str, Any]], found: Polling | None
) -> None:
    aws = Aws(AwsEndpoint(local=True))
    with Stubber(aws.client("lambda")) as stub:
        stub.add_response(
            "list_event_source_mappings",
            {"EventSourceMappings": mappings},
            {"FunctionName": "orders-worker:live"},
        )

        assert get_polling(aws, "orders-worker") == found
