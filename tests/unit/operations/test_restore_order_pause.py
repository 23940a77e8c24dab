"""Pause and resume of a pipeline for redrive --in-order."""

from __future__ import annotations

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.events import Event, Noted, Warned
from fifo_cli.model.settings import Api, Pipeline, Settings, Table
from fifo_cli.operations.deploy.pause import _warn
from fifo_cli.operations.queues.restore_order_pause import PipelinePause


def test_restoring_order_resumes_by_itself_and_passes_on_no_warning_of_what_a_long_pause_loses() -> None:
    settings = Settings(
        pipeline=Pipeline(name="orders"),
        table=Table(name="orders"),
        api=(Api(url="https://api.example.com"),),
    )
    heard: list[Event] = []
    pause = PipelinePause(Aws(AwsEndpoint(local=True)), settings, heard.append)

    _warn(settings, "all", pause._pass_on)
    pause._pass_on(Warned("nothing of it has settled"))

    assert [type(event) for event in heard] == [Noted, Warned]
    assert heard[-1] == Warned("nothing of it has settled")
