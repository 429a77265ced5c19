"""The process that parses: `python -I -m nexus_pipelines.parse.worker FD LIMITS`.

It holds no secret (its environment is empty), sees a document only as an open descriptor, may
write no file, and is bounded in memory and processor time.  When the step is gone, so is it.
"""

import json
import os
import resource
import select
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from nexus_pipelines.parse import frames
from nexus_pipelines.parse.document import Parsed, ParseFailure, ParseLimits, Reason

_CPU_SLACK = 5
_OPEN_FILES = 64
# A process that keeps this share of its memory after a document is replaced.
_WORN_FROM = 0.5


def main() -> None:
    """Answer requests until the other side closes."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    limits = ParseLimits(**json.loads(sys.argv[2]))
    threading.Thread(target=_end_with_parent, args=(channel.fileno(),), daemon=True).start()
    # Imported before the limits are set: what the code itself takes is not the document's.
    from nexus_pipelines.parse.core import parse

    _confine(limits)
    frames.send(channel, {"ready": True})
    while (request := frames.receive_with_file(channel)) is not None:
        _allow_processor_time(limits.timeout)
        answer = _answer(parse, request[0]["path"], request[1], limits)
        answer["worn"] = (
            answer.get("reason") == Reason.OUT_OF_MEMORY
            or _resident() > limits.max_memory * _WORN_FROM
        )
        frames.send(channel, answer)


def _answer(
    parse: Callable[[bytes, str, ParseLimits], Parsed],
    path: str,
    descriptor: int,
    limits: ParseLimits,
) -> dict[str, Any]:
    try:
        with os.fdopen(descriptor, "rb") as file:
            file.seek(0)
            # A read takes its buffer beforehand: ask for no more than there is.
            data = file.read(min(os.fstat(descriptor).st_size, limits.max_bytes + 1))
        return {"parsed": parse(data, path, limits).to_json()}
    except ParseFailure as failure:
        return _failed(failure.reason, failure.message)
    except MemoryError:
        return _failed(Reason.OUT_OF_MEMORY, "parsing it takes more memory than parsing.maxMemory")
    except RecursionError:
        return _failed(Reason.CORRUPT, "the document nests too deeply")
    except Exception as error:  # noqa: BLE001  whatever a hostile file does to a library
        message = f"the parser cannot read it ({type(error).__name__}: {str(error)[:200]})"
        return _failed(Reason.CORRUPT, message)


def _failed(reason: Reason, message: str) -> dict[str, Any]:
    return {"reason": str(reason), "message": message}


def _resident() -> int:
    with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123  cheap: once a document
        return int(statm.read().split()[1]) * resource.getpagesize()


def _confine(limits: ParseLimits) -> None:
    with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123  before any path object is made
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    _lower(resource.RLIMIT_AS, mapped + limits.max_memory)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (bounded, bounded))


def _allow_processor_time(timeout: float) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used.ru_utime + used.ru_stime + timeout) + _CPU_SLACK
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _end_with_parent(descriptor: int) -> None:
    """Wait for the step's end of the channel to close, however the step ended."""
    poll = select.poll()
    poll.register(descriptor, 0)
    poll.poll()
    os._exit(0)


if __name__ == "__main__":
    main()
