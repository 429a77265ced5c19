"""Becomes a child's program after tying its life to the platform's.

Run as a script by the bare interpreter: `trampoline.py PARENT_PID PROGRAM ARGUMENT...`.  The
kernel then kills the child when the platform dies, however that dies.  A hook between fork and
exec in the platform itself would not be safe beside its threads.
"""

import os
import sys

_SET_PARENT_DEATH_SIGNAL = 1
_SIGKILL = 9
_NOT_STARTED = 127


def main() -> None:
    """Replace this process by the program that the arguments name."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, _SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the signal was set
            os._exit(_NOT_STARTED)
    try:
        os.execv(program[0], program)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"{program[0]} cannot be run: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(_NOT_STARTED)


if __name__ == "__main__":
    main()
