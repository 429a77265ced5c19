"""Requests to an API server: timeouts, retries of what may be repeated, errors by their reason."""

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import aiohttp
import orjson

from nexus_api.meta import Manifest
from nexus_operator.cluster.connection import Connection
from nexus_operator.cluster.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    KindMissing,
    NotFound,
    Unavailable,
)
from nexus_operator.cluster.metrics import REQUESTS

CONNECT_SECONDS = 10.0
TOTAL_SECONDS = 60.0
SILENCE_SECONDS = 150.0
"""A watch that says nothing for so long is broken: servers send a bookmark each minute."""

ATTEMPTS = 4
FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 10.0
REQUESTS_AT_A_TIME = 128
"""Watches do not count: there are as many as kinds and namespaces to watch."""

_UNAUTHORIZED, _NOT_FOUND, _TOO_MANY, _SERVER_ERROR = 401, 404, 429, 500

_BY_REASON: Mapping[str, type[ClusterError]] = {
    "NotFound": NotFound,
    "AlreadyExists": AlreadyExists,
    "Conflict": Conflict,
    "Invalid": Invalid,
    "BadRequest": Invalid,
    "RequestEntityTooLarge": Invalid,
    "Forbidden": Forbidden,
    "Gone": Gone,
    "Expired": Gone,
    "ResourceExpired": Gone,
}
_BY_CODE: Mapping[int, type[ClusterError]] = {
    400: Invalid,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: Invalid,
    422: Invalid,
}

Params = Mapping[str, str]


