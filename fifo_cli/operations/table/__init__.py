"""Table: items written to the pipeline's table.

``put`` checks all items against DynamoDB's rules before it writes the first one. BatchWriteItem promises
no order within a call. So an item of a message group is written when the one before it is confirmed; items of
different groups and keys are written side by side (``write``).

A key that comes twice in the input is refused, unless the pipeline also delivers MODIFY events: the second
item would be a change, which a pipeline of INSERT alone never sends. After a failure the result says how
many items were written.
"""
