"""AWS's limits, each with the document it comes from."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fifo_cli.handlers.limits import (
    BATCH_ENTRIES_MAX,
    MESSAGE_ATTRIBUTES_MAX,
    MESSAGE_BYTES_MAX,
    RECEIVE_MAX,
    VISIBILITY_SECONDS_MAX,
)

__all__ = [
    "BATCH_ENTRIES_MAX",
    "MESSAGE_ATTRIBUTES_MAX",
    "MESSAGE_BYTES_MAX",
    "RECEIVE_MAX",
]

# SQS API Reference, CreateQueue and SetQueueAttributes.
RETENTION_MIN: Final = timedelta(seconds=60)
RETENTION_MAX: Final = timedelta(days=14)
MAX_RECEIVES_MAX: Final = 1000
VISIBILITY_MAX: Final = timedelta(seconds=VISIBILITY_SECONDS_MAX)

# Lambda Developer Guide, "Lambda quotas"; a function name has at most 64 characters.
FUNCTION_NAME_MAX: Final = 64
FUNCTION_MEMORY_MIN: Final = 128
FUNCTION_MEMORY_MAX: Final = 10_240
FUNCTION_TIMEOUT_MAX: Final = timedelta(minutes=15)
# Of an event source mapping (API Reference, ScalingConfig): functions that SQS starts at a time.
MAX_FUNCTIONS_MIN: Final = 2
MAX_FUNCTIONS_MAX: Final = 1000
CONCURRENCY_MAX: Final = 64  # ours: groups that one process delivers at a time
# A queue gives out messages of so many groups at most while none is deleted (SQS Developer Guide, "Amazon SQS
# FIFO queue quotas"): no more can fail in a row. 0 turns the breaker off.
BREAKER_MAX: Final = 120_000
RATE_MIN: Final = 0.001  # ours: calls or messages a second
RATE_MAX: Final = 1_000_000  # more than any queue takes; without it `inf` would be a rate
ZIP_BYTES_MAX: Final = 52_428_800
UNZIPPED_BYTES_MAX: Final = 262_144_000

# The longest name derived from the pipeline's is a function's and its role's: NAME-enqueuer.
PIPELINE_NAME_MAX: Final = FUNCTION_NAME_MAX - len("-enqueuer")

# DynamoDB Developer Guide, "Quotas": an item, names and values together.
ITEM_BYTES_MAX: Final = 400 * 1024
BATCH_WRITE_ITEMS_MAX: Final = 25  # API Reference, BatchWriteItem

# CloudWatch Logs API Reference, PutRetentionPolicy: the days that are possible.
LOG_RETENTION_DAYS: Final = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip

# Systems Manager API Reference, PutParameter: a standard parameter, one of the advanced tier, and the levels
# of a name.
PARAMETER_VALUE_BYTES_MAX: Final = 4096
ADVANCED_PARAMETER_VALUE_BYTES_MAX: Final = 8192
PARAMETER_LEVELS_MAX: Final = 15
SECRET_VALUE_BYTES_MAX: Final = 65_536  # Secrets Manager API Reference, PutSecretValue

# EventBridge API Reference, PutRule, and EventBridge Scheduler API Reference, CreateSchedule.
SCHEDULE_EXPRESSION_MAX: Final = 256
# Lambda Developer Guide, "Lambda quotas": 20 KB of resource-based policy, of which each rule takes some 500.
RULES_MAX: Final = 40

# A resource has 50 tags at most (SQS, Lambda, IAM, EventBridge, CloudWatch, DynamoDB); ours need room.
TAGS_MAX: Final = 40
