"""The gateway's side of documents and passages: opened in the background, used by threads."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from nexus_api.ragindex import RagIndexSpec
from nexus_gateway.control.routes import IndexRoute
from nexus_gateway.errors import BadRequest, GatewayError, NotFound, NotReady
from nexus_gateway.metrics import Metrics
from nexus_gateway.settings import Settings
from nexus_knowledge import errors
from nexus_knowledge.ledger import Ledger
from nexus_knowledge.objects import ObjectStore, open_store
from nexus_knowledge.retrieval import Hit

LOG = logging.getLogger(__name__)
T = TypeVar("T")


class QueryTooLong(BadRequest):
    """The embedding model cannot read the query: as a rule it is too long (400)."""

    code = "query_too_long"


IO_THREADS = 8
LONGEST_PAUSE = 5.0
SEARCH_SECONDS = 30.0


class Searching(Protocol):
    """What the gateway needs of retrieval; `nexus_knowledge.retrieval.retriever` has it."""

    def search(
        self,
        tenant: str,
        index: str,
        spec: RagIndexSpec,
        queries: Sequence[str],
        *,
        top_k: int | None = None,
        mode: str | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> list[list[Hit]]:
        """Return the hits of each query."""
        ...


Opener = Callable[[Settings, Ledger], tuple[Searching, Callable[[], None]]]


def open_retrieval(settings: Settings, ledger: Ledger) -> tuple[Searching, Callable[[], None]]:
    """Connect retrieval to the vector store and the embedder; return it and what closes it.

    To be called in a thread: pymilvus takes seconds to import.
    """
    from nexus_knowledge.embedding import EmbedderClient
    from nexus_knowledge.retrieval.retriever import Retriever
    from nexus_knowledge.vectors import open_index

    vectors = open_index(settings.milvus_uri)
    embedder = EmbedderClient(settings.embedder_url)

    retriever = Retriever(ledger, vectors, embedder)

    def close() -> None:
        retriever.close()
        embedder.close()
        vectors.close()

    return retriever, close


@dataclass(frozen=True)
class Query:
    """A batch of searches in one index; None leaves mode and number to the index."""

    texts: Sequence[str]
    mode: str | None = None
    top_k: int | None = None
    where: Mapping[str, Any] | None = None


class Knowledge:
    """Ledger, bucket and retrieval behind thread pools, so that the event loop never waits."""

    def __init__(
        self, settings: Settings, metrics: Metrics, opener: Opener = open_retrieval
    ) -> None:
        self._settings = settings
        self._opener = opener
        self._metrics = metrics
        self._searches = ThreadPoolExecutor(settings.retrieval_threads, "retrieval")
        self._files = ThreadPoolExecutor(IO_THREADS, "files")
        self._ledger: Ledger | None = None
        self._store: ObjectStore | None = None
        self._retrieval: Searching | None = None
        self._close: list[Callable[[], None]] = []
        self._opening: asyncio.Task[None] | None = None
        self._waiting_for = "the stores are being opened"

    @property
    def ready(self) -> bool:
        """Whether searches and document routes can be served."""
        return self._retrieval is not None

    @property
    def waiting_for(self) -> str:
        """Why it is not ready."""
        return "" if self.ready else self._waiting_for

    @property
    def ledger(self) -> Ledger:
        """The ledger.  Raises NotReady until it is open."""
        if self._ledger is None:
            raise NotReady(f"the ledger is not open yet: {self._waiting_for}")
        return self._ledger

    @property
    def store(self) -> ObjectStore:
        """The bucket.  Raises NotReady until it is open."""
        if self._store is None:
            raise NotReady(f"the bucket is not open yet: {self._waiting_for}")
        return self._store

    def start(self) -> None:
        """Open everything in the background, again and again until it succeeds."""
        self._opening = asyncio.create_task(self._open_until_it_works())

    async def stop(self) -> None:
        """Close everything; searches under way end first."""
        if self._opening:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._shutdown)

    def _shutdown(self) -> None:
        self._searches.shutdown(wait=True, cancel_futures=True)
        self._files.shutdown(wait=True, cancel_futures=True)
        for close in reversed(self._close):
            close()

    async def _open_until_it_works(self) -> None:
        loop, pause = asyncio.get_running_loop(), 0.2
        while True:
            try:
                await loop.run_in_executor(self._files, self._open)
            except Exception as error:  # noqa: BLE001 - whatever keeps a store closed, try again
                self._waiting_for = str(error)
                LOG.warning("opening the stores: %s", error)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                pause = min(LONGEST_PAUSE, pause * 2)
            else:
                return

    def _open(self) -> None:
        """Open what is not open yet.  Runs in a thread."""
        if self._ledger is None:
            ledger = Ledger(self._settings.ledger_url)
            self._close.append(ledger.close)
            self._ledger = ledger
        if self._store is None:
            self._store = open_store(self._settings.bucket_url)
        self._retrieval, close = self._opener(self._settings, self._ledger)
        self._close.append(close)

    async def search(self, index: IndexRoute, query: Query) -> list[list[Hit]]:
        """Return the hits of each text.  An index without anything published has none.

        Raises BadRequest (mode, filter), QueryTooLong, NotReady.
        """
        retrieval = self._retrieval
        if retrieval is None:
            raise NotReady(f"retrieval is not ready: {self._waiting_for}")

        def work() -> list[list[Hit]]:
            return retrieval.search(
                index.tenant,
                index.name,
                index.resource.spec,
                list(query.texts),
                top_k=query.top_k,
                mode=query.mode,
                where=query.where,
            )

        began = time.perf_counter()
        try:
            async with asyncio.timeout(SEARCH_SECONDS):
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._searches, work)
        except errors.IndexNotReady:
            return [[] for _ in query.texts]
        except TimeoutError:
            raise NotReady("retrieval took too long; the stores may be overloaded") from None
        except errors.KnowledgeError as error:
            raise as_refusal(error) from error
        finally:
            elapsed = time.perf_counter() - began
            self._metrics.retrieval_seconds.labels(index.tenant, index.name).observe(elapsed)

    async def run(self, work: Callable[[], T]) -> T:
        """Run blocking work on ledger or bucket in a thread.  Its errors become refusals."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._files, work)
        except errors.KnowledgeError as error:
            raise as_refusal(error) from error


def as_refusal(error: errors.KnowledgeError) -> GatewayError:
    """Return the refusal that an error of the stores stands for."""
    message = str(error)
    if error.transient:
        return NotReady(message)
    match error:
        case errors.DocumentNotFound() | errors.ObjectNotFound() | errors.IndexGone():
            refusal: GatewayError = NotFound(message)
        case errors.ModeNotOffered():
            refusal = BadRequest(message, param="mode", code="not_offered")
        case errors.InvalidFilter():
            refusal = BadRequest(message, param="filter")
        case errors.InvalidKey():
            refusal = BadRequest(message, param="files", code="invalid_path")
        case errors.EmbeddingError():
            refusal = QueryTooLong(message, param="query")
        case _:
            LOG.error("the stores failed: %s", error)
            refusal = GatewayError(message)
    return refusal
