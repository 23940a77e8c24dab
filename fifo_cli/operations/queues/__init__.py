"""Queues: the commands that look into the pipeline's queues, deliver from them, and move their messages.

``depth`` asks for counts. ``peek`` shows messages, and ``summary`` sums them up by group and reason. Both use
``browse``: it receives messages and releases them, so that each keeps its place. ``drain`` runs the worker's
own code in this process, or invokes the worker (``--via lambda``).

``redrive``, ``park``, ``dump --move``, ``load`` and ``purge --backup`` are moves: each chooses a source and a
target and lets transfer/engine.py do the work. ``native_redrive`` lets SQS move the messages itself.
``load_progress`` notes which lines of a file were loaded.

``restore_order`` is ``redrive --in-order``. It pauses the pipeline (``restore_order_pause``) and moves main
and DLQ to the hold queue, each message labelled with its group and old place (``order_labels``). It sorts
them in a temporary file (``order_store``), and moves all back to main.
"""
