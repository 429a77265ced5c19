"""Child processes: started in groups of their own, watched without threads, never left behind."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from nexus_local.node.errors import PodRefusedError
from nexus_local.node.orphans import Records

_SCRIPTS = Path(__file__).parent
_SIGNALLED = 128


@dataclass(eq=False, slots=True)
class Child:
    """One running process group.

    pid: of the process, which is also the number of its group.  label: for people.  ended: gets
    the exit code as a shell counts it (128 + signal).
    """

    pid: int
    label: str
    ended: asyncio.Future[int] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    async def stop(self, grace: float) -> int:
        """Ask the process to end, kill its group after `grace` seconds, return its exit code."""
        self.signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(asyncio.shield(self.ended), grace)
        except TimeoutError:
            self.kill()
        return await asyncio.shield(self.ended)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it still runs."""
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process and all that it started in its group."""
        if not self.ended.done():
            kill_group(self.pid)

    def memory(self) -> int:
        """Return the resident memory of the process and its descendants in bytes, 0 when gone."""
        total = 0
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(self.pid)
            for process in (root, *root.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    total += process.memory_info().rss
        return total


class Children:
    """All child processes of one node."""

    def __init__(self, records: Records) -> None:
        """End what an earlier platform on the same records left running."""
        self._records = records
        self._running: set[Child] = set()
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._guard: asyncio.Task[None] | None = None
        self._closed = False
        records.sweep()

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        folder: Path,
        log: Path,
        label: str,
        descriptors: Sequence[int] = (),
    ) -> Child:
        """Start a program with its output appended to `log`; raises PodRefusedError.

        descriptors: open files that the program inherits under their numbers here.

        It has to be called in the thread that lives as long as the platform, since the kernel
        kills the child when its parent thread ends.
        """
        if self._closed:
            raise PodRefusedError("StartError", "the platform is stopping")
        self._start_watchdog()
        command = [sys.executable, "-I", "-S", str(_SCRIPTS / "trampoline.py"), str(os.getpid())]
        with log.open("ab") as output:
            try:
                process = subprocess.Popen(
                    [*command, *argv],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=dict(env),
                    cwd=folder,
                    start_new_session=True,
                    pass_fds=descriptors,
                )
            except (OSError, ValueError) as error:
                raise PodRefusedError(
                    "StartError", f"{argv[0]} cannot be started: {error}"
                ) from error
        child = self.adopt(process.pid, label)
        self._watch(child, process)
        return child

    def adopt(self, pid: int, label: str) -> Child:
        """Take charge of a process group that has begun; whoever waits for it calls `forget`."""
        self._tell_watchdog("+", pid)
        self._records.add(pid, label)
        child = Child(pid, label)
        self._running.add(child)
        return child

    def forget(self, child: Child, code: int) -> None:
        """Note that a process has ended."""
        self._running.discard(child)
        self._tell_watchdog("-", child.pid)
        self._records.remove(child.pid)
        if not child.ended.done():
            child.ended.set_result(code)

    def running(self) -> list[Child]:
        """Return the processes that run now, by label."""
        return sorted(self._running, key=lambda child: child.label)

    async def close(self) -> None:
        """Kill whatever still runs and start nothing more."""
        self._closed = True
        if self._guard is not None:
            self._guard.cancel()
            await asyncio.gather(self._guard, return_exceptions=True)
        left = list(self._running)
        for child in left:
            child.kill()
        await asyncio.gather(*(asyncio.shield(child.ended) for child in left))
        if self._watchdog is not None and self._watchdog.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._watchdog.stdin.close()
            self._watchdog.wait()
            self._watchdog = None

    def _watch(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        """Learn of the end by a file descriptor where the kernel has one, else by a thread."""
        loop = asyncio.get_running_loop()
        if not hasattr(os, "pidfd_open"):
            waiting = loop.run_in_executor(None, os.waitid, os.P_PID, child.pid, _WAIT)
            waiting.add_done_callback(lambda _: self._reap(child, process))
            return
        descriptor = os.pidfd_open(child.pid)

        def ended() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            self._reap(child, process)

        loop.add_reader(descriptor, ended)

    def _reap(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        # The group first: its id cannot be given to others before its leader is waited for.
        kill_group(child.pid)
        code = process.wait()
        self.forget(child, _SIGNALLED - code if code < 0 else code)

    def _start_watchdog(self) -> None:
        """Have a watchdog that knows all groups; one that was killed is replaced."""
        if self._closed or (self._watchdog is not None and self._watchdog.poll() is None):
            return
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_SCRIPTS / "watchdog.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            start_new_session=True,
        )
        for child in self._running:
            self._tell_watchdog("+", child.pid)
        if self._guard is None:
            self._guard = asyncio.get_running_loop().create_task(self._keep_watchdog())

    async def _keep_watchdog(self) -> None:
        while not self._closed:
            await asyncio.sleep(_WATCHDOG_LOOK_SECONDS)
            self._start_watchdog()

    def _tell_watchdog(self, sign: str, group: int) -> None:
        if self._watchdog is not None and self._watchdog.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._watchdog.stdin.write(f"{sign}{group}\n".encode("ascii"))


_WAIT = os.WEXITED | os.WNOWAIT
_WATCHDOG_LOOK_SECONDS = 2.0


def kill_group(group: int) -> None:
    """Send SIGKILL to a process group; one that is gone is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
