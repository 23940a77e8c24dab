"""Table: items written to the pipeline's table.

``put`` checks all items against DynamoDB's rules before it writes the first one. Those of one message group
are then written in the order given, each when the one before it is there; items of other groups and keys are
written side by side (``write.py``), as BatchWriteItem promises no order within a call.

A key that comes twice in the input is refused, unless the pipeline also delivers MODIFY events: the second
item would be a change, which a pipeline of INSERT alone never sends. After a failure the result says how
many items were written.
"""
