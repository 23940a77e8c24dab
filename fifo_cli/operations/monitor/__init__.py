"""Monitor: how well a pipeline is, measured from outside; nothing here changes anything.

``measure`` says what to ask AWS, all at once (parallel.py), and reads the answers. ``worker_runs`` and
``activity`` read the functions' logs: how the last runs and invocations ended, and which messages wait.
``operator_moves`` finds in the history which of these an operator has moved since; they wait no more.
``pauses`` finds in the logs which groups are paused, and whether the breaker is open. ``drift`` compares each
resource with fifo.toml. ``maintenance`` reads from the tags of main which command holds the pipeline, and
whether an in-order redrive is unfinished.

``status``, ``check`` and ``watch`` are the commands. ``assessment`` is the one evaluation that the first two
share. model/advice.py says what is wrong and what to do first, model/drift_effects.py which drift harms
messages. ``logs`` merges both functions' logs. ``poll_backoff`` says how long to wait for a lost connection.
"""
