"""Table: items written to the pipeline's table.

``put`` checks all items against DynamoDB's rules before it writes the first one, then writes them one after
the other: the order of writing is the order in which the pipeline delivers them (BatchWriteItem promises
none).

A key that comes twice in the input is refused, unless the pipeline also delivers MODIFY events: the second
item would be a change, which a pipeline of INSERT alone never sends. After a failure the result says how
many items were written.
"""
