"""What the commands do: each operation takes values and gateways, and returns a result. Nothing here prints.

The parts are folders, whose docstrings say how they work. Here is what several parts share, each once:
``maintenance_lock`` (one moving command at a time), ``history`` (what operators did), ``parallel`` (several
questions to AWS at a time), ``work_db`` (stores on disk), ``runtime_settings`` (what the functions are
given), ``code_process`` (the user's code, in a process of its own), ``log_shipping`` and ``pace``.
"""
