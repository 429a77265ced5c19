"""How long texts are for a model: asked of its runtime, remembered, estimated when it is silent."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Iterable

import orjson

from nexus_gateway.chat.prompt import Count
from nexus_gateway.upstream import Pool, UpstreamBroken, UpstreamUnreachable
from nexus_gateway.upstream.pool import Target

REMEMBERED = 20_000
TIMEOUT = 2.0
MAX_ANSWER = 16 * 1024 * 1024
BYTES_PER_TOKEN = 3.0  # cautious: English has about four
LONGEST_COUNTED = 64 * 1024


class TokenCounter:
    """Counts tokens by the runtime's own tokenizer; one request for each text not seen before."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: OrderedDict[tuple[Target, str, int], int] = OrderedDict()

    async def counting(self, target: Target, model: str, texts: Iterable[str]) -> Count:
        """Return a function that gives the length of any text: exact for `texts`.

        Other texts, and all when the runtime does not answer within 2 s, are estimated.
        """
        exact: dict[str, int] = {}
        missing: list[str] = []
        for text in dict.fromkeys(texts):
            key = (target, model, hash(text))
            if (known := self._known.get(key)) is not None:
                self._known.move_to_end(key)
                exact[text] = known
            elif text and len(text) <= LONGEST_COUNTED:
                missing.append(text)
        if missing:
            counts = await asyncio.gather(*(self._ask(target, model, text) for text in missing))
            for text, length in zip(missing, counts, strict=True):
                if length is not None:
                    exact[text] = length
                    self._known[(target, model, hash(text))] = length
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

        def count(text: str) -> int:
            known = exact.get(text)
            return estimate(text) if known is None else known

        return count

    async def _ask(self, target: Target, model: str, text: str) -> int | None:
        body = orjson.dumps({"model": model, "content": text, "prompt": text, "add_special": False})
        try:
            response = await self._pool.request(
                "POST",
                target,
                "/tokenize",
                headers={"content-type": "application/json"},
                body=body,
                within=TIMEOUT,
            )
            try:
                data = await response.read(limit=MAX_ANSWER, idle_timeout=TIMEOUT)
                if response.status != 200:  # noqa: PLR2004 - HTTP success
                    return None
                tokens = orjson.loads(data)["tokens"]
            finally:
                response.close()
        except (UpstreamUnreachable, UpstreamBroken, TimeoutError, ValueError, KeyError, TypeError):
            return None
        return len(tokens) if isinstance(tokens, list) else None


def estimate(text: str) -> int:
    """Return a cautious guess of a text's tokens."""
    return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN)
