"""AWS: one small gateway for each service, and what all calls have in common.

``session`` makes every client. ``environment`` and ``credentials`` say where the region, the endpoint and the
credentials come from. ``errors`` turns botocore's errors into ours, each with a next step;
``foreign_responses`` knows answers that are not AWS's. ``retries`` says how a call is repeated,
``consistency`` how late a change may be seen, and ``interruptible_calls`` ends a call after a signal.

A gateway has the name of its service: ``sqs``, ``dynamodb``, ``dynamodb_streams``, ``logs``, ``ssm`` and
others. ``resources`` has one for each kind of resource that a deploy creates. A gateway returns values of
model/ and knows no command. ``fast_calls`` makes the few calls without botocore's layers that a move makes by
the thousand.
"""
