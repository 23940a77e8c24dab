"""Run one command and say what it took; a small process, as a child's peak begins with its parent's size.

Linux keeps the high-water mark of resident memory over exec, so that whoever forks a program from a big
process measures itself. Run as ``python -I -S spawn.py OUT ERR COMMAND...``.
"""

import json
import os
import sys
import time

KIB_A_MIB = 1024


def main() -> None:
    """Run the command with its output in two files; print seconds, CPU seconds, MiB and the exit code."""
    out, err, *command = sys.argv[1:]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, out, flags, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, err, flags, 0o600),
    ]
    began = time.perf_counter()
    # This process is started with signals blocked; the command is not.
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=actions, setsigmask=())
    _, status, used = os.wait4(pid, 0)
    seconds = time.perf_counter() - began
    answer = {
        "seconds": seconds,
        "cpu": used.ru_utime + used.ru_stime,
        "peak_mib": used.ru_maxrss / KIB_A_MIB,
        "code": os.waitstatus_to_exitcode(status),
    }
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
