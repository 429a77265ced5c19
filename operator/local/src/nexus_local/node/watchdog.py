"""Kills what the platform's children left running when the platform itself is killed.

Run as a script by the bare interpreter.  It reads lines `+GROUP` and `-GROUP` (process groups
that began and ended) from the platform; the end of the input means that the platform is gone.
The kernel's own signal reaches the children alone, not the processes that they started.
"""

import contextlib
import os
import signal
import sys


def main() -> None:
    """Follow the platform until it ends, then kill the groups that are left."""
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
