"""Monitor: how well a pipeline is, measured from outside; nothing here changes anything.

``measure`` says what to ask AWS, all at once (parallel.py), and reads the answers. ``worker_runs`` and
``activity`` read the functions' logs: how the last runs and invocations ended, and which messages wait.
``drift`` compares each resource with fifo.toml. ``next_runs`` says when the worker runs next, ``maintenance``
what the tags of main say.

``status``, ``check`` and ``watch`` are the commands; model/health.py evaluates what they measured. ``logs``
merges both functions' logs, and ``poll_backoff`` waits out lost connections for what looks again and again.
"""