class Transport:
    """One HTTP session with one API server.

    Reads are tried up to four times when the server is busy or does not answer; writes only when
    it says that it did not look at them (429), since a write whose answer is lost may be done.
    """

    def __init__(self, connection: Connection) -> None:
        """Take the address; connections are made when they are needed."""
        self._connection = connection
        self._session: aiohttp.ClientSession | None = None
        self._places = asyncio.Semaphore(REQUESTS_AT_A_TIME)

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        what: str,
        kind: str = "",
        params: Params | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Manifest:
        """Send one request and return the answer's JSON; `what` names it in errors.

        Raises the error of the answer's reason, or Unavailable when none comes.
        """
        data = None if body is None else orjson.dumps(body)
        for attempt in range(1, ATTEMPTS + 1):
            wait: float | None
            try:
                return await self._once(method, path, what, kind, params, data, content_type)
            except _Busy as busy:
                problem, wait = busy.problem, busy.after
                repeatable = method == "GET" or busy.untouched
            if attempt == ATTEMPTS or not repeatable:
                raise problem
            await asyncio.sleep(_pause(attempt, wait))
        raise AssertionError

    async def text(
        self, path: str, *, what: str, kind: str, params: Params, seconds: float
    ) -> bytes:
        """Read what is no JSON, in one attempt of so many seconds.

        Raises the error of the answer's reason, or Unavailable when none comes in time.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self._answer("GET", path, what, kind, params, None, "")
        except _Busy as busy:
            raise busy.problem from busy
        except TimeoutError as error:
            raise Unavailable(f"{what}: no answer in {seconds:g} s") from error

    async def _once(
        self,
        method: str,
        path: str,
        what: str,
        kind: str,
        params: Params | None,
        data: bytes | None,
        content_type: str,
    ) -> Manifest:
        answer = await self._answer(method, path, what, kind, params, data, content_type)
        return _parsed(answer, what)

    async def _answer(
        self,
        method: str,
        path: str,
        what: str,
        kind: str,
        params: Params | None,
        data: bytes | None,
        content_type: str,
    ) -> bytes:
        headers = {**self._connection.authorization(), "accept": "application/json, */*"}
        if data is not None:
            headers["content-type"] = content_type
        try:
            async with (
                self._places,
                self._open().request(
                    method, path, params=params, data=data, headers=headers
                ) as response,
            ):
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            REQUESTS.labels(method, kind, "none").inc()
            raise _Busy(Unavailable(f"{what}: {_said(error)}")) from error
        REQUESTS.labels(method, kind, str(response.status)).inc()
        if response.status < 400:  # noqa: PLR2004 - HTTP: success and redirects lie below
            return answer
        problem = error_of(response.status, answer, what)
        if response.status in {_UNAUTHORIZED, _TOO_MANY} or response.status >= _SERVER_ERROR:
            untouched = response.status in {_UNAUTHORIZED, _TOO_MANY}
            raise _Busy(problem, after=_retry_after(response.headers), untouched=untouched)
        raise problem

    async def stream(
        self, path: str, *, what: str, kind: str, params: Params
    ) -> AsyncGenerator[Manifest, None]:
        """Yield the JSON lines of a watch until the server ends it.

        Raises Unavailable when it breaks or falls silent, else the error of the answer.
        """
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
        )
        headers = {**self._connection.authorization(), "accept": "application/json"}
        try:
            async with self._open().get(
                path, params=params, headers=headers, timeout=timeout
            ) as response:
                REQUESTS.labels("WATCH", kind, str(response.status)).inc()
                if response.status >= 400:  # noqa: PLR2004 - HTTP: errors begin here
                    raise error_of(response.status, await response.read(), what)
                try:
                    async with aclosing(_lines(response.content)) as lines:
                        async for line in lines:
                            yield _parsed(line, what)
                finally:
                    _hang_up(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{what}: {_said(error)}") from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            tls = self._connection.tls()
            self._session = aiohttp.ClientSession(
                self._connection.server,
                connector=aiohttp.TCPConnector(limit=0, ssl=tls if tls is not None else True),
                timeout=aiohttp.ClientTimeout(total=TOTAL_SECONDS, sock_connect=CONNECT_SECONDS),
                headers={"user-agent": "nexus-operator"},
                auto_decompress=True,
            )
        return self._session


def _hang_up(response: aiohttp.ClientResponse) -> None:
    """Cut the connection of an answer that was not read to its end.

    To close it is to wait for the server's farewell under TLS, beyond the end of the session.
    """
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


class _Busy(Exception):
    """An answer after which the request may be sent again."""

    def __init__(
        self, problem: ClusterError, *, after: float | None = None, untouched: bool = False
    ) -> None:
        super().__init__(str(problem))
        self.problem = problem
        self.after = after
        self.untouched = untouched


def error_of(code: int, answer: bytes | Manifest, what: str) -> ClusterError:
    """Return the error that a Status object, or an answer that is none, stands for."""
    status = answer if isinstance(answer, dict) else _status(answer)
    message = str(status.get("message") or f"HTTP {code}")
    said = f"{what}: {message}"
    if code == _NOT_FOUND and status.get("kind") != "Status":
        return KindMissing(said)  # no such path: the API server answers in plain text
    if code in {_UNAUTHORIZED, _TOO_MANY} or code >= _SERVER_ERROR:
        return Unavailable(said)
    found = _BY_REASON.get(str(status.get("reason", ""))) or _BY_CODE.get(code, ClusterError)
    return found(said)


def _status(answer: bytes) -> Manifest:
    try:
        found = orjson.loads(answer)
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict):
        return found
    return {"message": answer[:200].decode(errors="replace").strip()}


def _parsed(answer: bytes, what: str) -> Manifest:
    try:
        return dict(orjson.loads(answer))
    except (orjson.JSONDecodeError, TypeError, ValueError) as error:
        raise Unavailable(f"{what}: the answer is no JSON object: {error}") from error


async def _lines(content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Split a stream at its line ends; an object may be longer than any buffer of the client."""
    parts: list[bytes] = []
    async for chunk in content.iter_any():
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            parts.append(line)
            whole = b"".join(parts)
            parts.clear()
            if whole:
                yield whole
        parts.append(rest)


def _pause(attempt: int, asked: float | None) -> float:
    """Return the seconds to wait: what the server asked for, else doubled, with jitter on top."""
    wait = FIRST_WAIT_SECONDS * 2 ** (attempt - 1) if asked is None else asked
    return min(wait, LONGEST_WAIT_SECONDS) * random.uniform(1.0, 1.5)  # noqa: S311 - spreads load


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None


def _said(error: BaseException) -> str:
    return str(error) or ("no answer in time" if isinstance(error, TimeoutError) else repr(error))
