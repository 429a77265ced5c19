"""How far a step says it is: Argo's self-reported progress.

A container finds the name of a file in ARGO_PROGRESS_FILE and writes lines `N/M` to it; the last
one counts.  (https://argo-workflows.readthedocs.io, "Workflow Progress"; Argo 3.7 looks every three
seconds and tells once a minute, here both happen every second.)
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from pathlib import Path

VARIABLE = "ARGO_PROGRESS_FILE"
CONTAINER_PATH = "/var/run/argo/progress"
LOOK_SECONDS = 1.0
NOTHING_DONE = "0/1"

_LONGEST_READ = 4096
_FORM = re.compile(r"(\d{1,18})/(\d{1,18})", re.ASCII)


def parse(text: str) -> tuple[int, int] | None:
    """Return (done, total) of `done/total`, None for what is no progress."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    done, total = int(match[1]), int(match[2])
    return (done, total) if done <= total and total > 0 else None


def complete(text: str) -> str:
    """Return the progress of a step that has done all there was to do."""
    _, total = parse(text) or (0, 1)
    return f"{total}/{total}"


def summed(parts: Iterable[str]) -> str:
    """Return the progress of several steps together."""
    known = [found for part in parts if (found := parse(part)) is not None]
    return f"{sum(done for done, _ in known)}/{sum(total for _, total in known)}"


def read(path: Path) -> str | None:
    """Return what the last line of the file tells, None when it tells nothing (yet)."""
    try:
        with path.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - _LONGEST_READ))
            lines = stream.read(_LONGEST_READ).decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return None
    last = lines[-1].strip() if lines else ""
    return last if parse(last) else None


async def follow(path: Path, tell: Callable[[str], None]) -> None:
    """Tell of each change until cancelled."""
    told: str | None = None
    while True:
        found = await asyncio.to_thread(read, path)
        if found is not None and found != told:
            told = found
            tell(found)
        await asyncio.sleep(LOOK_SECONDS)
