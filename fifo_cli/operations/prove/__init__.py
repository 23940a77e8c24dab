"""Prove: a pipeline of its own, put through its whole life, checked at every step and removed.

Each step of the life runs the command that a user types, as a child process (``pipeline``). ``prove`` has the
table of checks and runs them. A check is a function; if what it expects does not happen, it raises.
Deliveries are judged by what the API received: ``receiver`` asks it, by the protocol in
model/receiver_protocol.py. ``cleaning`` removes what the run made, as ``run_resources`` finds it.
"""
