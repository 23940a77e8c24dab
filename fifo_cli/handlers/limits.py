"""AWS's limits of one call and one message, which the functions and the command line keep alike.

They are here because the functions' zips hold nothing of ours outside handlers/. model/limits.py passes them
on, together with the limits that only the command line needs.
"""

from __future__ import annotations

from typing import Final

# SQS Developer Guide, "Amazon SQS message quotas"; API Reference, SendMessageBatch, ReceiveMessage.
BATCH_ENTRIES_MAX: Final = 10
RECEIVE_MAX: Final = 10
BATCH_BYTES_MAX: Final = 1_048_576  # the sum over a call's entries
MESSAGE_BYTES_MAX: Final = 1_048_576  # body and attributes
MESSAGE_ATTRIBUTES_MAX: Final = 10
# API Reference, ChangeMessageVisibility: how long a message can be hidden from its receipt on, 12 hours.
VISIBILITY_SECONDS_MAX: Final = 43_200

# Systems Manager API Reference, GetParameters: names in a call.
PARAMETERS_PER_CALL: Final = 10
