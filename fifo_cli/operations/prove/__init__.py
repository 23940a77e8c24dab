"""Prove: a pipeline of its own, put through its whole life, checked at every step and removed.

Each step of the life runs the very command that a user types, as a child process (``pipeline.py``). A check
is a function that raises when what it expected did not happen; ``life.py`` runs the table of them. What the
API received is the truth that deliveries are judged by: ``receiver.py`` asks it, by the protocol in
``model/receiver_protocol.py``.
"""
