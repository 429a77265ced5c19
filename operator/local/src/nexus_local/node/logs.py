"""What containers print: kept small, read from the end, followed."""

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from nexus_local.node.folders import Folders, rotated
from nexus_operator.cluster.protocol import Ref

LARGEST_BYTES = 16 * 1024 * 1024
_MESSAGE_LINES = 80
_MESSAGE_BYTES = 2048
_PIECE = 64 * 1024
_POLL_SECONDS = 0.2
_log = logging.getLogger(__name__)


def rotate(log: Path, largest: int = LARGEST_BYTES) -> bool:
    """Move what a log holds into its older part when it has grown large; say whether it was.

    The writing process keeps the file open for appending, so the text is copied and the file
    emptied; a line written in between can be lost, as with any such rotation.
    """
    try:
        if log.stat().st_size <= largest:
            return False
        shutil.copyfile(log, rotated(log))
        os.truncate(log, 0)
    except FileNotFoundError:
        return False  # the pod went away meanwhile
    except OSError as error:
        # A full disk: the log stays as long as it is, and the platform goes on.
        _log.warning("%s is not rotated: %s", log, error)
        return False
    return True


def tail(log: Path, lines: int | None) -> tuple[bytes, int]:
    """Return the last lines of a log (all for None), and where in the file they end.

    The older part of a log that grew large is looked at too.
    """
    text = b""
    parts = [part for part in (log, rotated(log)) if part.exists()]
    end = log.stat().st_size if log.exists() else 0
    for part in parts:
        text = _end_of(part, lines, text, end if part == log else None)
        if lines is not None and text.count(b"\n") > lines:
            break
    if lines is None:
        return text, end
    if lines <= 0:
        return b"", end
    last = b"\n" if text.endswith(b"\n") else b""
    # Not splitlines: a progress bar's carriage returns do not end a line.
    return b"\n".join(text.removesuffix(b"\n").split(b"\n")[-lines:]) + last, end


def _end_of(part: Path, lines: int | None, later: bytes, end: int | None) -> bytes:
    """Return `later` with as much of the end of `part` before it as `lines` need."""
    with part.open("rb") as file:
        position = file.seek(0, os.SEEK_END) if end is None else end
        pieces = [later]
        found = later.count(b"\n")
        while position > 0 and (lines is None or found <= lines):
            size = min(_PIECE, position)
            position -= size
            file.seek(position)
            piece = file.read(size)
            found += piece.count(b"\n")
            pieces.append(piece)
        return b"".join(reversed(pieces))


def printed(folders: Folders, pod: Ref, lines: int) -> str | None:
    """Return the last lines of what a pod's container printed since it started last.

    At most 64 KiB; None when it has not started yet, or has just gone away.
    """
    files = folders.log_files(pod.namespace, pod.name)
    if not files:
        return None
    try:
        text, _ = tail(files[-1], lines)
    except FileNotFoundError:
        return None
    return text[-_PIECE:].decode(errors="replace")


def termination_message(log: Path) -> str:
    """Return what FallbackToLogsOnError makes the message of a failed container: its log's end.

    At most 80 lines and 2,048 bytes, as a kubelet takes.
    """
    data, _ = tail(log, _MESSAGE_LINES)
    return data[-_MESSAGE_BYTES:].decode(errors="replace").strip()


async def follow(
    log: Path, position: int, next_log: Callable[[], Awaitable[Path | None]]
) -> AsyncIterator[bytes]:
    """Yield what is added to a log from `position` on, going over to the log of a restart.

    next_log: the current log of the pod, None when the pod is gone, which ends it.
    """
    while True:
        data, position = _added(log, position)
        if data:
            yield data
            continue
        current = await next_log()
        if current is None:
            data, _ = _added(log, position)  # what came between the last look and the end
            if data:
                yield data
            return
        if current != log:
            log, position = current, 0
            continue
        await asyncio.sleep(_POLL_SECONDS)


def _added(log: Path, position: int) -> tuple[bytes, int]:
    """Return a piece of what stands after `position`, and the position after it."""
    try:
        with log.open("rb") as file:
            if file.seek(0, os.SEEK_END) < position:
                position = 0  # the log was rotated
            file.seek(position)
            data = file.read(_PIECE)
    except FileNotFoundError:
        return b"", 0
    return data, position + len(data)
