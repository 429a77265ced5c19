"""How long texts are for a model: asked of its runtime, remembered, estimated when it is silent."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

from nexus_gateway.engines.base import Upstream
from nexus_gateway.upstream import UpstreamBroken, UpstreamUnreachable
from nexus_knowledge.prompting.lengths import Count, estimate

REMEMBERED = 20_000
TIMEOUT = 2.0
LONGEST_COUNTED = 64 * 1024


class TokenCounter:
    """Counts tokens by the runtime's own tokenizer; one request for each text not seen before."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[object, ...], int] = OrderedDict()

    async def counting(self, upstream: Upstream, texts: Iterable[str]) -> Count:
        """Return a function that gives the length of any text: exact for `texts`.

        Other texts, and all when the runtime does not answer within 2 s, are estimated.
        """
        exact: dict[str, int] = {}
        missing: list[str] = []
        for text in dict.fromkeys(texts):
            key = (*upstream.key, hash(text))
            if (known := self._known.get(key)) is not None:
                self._known.move_to_end(key)
                exact[text] = known
            elif text and len(text) <= LONGEST_COUNTED:
                missing.append(text)
        if missing:
            counts = await asyncio.gather(*(self._ask(upstream, text) for text in missing))
            for text, length in zip(missing, counts, strict=True):
                if length is not None:
                    exact[text] = length
                    self._known[(*upstream.key, hash(text))] = length
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

        def count(text: str) -> int:
            known = exact.get(text)
            return estimate(text) if known is None else known

        return count

    async def _ask(self, upstream: Upstream, text: str) -> int | None:
        try:
            return await upstream.count(text, TIMEOUT)
        except (UpstreamUnreachable, UpstreamBroken, TimeoutError, ValueError):
            return None
