"""Holds a program's libraries in memory and forks a process for each run of it.

Run as a script: `fork_server.py CHANNEL TARGET MODULE...`.  CHANNEL is the descriptor of a
SOCK_SEQPACKET socket to the platform, TARGET is `module:function`, called without arguments like
a console script, MODULEs are imported beforehand.  Messages are JSON:

    platform -> {"id", "argv", "env", "folder"} with the log's descriptor   start a run
    platform -> {"reap": pid}                                               it has been dealt with
    <- {"ready": true} or {"refused": why}
    <- {"id", "pid"}
    <- {"pid", "code"}                                                      a run has ended

Nothing but this thread runs when it forks.  A run that has ended is not waited for before `reap`,
so that its number stays its own until the platform has killed what it left behind.
"""

import atexit
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import threading
import traceback
from typing import Any, NamedTuple

LARGEST_MESSAGE = 128 * 1024
_SET_PARENT_DEATH_SIGNAL = 1
_SIGNALLED = 128


class Run(NamedTuple):
    """What the process of one run starts from."""

    argv: list[str]
    env: dict[str, str]
    folder: str
    log: int
    parent: int


def main() -> None:
    """Serve until the platform closes the channel; in a forked process, do its run."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    target, modules = sys.argv[2], sys.argv[3:]
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            _tell(channel, {"refused": f"{module} cannot be imported: {error}"})
            return
    if threading.active_count() > 1:
        names = ", ".join(thread.name for thread in threading.enumerate()[1:])
        _tell(channel, {"refused": f"threads run after the imports: {names}"})
        return
    gc.collect()
    gc.freeze()  # what is loaded stays shared: no collection in a run touches it
    _tell(channel, {"ready": True})
    run = _serve(channel)
    if run is not None:
        channel.close()
        _do(run, target)


def _serve(channel: socket.socket) -> Run | None:
    """Return None when the platform is gone, and in each forked process its run."""
    selector = selectors.DefaultSelector()
    selector.register(channel, selectors.EVENT_READ)
    parent = os.getpid()
    while True:
        for key, _ in selector.select():
            if key.fileobj is not channel:
                _tell(channel, {"pid": key.data, "code": _ended(key.data)})
                selector.unregister(key.fileobj)
                os.close(key.fd)
                continue
            text, descriptors, _, _ = socket.recv_fds(channel, LARGEST_MESSAGE, 1)
            if not text:
                return None
            message = json.loads(text)
            if "reap" in message:
                os.waitpid(message["reap"], 0)
                continue
            pid = os.fork()
            if pid == 0:
                selector.close()
                place = (message["argv"], message["env"], message["folder"])
                return Run(*place, descriptors[0], parent)
            os.close(descriptors[0])
            selector.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
            _tell(channel, {"id": message["id"], "pid": pid})


def _ended(pid: int) -> int:
    """Return the exit code of a run that has ended and is still to be waited for."""
    info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    if info is None:
        raise RuntimeError(f"process {pid} was said to have ended and has not")
    killed = info.si_code != os.CLD_EXITED
    return _SIGNALLED + info.si_status if killed else info.si_status


def _tell(channel: socket.socket, message: dict[str, Any]) -> None:
    channel.send(json.dumps(message).encode())


def _do(run: Run, target: str) -> None:
    """Become the process of a run: own session, own files, own environment; never returns."""
    os.setsid()
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != run.parent:
            os._exit(_SIGNALLED + signal.SIGKILL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, place in ((nothing, 0), (run.log, 1), (run.log, 2)):
        os.dup2(descriptor, place)
    os.close(nothing)
    os.close(run.log)
    os.chdir(run.folder)
    os.environ.clear()
    os.environ.update(run.env)
    sys.argv = run.argv
    code = _call(target)
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join()
    # What an interpreter does at its end, less the taking apart of every module: in a forked
    # process that would first copy all the memory that is shared.
    atexit._run_exitfuncs()  # noqa: SLF001 - there is no public way to run them before _exit
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _call(target: str) -> int:
    """Call the program as its console script does and return its exit code."""
    module, _, function = target.partition(":")
    try:
        result = getattr(importlib.import_module(module), function)()
    except SystemExit as end:
        result = end.code
    except BaseException:  # noqa: BLE001 - as the interpreter at the top of a program
        traceback.print_exc()
        return 1
    if result is None or isinstance(result, int):
        return (result or 0) & 0xFF
    sys.stderr.write(f"{result}\n")
    return 1


if __name__ == "__main__":
    main()
