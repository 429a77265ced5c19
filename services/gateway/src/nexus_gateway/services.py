"""Everything a request may need, opened and closed together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from nexus_gateway.answer_log import AnswerLog
from nexus_gateway.auth import Keys, Principal
from nexus_gateway.chat.tokens import TokenCounter
from nexus_gateway.control.client import ControlClient
from nexus_gateway.control.mirror import Mirror
from nexus_gateway.control.routes import IndexRoute, ModelRoute, Routes
from nexus_gateway.control.syncs import SyncRequests
from nexus_gateway.embedders import Embedders
from nexus_gateway.engines import Engines
from nexus_gateway.errors import NotFound, NotReady, TooMany
from nexus_gateway.knowledge import Knowledge, Opener, open_retrieval
from nexus_gateway.metrics import Metrics
from nexus_gateway.settings import Settings
from nexus_gateway.upstream import Pool


@dataclass
class Services:
    """The parts of one gateway process."""

    settings: Settings
    keys: Keys
    metrics: Metrics
    routes: Routes
    control: ControlClient
    mirror: Mirror
    syncs: SyncRequests
    pool: Pool
    engines: Engines
    tokens: TokenCounter
    knowledge: Knowledge
    answers: AnswerLog
    embedders: Embedders
    draining: bool = False
    _in_flight: dict[tuple[str, str], int] = field(default_factory=dict)

    @classmethod
    def build(cls, settings: Settings, opener: Opener = open_retrieval) -> Services:
        """Put the parts together; nothing is connected yet.  Raises KeysError."""
        metrics, routes, pool = Metrics(), Routes(), Pool()
        control = ControlClient(
            settings.control_url,
            token_file=settings.control_token_file,
            ca_file=settings.control_ca_file,
        )
        knowledge = Knowledge(settings, metrics, opener)
        return cls(
            settings=settings,
            keys=Keys(settings.api_keys_file),
            metrics=metrics,
            routes=routes,
            control=control,
            mirror=Mirror(control, routes),
            syncs=SyncRequests(control),
            pool=pool,
            engines=Engines(pool),
            tokens=TokenCounter(),
            knowledge=knowledge,
            answers=AnswerLog(knowledge, metrics),
            embedders=Embedders(pool, settings.embedder_url),
        )

    async def start(self) -> None:
        """Begin to follow the resources and to open the stores."""
        self.mirror.start()
        self.knowledge.start()
        self.answers.start()

    async def stop(self) -> None:
        """Write what waits, then close everything."""
        await self.answers.stop()
        await self.syncs.stop()
        await self.mirror.stop()
        await self.knowledge.stop()
        await self.engines.stop()
        self.pool.close()
        self.control.close()

    def model(self, who: Principal, name: object) -> ModelRoute:
        """Return a tenant's model that can serve.  Raises NotFound, NotReady."""
        route = self.routes.model(who.tenant, name) if isinstance(name, str) else None
        if route is None:
            if not self.mirror.synced:
                raise NotReady("the gateway does not know the models yet")
            raise NotFound(
                f"there is no model {name!r}; GET /v1/models lists those there are",
                param="model",
                code="model_not_found",
            )
        if route.target is None:
            raise NotReady(
                f"model {route.asked_as!r} is not ready: {route.why_not}",
                retry_after=5,
                code="model_not_ready",
            )
        return route

    def index(self, who: Principal, name: str) -> IndexRoute:
        """Return a tenant's index.  Raises NotFound, NotReady."""
        route = self.routes.index(who.tenant, name)
        if route is None:
            if not self.mirror.synced:
                raise NotReady("the gateway does not know the indexes yet")
            raise NotFound(f"there is no index {name!r}", param="index", code="index_not_found")
        return route

    @contextmanager
    def place(self, route: ModelRoute) -> Iterator[None]:
        """Take one of a model's places for requests in work.  Raises TooMany when all are taken."""
        key = (route.tenant, route.name)
        busy = self._in_flight.get(key, 0)
        if busy >= self.settings.max_in_flight:
            raise TooMany(
                f"model {route.name!r} has {busy} requests in work, as many as it takes",
                retry_after=2,
                code="model_full",
            )
        self._in_flight[key] = busy + 1
        gauge = self.metrics.in_flight.labels(*key)
        gauge.set(busy + 1)
        try:
            yield
        finally:
            self._in_flight[key] -= 1
            gauge.set(self._in_flight[key])
