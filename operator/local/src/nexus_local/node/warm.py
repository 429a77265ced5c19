"""Programs held ready in memory, so that a workflow's step starts without importing its libraries.

Measured for `nexus-pipelines` (pymilvus, LlamaIndex): a step that took seconds to start is at
work after some tens of milliseconds, and runs beside each other share the libraries' memory.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nexus_local.node.children import Child, Children, kill_group
from nexus_local.node.container import passed_on
from nexus_local.node.errors import PodRefusedError
from nexus_local.node.fork_server import LARGEST_MESSAGE

_SCRIPT = Path(__file__).with_name("fork_server.py")
_KILLED = 137
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}  # numpy's library starts its threads when it is loaded
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Preload:
    """A program worth holding ready.

    target: `module:function`, what its console script calls.  modules: imported beforehand; they
    may start no Python threads.  after: seconds from the start of the platform before which it is
    not loaded, to leave the processor to what people wait for.  idle: seconds without a run after
    which its memory is given back.
    """

    target: str
    modules: tuple[str, ...]
    after: float = 10.0
    idle: float = 120.0


class WarmProgram:
    """One program in a fork server of its own, which is started when it is first wanted."""

    def __init__(self, preload: Preload, children: Children, folder: Path) -> None:
        """Prepare; `folder` gets the server's log."""
        self._preload = preload
        self._children = children
        self._folder = folder
        self._channel: socket.socket | None = None
        self._ready: asyncio.Future[bool] | None = None
        self._ids = itertools.count()
        self._starting: dict[int, tuple[asyncio.Future[Child], str]] = {}
        self._running: dict[int, Child] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = asyncio.get_running_loop().time() + preload.after

    async def available(self) -> bool:
        """Say whether a run can start warm; waits while the libraries are being loaded.

        The first time it says no at once and begins to load: that run starts cold, the next ones
        do not.
        """
        loop = asyncio.get_running_loop()
        if self._ready is None:
            if loop.time() >= self._not_before and hasattr(os, "pidfd_open"):
                self._begin(loop)
            return False
        return await asyncio.shield(self._ready)

    async def start(
        self, argv: Sequence[str], *, env: Mapping[str, str], folder: Path, log: Path, label: str
    ) -> Child:
        """Start a run; raises PodRefusedError when that is not possible."""
        if self._channel is None:
            raise PodRefusedError("StartError", "the program is not loaded")
        number = next(self._ids)
        message = {"id": number, "argv": list(argv), "env": dict(env), "folder": str(folder)}
        text = json.dumps(message).encode()
        if len(text) > LARGEST_MESSAGE:
            raise PodRefusedError("StartError", "arguments and environment are too long")
        if self._timer is not None:
            self._timer.cancel()
        answer: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._starting[number] = answer, label
        try:
            with log.open("ab") as output:
                socket.send_fds(self._channel, [text], [output.fileno()])
        except OSError as error:
            del self._starting[number]
            raise PodRefusedError("StartError", f"the program does not answer: {error}") from error
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled():
                answer.result().kill()
            raise  # a run that begins later is ended in _started

    def close(self) -> None:
        """Let the fork server end, which takes its runs with it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        channel, self._channel = self._channel, None
        ready, self._ready = self._ready, None
        if channel is not None:
            asyncio.get_running_loop().remove_reader(channel)
            channel.close()
        if ready is not None and not ready.done():
            ready.set_result(False)
        for answer, _ in self._starting.values():
            if not answer.done():
                answer.set_exception(PodRefusedError("StartError", "the program has ended"))
        self._starting.clear()
        for pid, child in list(self._running.items()):
            kill_group(pid)
            self._children.forget(child, _KILLED)
        self._running.clear()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        preload = self._preload
        number = str(theirs.fileno())
        # -P: the folder of the script is no place to import from.
        script = (sys.executable, "-P", str(_SCRIPT))
        argv = (*script, number, preload.target, *preload.modules)
        try:
            self._children.start(
                argv,
                env=passed_on(os.environ) | _ONE_THREAD,
                folder=self._folder,
                log=self._folder / "warm.log",
                label=f"warm {preload.target}",
                descriptors=(theirs.fileno(),),
            )
        except PodRefusedError:
            ours.close()
            return
        finally:
            theirs.close()
        ours.setblocking(False)
        self._channel = ours
        self._ready = loop.create_future()
        loop.add_reader(ours, self._hear)

    def _hear(self) -> None:
        if self._channel is None:
            return
        try:
            text = self._channel.recv(LARGEST_MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            text = b""
        if not text:
            self.close()
            return
        message = json.loads(text)
        if "refused" in message:
            _log.warning("%s cannot be held ready: %s", self._preload.target, message["refused"])
            self.close()
            self._not_before = float("inf")
        elif "ready" in message and self._ready is not None:
            self._ready.set_result(True)
            self._rest()
        elif "code" in message:
            self._ended(message["pid"], message["code"])
        elif "id" in message:
            self._started(message["id"], message["pid"])

    def _started(self, number: int, pid: int) -> None:
        answer, label = self._starting.pop(number)
        child = self._running[pid] = self._children.adopt(pid, label)
        if answer.done():  # cancelled: no one will ever ask for it
            child.kill()
        else:
            answer.set_result(child)

    def _ended(self, pid: int, code: int) -> None:
        kill_group(pid)
        self._children.forget(self._running.pop(pid), code)
        if self._channel is not None:
            with contextlib.suppress(OSError):
                self._channel.send(json.dumps({"reap": pid}).encode())
        self._rest()

    def _rest(self) -> None:
        """Give the memory back after a while in which nothing runs."""
        if not self._running and not self._starting:
            loop = asyncio.get_running_loop()
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_later(self._preload.idle, self.close)
