"""Every name, ARN and tag of a pipeline, derived once from its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

PIPELINE_TAG: Final = "fifo-cli:pipeline"
VERSION_TAG: Final = "fifo-cli:version"
# IAM knows no regions: a role's tag says in which one its pipeline is.
REGION_TAG: Final = "fifo-cli:region"
# On what was there before and was taken over with `deploy --adopt`.
ADOPTED_TAG: Final = "fifo-cli:adopted"
# On the queues: when the pipeline's first deploy began. What was written to the table before is left out.
START_TAG: Final = "fifo-cli:start"
# On main, from before the first schedule of EventBridge Scheduler is made: there may be some.
SCHEDULER_TAG: Final = "fifo-cli:scheduler"
# On main: when the worker was resumed last. Until its next run is due, it is not silent.
RESUMED_TAG: Final = "fifo-cli:worker-resumed"
# On main, while a deploy changes what starts the worker: it was not paused before (model/trigger_switch.py).
SWITCH_TAG: Final = "fifo-cli:changing-trigger"
# The enqueuer knows it by its environment.
START_VARIABLE: Final = "FIFO_CLI_START"
# On a queue that is being deleted, for it may answer for a minute: when that began.
DELETED_TAG: Final = "fifo-cli:deleted"
LIVE_ALIAS: Final = "live"
# The pipeline of a run of `prove`: this, and eight hexadecimal digits. IAM's pattern for all of them.
PROVE_PREFIX: Final = "fifo-prove-"
PROVE_NAMES: Final = PROVE_PREFIX + 8 * "?"

# What Secrets Manager puts behind the name of a secret in its ARN.
_SECRET_END: Final = re.compile(r"-[A-Za-z0-9]{6}\Z")

# The FIFO queues, and the standard queue of the stream batches that Lambda gave up.
QueueRole = Literal["main", "dlq", "hold", "stream-failures"]
QUEUE_ROLES: Final[tuple[QueueRole, ...]] = ("main", "dlq", "hold")
FunctionRole = Literal["enqueuer", "worker"]
FUNCTION_ROLES: Final[tuple[FunctionRole, ...]] = ("enqueuer", "worker")
AlarmRole = Literal["age", "dlq", "iterator-age", "worker-errors", "worker-silent"]
ALARM_ROLES: Final[tuple[AlarmRole, ...]] = get_args(AlarmRole)


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one pipeline's resources."""

    pipeline: str

    @property
    def main(self) -> str:
        return f"{self.pipeline}.fifo"

    @property
    def dlq(self) -> str:
        return f"{self.pipeline}-dlq.fifo"

    @property
    def hold(self) -> str:
        return f"{self.pipeline}-hold.fifo"

    @property
    def stream_failures(self) -> str:
        return f"{self.pipeline}-stream-failures"

    def queue(self, role: QueueRole) -> str:
        """Return the AWS name of the queue that the command line calls ``role``."""
        return {
            "main": self.main,
            "dlq": self.dlq,
            "hold": self.hold,
            "stream-failures": self.stream_failures,
        }[role]

    def function(self, role: FunctionRole) -> str:
        """Return the name of a function, and of its IAM role."""
        return f"{self.pipeline}-{role}"

    def log_group(self, role: FunctionRole) -> str:
        return f"/aws/lambda/{self.function(role)}"

    @property
    def operations_log(self) -> str:
        """The log group of the history: who did what (model/history_events.py)."""
        return f"/fifo-cli/{self.pipeline}"

    def schedule(self, number: int) -> str:
        """Return the name of the ``number``-th schedule, counted from 1."""
        return f"{self.pipeline}-{number}"

    def alarm(self, role: AlarmRole) -> str:
        return f"{self.pipeline}-{role}"


class Place(NamedTuple):
    """Where a pipeline lives; with it, names become ARNs."""

    account: str
    region: str
    partition: str = "aws"

    def _arn(self, service: str, resource: str, *, region: bool = True) -> str:
        return f"arn:{self.partition}:{service}:{self.region if region else ''}:{self.account}:{resource}"

    def queue(self, name: str) -> str:
        return self._arn("sqs", name)

    def function(self, name: str, qualifier: str = "") -> str:
        return self._arn("lambda", f"function:{name}" + (f":{qualifier}" if qualifier else ""))

    def mapping(self, uuid: str) -> str:
        return self._arn("lambda", f"event-source-mapping:{uuid}")

    def role(self, name: str) -> str:
        return self._arn("iam", f"role/{name}", region=False)

    def policy(self, name: str) -> str:
        return self._arn("iam", f"policy/{name}", region=False)

    def log_group(self, name: str) -> str:
        return self._arn("logs", f"log-group:{name}")

    def table(self, name: str) -> str:
        return self._arn("dynamodb", f"table/{name}")

    def stream(self, table: str, label: str = "*") -> str:
        return f"{self.table(table)}/stream/{label}"

    def parameter(self, name: str) -> str:
        return self._arn("ssm", f"parameter/{name.lstrip('/')}")

    def secret(self, secret_id: str) -> list[str]:
        """Return what a policy calls a secret, of which the name or the ARN is known.

        Secrets Manager puts a hyphen and six characters of its own behind the name ("Permissions reference");
        an ARN may have them already, or end in a name that looks so.
        """
        is_arn = secret_id.startswith("arn:")
        arn = secret_id if is_arn else self._arn("secretsmanager", f"secret:{secret_id}")
        whole = [arn] if is_arn and _SECRET_END.search(arn) else []
        return [*whole, f"{arn}-??????"]

    def rule(self, name: str) -> str:
        return self._arn("events", f"rule/{name}")

    def schedule(self, name: str) -> str:
        """Return the ARN of an EventBridge Scheduler schedule in the default group."""
        return self._arn("scheduler", f"schedule/default/{name}")

    def alarm(self, name: str) -> str:
        return self._arn("cloudwatch", f"alarm:{name}")

    def key(self, key: str) -> str:
        """Return a KMS key's ARN for a key id, alias or ARN."""
        if key.startswith("arn:"):
            return key
        return self._arn("kms", key if key.startswith("alias/") else f"key/{key}")
