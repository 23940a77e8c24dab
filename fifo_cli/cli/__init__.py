"""The command line: what is typed calls an operation; the result becomes output and an exit code.

``app`` is the program: it makes messages and exit codes of errors. ``framework`` registers the commands with
Typer; each is a function in ``commands``. ``options`` has the common options, ``parameters`` those that mean
the same in several commands, ``moves`` the flow of all commands that move messages.

``context`` puts everything together for a command: settings, AWS, output, questions. ``console`` writes to
stdout and stderr, ``screen`` draws for ``watch``, ``signals`` ends a command after a signal. ``completion``
and ``manual`` are made from the same registrations as ``--help``.
"""
