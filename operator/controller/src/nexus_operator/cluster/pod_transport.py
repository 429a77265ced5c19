"""Questions to pods at their own addresses: no API server in between, and no credentials sent."""

import aiohttp

from nexus_operator.cluster.errors import Unavailable

ANSWER_SECONDS = 2.0
ANSWER_BYTES = 64 * 1024


class PodTransport:
    """A session that keeps no connections: pods come and go, and are asked seldom."""

    def __init__(self) -> None:
        """Open nothing before the first question."""
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, url: str) -> bytes:
        """GET a URL once.  Raises Unavailable for all but 200 with a short answer in time.

        A redirect is no answer: it could lead anywhere.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True),
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # a short answer may hold gigabytes
            )
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                data = await response.content.read(ANSWER_BYTES + 1)
                while len(data) <= ANSWER_BYTES and not response.content.at_eof():
                    data += await response.content.read(ANSWER_BYTES + 1)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{url}: {error or type(error).__name__}") from error
        if response.status != 200 or len(data) > ANSWER_BYTES:  # noqa: PLR2004 - HTTP success
            raise Unavailable(f"{url}: HTTP {response.status}, {len(data)} bytes")
        return data

    async def close(self) -> None:
        """End what is open."""
        if self._session is not None:
            await self._session.close()
