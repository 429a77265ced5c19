"""Parsing processes, reused from document to document and replaced when one had to be killed."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import PurePosixPath
from types import TracebackType
from typing import IO, Self

from nexus_pipelines.errors import ParserUnavailable
from nexus_pipelines.parse import frames
from nexus_pipelines.parse.document import Parsed, ParseFailure, ParseLimits, Reason

_START_TIMEOUT = 60.0
_BYTES_PER_CHARACTER = 12  # JSON writes the worst of characters as \\uXXXX\\uXXXX
_ANSWER_SLACK = 64 * 1024**2  # headings and page ranges
_MEMORY_SHARE = 0.5


class ParserPool:
    """Up to `size` parsing processes; `parse` may be called from as many threads."""

    def __init__(self, limits: ParseLimits, *, size: int) -> None:
        self._limits = limits
        self._idle: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(size):
            self._idle.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def parse(self, file: IO[bytes], path: str) -> Parsed:
        """Parse an open file (it must have a descriptor); waits for a free process.

        Raises:
            ParseFailure: the document's fault, with its reason.
            ParserUnavailable: no parsing process can be started; a fault of this machine.
        """
        process = self._idle.get()
        try:
            if process is not None:
                try:
                    return process.parse(file, path)
                except _Died:
                    # What earlier documents left behind may have killed it: only a fresh
                    # process may blame the document.
                    process = None
            process = _Process(self._limits)
            try:
                return process.parse(file, path)
            except _Died as death:
                raise death.blame(self._limits) from None
        finally:
            self._idle.put(process if process is not None and process.usable else None)

    def close(self) -> None:
        """End every process."""
        while True:
            try:
                process = self._idle.get_nowait()
            except queue.Empty:
                return
            if process is not None:
                process.end()


class _Died(Exception):
    def __init__(self, code: int, peak: int) -> None:
        super().__init__(f"parsing process ended with {code}, {peak} bytes at most")
        self._code = code
        self._peak = peak

    def blame(self, limits: ParseLimits) -> ParseFailure:
        if self._peak > limits.max_memory * _MEMORY_SHARE:
            return ParseFailure(
                Reason.OUT_OF_MEMORY,
                f"parsing it takes more than the {limits.max_memory:,} bytes of parsing.maxMemory",
            )
        if self._code == -signal.SIGXCPU:
            return _timed_out(limits)
        return ParseFailure(Reason.CORRUPT, "the document crashes the parser")


def _timed_out(limits: ParseLimits) -> ParseFailure:
    return ParseFailure(
        Reason.TIMEOUT, f"parsing took longer than the {limits.timeout:g} s of parsing.timeout"
    )


class _Process:
    """One parsing process and the channel to it."""

    def __init__(self, limits: ParseLimits) -> None:
        self._limits = limits
        self.usable = True
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._child = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-m", "nexus_pipelines.parse.worker"),
                    *(str(theirs.fileno()), json.dumps(asdict(limits))),
                ],
                env={"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "1"},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            self._channel.close()
            raise ParserUnavailable(f"the parsing process cannot be started: {error}") from error
        finally:
            theirs.close()
        try:
            frames.receive(self._channel, limit=1024, deadline=time.monotonic() + _START_TIMEOUT)
        except (frames.FrameError, OSError) as error:
            code, _ = self._reap()
            raise ParserUnavailable(
                f"the parsing process ended at its start (exit code {code}): {error}"
            ) from error

    def parse(self, file: IO[bytes], path: str) -> Parsed:
        deadline = time.monotonic() + self._limits.timeout
        try:
            self._channel.settimeout(self._limits.timeout)
            # The path is only looked at for its suffix.
            frames.send_with_file(
                self._channel, {"path": PurePosixPath(path).name[-255:]}, file.fileno()
            )
            limit = _BYTES_PER_CHARACTER * self._limits.max_characters + _ANSWER_SLACK
            answer = frames.receive(self._channel, limit=limit, deadline=deadline)
        except TimeoutError:
            self.end()
            raise _timed_out(self._limits) from None
        except (frames.FrameError, OSError):
            raise _Died(*self._reap()) from None
        if answer["worn"]:
            self.end()
        if "parsed" in answer:
            return Parsed.from_json(answer["parsed"])
        raise ParseFailure(Reason(answer["reason"]), answer["message"])

    def end(self) -> None:
        """Kill the process; it holds nothing worth a farewell."""
        self._reap()

    def _reap(self) -> tuple[int, int]:
        """Kill, if it still runs, and collect: exit code (minus the signal), peak bytes."""
        self.usable = False
        self._channel.close()
        if self._child.returncode is None:
            # One that died by itself is a zombie by now: the signal does not change its status.
            # Not Popen.kill, which would collect such a one itself and lose what it used.
            os.kill(self._child.pid, signal.SIGKILL)
            _, status, usage = os.wait4(self._child.pid, 0)
            self._child.returncode = os.waitstatus_to_exitcode(status)
            return self._child.returncode, usage.ru_maxrss * 1024
        return self._child.returncode, 0
