"""Startup, readiness and liveness probes with the meaning they have on Kubernetes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nexus_local.node.ports import HOST, refuse_itself

_EAGER_SECONDS = 0.05
_EAGER_GROWTH = 1.3
_LONGEST_HEAD = 64 * 1024

Check = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Timing:
    """How often a probe runs and how many results in a row count; seconds."""

    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    successes: int = 1
    failures: int = 3

    @classmethod
    def of(cls, probe: Mapping[str, Any]) -> "Timing":
        """Read the timing of a probe, with the defaults of Kubernetes."""
        return cls(
            initial_delay=float(probe.get("initialDelaySeconds") or 0),
            period=float(probe.get("periodSeconds") or 10),
            timeout=float(probe.get("timeoutSeconds") or 1),
            successes=int(probe.get("successThreshold") or 1),
            failures=int(probe.get("failureThreshold") or 3),
        )


@dataclass(slots=True)
class Verdict:
    """What the results so far say; pure. passing: None until a threshold was reached once."""

    timing: Timing
    passing: bool | None = None
    _good: int = field(default=0)
    _bad: int = field(default=0)

    def count(self, *, success: bool) -> bool:
        """Take one result in and say whether the verdict changed."""
        self._good, self._bad = (self._good + 1, 0) if success else (0, self._bad + 1)
        before = self.passing
        if self._good >= self.timing.successes:
            self.passing = True
        elif self._bad >= self.timing.failures:
            self.passing = False
        return self.passing != before


async def watch(timing: Timing, check: Check, changed: Callable[[bool], None]) -> None:
    """Run a probe for ever and report each change of its verdict.

    Until the first success it looks more often than its period, so that a quick start is seen
    at once; failures are counted by the period all the same.
    """
    loop = asyncio.get_running_loop()
    verdict = Verdict(timing)
    await asyncio.sleep(timing.initial_delay)
    eager = _EAGER_SECONDS
    counted_at = loop.time()
    while True:
        success = await _checked(check, timing.timeout)
        due = loop.time() >= counted_at
        if (success or due) and verdict.count(success=success):
            changed(success)
        if due:
            counted_at = max(counted_at + timing.period, loop.time())
        if verdict.passing is None and not success:
            await asyncio.sleep(max(0.0, min(eager, counted_at - loop.time())))
            eager *= _EAGER_GROWTH
        else:
            await asyncio.sleep(timing.period)


async def _checked(check: Check, timeout: float) -> bool:  # noqa: ASYNC109 - one place for all
    try:
        async with asyncio.timeout(timeout):
            return await check()
    except (OSError, TimeoutError, ValueError):
        return False


async def tcp(port: int) -> bool:
    """Say whether the port accepts a connection."""
    _, writer = await _connected(port)
    await _close(writer)
    return True


async def http_get(port: int, path: str, headers: Mapping[str, str]) -> bool:
    """Say whether a GET is answered with a status from 200 to 399."""
    reader, writer = await _connected(port)
    try:
        fields = {"Host": f"{HOST}:{port}", "User-Agent": "nexus-probe", **headers}
        lines = [f"GET {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items())]
        request = "\r\n".join([*lines, "Connection: close", "", ""])
        writer.write(request.encode("latin-1"))
        status = (await reader.readline()).split(maxsplit=2)
        return len(status) > 1 and status[1].isdigit() and 200 <= int(status[1]) < 400  # noqa: PLR2004 - the rule of Kubernetes
    finally:
        await _close(writer)


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(HOST, port, limit=_LONGEST_HEAD)
    refuse_itself(writer.transport)
    return reader, writer


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def check_of(
    probe: Mapping[str, Any], ports: Mapping[int | str, int], run: Callable[[list[str]], Check]
) -> Check:
    """Return what a probe does; `run` makes a check of the command of an exec probe."""
    if http := probe.get("httpGet"):
        port = local_port(http["port"], ports)
        path = "/" + str(http.get("path") or "/").lstrip("/")
        if not path.isprintable() or " " in path:
            raise ValueError(f"httpGet.path {path!r} is no path of a URL")
        headers = {item["name"]: item["value"] for item in http.get("httpHeaders") or ()}
        return lambda: http_get(port, path, headers)
    if socket := probe.get("tcpSocket"):
        port = local_port(socket["port"], ports)
        return lambda: tcp(port)
    if command := probe.get("exec"):
        return run(list(command["command"]))
    raise ValueError("a probe needs httpGet, tcpSocket or exec")


def local_port(port: int | str, ports: Mapping[int | str, int]) -> int:
    """Return the port on this machine for a container port or its name; raises ValueError."""
    if port not in ports:
        known = ", ".join(str(key) for key in ports) or "none"
        raise ValueError(f"port {port} is no port of the container (it has {known})")
    return ports[port]
