"""SQS's queues as its documents describe them: what is deleted or set shows late.

"You must wait 60 seconds after deleting a queue before you can create another queue with the same name",
requests sent meanwhile "might succeed" (SQS API Reference, DeleteQueue), and a change of attributes "can take
up to 60 seconds", of the retention up to 15 minutes (SetQueueAttributes).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.fakes import GONE, Clock, FakeQueue, FakeSqs, service_call
from tests.faults import client_error

NAME_FREE_AFTER = 60.0


@dataclass(eq=False)
class LateQueue(FakeQueue):
    """A queue; ``deleted_at`` is None while it stands, ``due`` what is set and not shown yet."""

    deleted_at: float | None = None
    due: list[tuple[float, dict[str, str]]] = field(default_factory=list)


class LateSqs(FakeSqs):
    """``answers`` says for how long a deleted queue answers, ``flaps`` that it does so every other time only,
    ``lenient`` that CreateQueue gives it back meanwhile; ``shows`` after how many seconds an attribute shows.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        answers: float = 0.0,
        flaps: bool = False,
        lenient: bool = False,
        shows: float = 0.0,
        shows_retention: float = 0.0,
    ) -> None:
        super().__init__(clock)
        self._answers, self._flaps, self._lenient = answers, flaps, lenient
        self._shows, self._shows_retention = shows, shows_retention

    def get_queue_attributes(self, **request: Any) -> Any:
        if (queue := self.queues.get(request["QueueUrl"])) is not None:
            for at, attributes in [one for one in queue.due if one[0] <= self.clock()]:
                queue.due.remove((at, attributes))
                queue.attributes.update(attributes)
        return super().get_queue_attributes(**request)

    @service_call
    def set_queue_attributes(self, **request: Any) -> Any:
        queue = self._queue("SetQueueAttributes", request)
        for name, value in request["Attributes"].items():
            late = self._shows_retention if name == "MessageRetentionPeriod" else self._shows
            queue.due.append((self.clock() + late, {name: value}))

    @service_call
    def create_queue(self, **request: Any) -> Any:
        name, attributes = request["QueueName"], request["Attributes"]
        there = self.queues.get(name)
        if there is not None and there.deleted_at is not None:
            if self._lenient and self._stands(there):
                return {"QueueUrl": name}
            if self.clock() < there.deleted_at + NAME_FREE_AFTER:
                code = "AWS.SimpleQueueService.QueueDeletedRecently"
                raise client_error("CreateQueue", code, "You must wait 60 seconds")
            there = None
        if there is None:
            number = next(self._numbers)
            self.queues[name] = LateQueue(name, number, dict(attributes), dict(request["tags"]))
        elif any(there.attributes.get(one) != value for one, value in attributes.items()):
            raise client_error("CreateQueue", "QueueAlreadyExists", "with different attributes")
        return {"QueueUrl": name}

    @service_call
    def delete_queue(self, **request: Any) -> Any:
        self._queue("DeleteQueue", request).deleted_at = self.clock()

    def _called(self, action: str, request: dict[str, Any]) -> None:
        self.calls.append(action)

    def _queue(self, action: str, request: dict[str, Any], name: str = "") -> Any:
        queue = super()._queue(action, request, name)
        if not self._stands(queue):
            raise client_error(action, GONE, "The specified queue does not exist.")
        return queue

    def _stands(self, queue: LateQueue) -> bool:
        if queue.deleted_at is None:
            return True
        in_time = self.clock() < queue.deleted_at + self._answers
        return in_time and not (self._flaps and len(self.calls) % 2)
