"""Transfer: how messages move between queues, files, and stores on this machine's disk.

``engine`` is the one loop of every move: receive → send → read the answer → note in the history → delete. It
knows neither SQS nor commands, only a source and a target (``interfaces``). ``scheduler`` holds the messages
in flight and decides which of the steps (``steps``) is the most useful next one; ``concurrency`` slows down
when AWS throttles, and ``prefetcher`` decides how far to receive ahead.

Sources and targets are here where several commands use them: ``queue_source``, ``queue_target``,
``message_files``, and ``record_conversion``, which runs what the enqueuer parked through its code again.
``message_filter`` chooses messages; ``result`` is what a move is asked for and what it did.

A message is deleted from its source only after the target has confirmed it, so a crash loses nothing. A group
is part of one step at a time, and a send holds one message of it: so no message overtakes an earlier one of
its group. With ``--same-group-batches`` a send holds several, and that may happen; the report says so.
"""
