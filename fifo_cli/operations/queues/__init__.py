"""Queues: the commands that look into the pipeline's queues, deliver from them, and move their messages.

``depth`` asks for counts. ``peek`` shows messages, and ``summary`` sums them up by group and reason. Both
look by ``browse``, which receives messages, hides them for a moment and releases them: nothing changes its
place. ``drain`` runs the worker's own code in this process.

``redrive``, ``park``, ``dump --move``, ``load`` and ``purge --backup`` are moves: each chooses a source and a
target and lets transfer/engine.py do the work. ``native_redrive`` lets SQS move the messages itself.
``load_progress`` notes which lines of a file were loaded.

``restore_order`` is ``redrive --in-order``: it pauses the pipeline (``restore_order_pause``), moves main
and DLQ to the hold queue, sorts there (``order_store`` on disk, ``order_labels`` in the messages) and moves
all back.
"""
