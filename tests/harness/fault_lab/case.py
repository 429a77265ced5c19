"""One run of a scenario: a pair of namespaces, a proxy, an operator and its surroundings."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from fault_proxy import FaultProxy, Record
from fault_proxy.faults import Fault
from fault_proxy.proxy import Tap

from fault_lab.actors import Actors
from fault_lab.client import Manifest
from fault_lab.kinds import BY_KIND
from fault_lab.laboratory import Laboratory
from fault_lab.mirror import Place
from fault_lab.normal import Snapshot, difference, snapshot
from fault_lab.quick_loop import real_seconds
from fault_lab.subject import Operator, Subject
from nexus_operator.settings import Settings

QUIET_SECONDS = 0.5
"""Real seconds without a request after which the operator counts as at rest."""

RESTART_SECONDS = 1.0

_OWN_KINDS = 3


Starter: TypeAlias = Callable[[Laboratory, Settings, Tap], Awaitable[Operator]]
"""Starts one operator that looks after the settings' namespaces through a tap."""


async def inside(lab: Laboratory, settings: Settings, tap: Tap) -> Operator:
    """Start the operator in this process, as somebody who may do everything."""
    return Subject(tap, lab.token, settings, lab.clock)


class NotConverged(AssertionError):
    """A checkpoint was not reached in time; says what differs."""


@dataclass
class Case:
    """What a scenario acts on.  `expected` are the checkpoints of the undisturbed run."""

    lab: Laboratory
    label: str
    namespace: str
    platform: str
    expected: dict[str, Snapshot] | None
    patience: float
    proxy: FaultProxy
    actors: Actors
    settings: Settings
    starter: Starter
    checkpoints: dict[str, Snapshot] = field(default_factory=dict)
    exposed: int | None = None
    """Requests before those of `at_rest`, which no fault meets; None until then."""
    subjects: list[Operator] = field(default_factory=list)
    starting: list[asyncio.Task[None]] = field(default_factory=list)
    _starts: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def record(self) -> Record:
        """All that went through the proxy."""
        return self.proxy.record

    @property
    def places(self) -> tuple[Place, Place]:
        """What the two namespaces hold."""
        return self.lab.mirror.places[self.namespace], self.lab.mirror.places[self.platform]

    # -- what users do

    async def create(self, kind: str, name: str, spec: Manifest, **metadata: Any) -> None:
        """Create a resource of the case's namespace."""
        found = BY_KIND[kind]
        manifest = {
            "apiVersion": found.api_version,
            "kind": kind,
            "metadata": {"name": name, **metadata},
            "spec": spec,
        }
        await self.seen(await self.lab.client.create(found.path(self.namespace), manifest))

    async def change(
        self, kind: str, name: str, patch: Manifest, *, subresource: str = ""
    ) -> Manifest:
        """Change an object of the case's namespace by a merge patch."""
        path = BY_KIND[kind].path(self.namespace, name, subresource)
        written = await self.lab.client.patch(path, patch)
        if not subresource:
            await self.seen(written)
        return written

    async def remove(self, one: Manifest) -> None:
        """Delete an object by hand."""
        metadata = one["metadata"]
        path = BY_KIND[one["kind"]].path(metadata["namespace"], metadata["name"])
        await self.lab.client.delete(path, propagationPolicy="Background")

    # -- what they see

    def find(self, kind: str, name: str | None = None) -> Manifest | None:
        """Return one object, or the only one of its kind, or None."""
        found = [one for one in self.all(kind) if name in {None, one["metadata"]["name"]}]
        return found[0] if len(found) == 1 else None

    def all(self, kind: str) -> list[Manifest]:
        """Return the objects of a kind in both namespaces."""
        return [
            one
            for place in self.places
            for (found, _), one in place.objects.items()
            if found == kind
        ]

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds; raises NotConverged."""
        news = asyncio.Event()
        for place in self.places:
            place.listeners.append(news.set)
        try:
            async with asyncio.timeout(self.patience):
                while not holds():
                    news.clear()
                    await news.wait()
        except TimeoutError:
            now = difference({}, self.snapshot())
            raise NotConverged(f"{self.label}: {what} did not come\n{now}") from None
        finally:
            for place in self.places:
                place.listeners.remove(news.set)

    async def checkpoint(self, name: str, holds: Callable[[], bool]) -> None:
        """Reach a state: that of the undisturbed run, or in that run one where `holds`."""
        if self.expected is None:
            await self.until(holds, name)
            await self.quiet()
        else:
            wanted = self.expected[name]
            try:
                await self.until(lambda: self.snapshot() == wanted, name)
            except NotConverged:
                told = difference(wanted, self.snapshot())
                raise NotConverged(f"{self.label}: {name} did not come:\n{told}") from None
        self.checkpoints[name] = self.snapshot()

    async def quiet(self) -> None:
        """Wait until the operator has asked for nothing for a while."""
        while True:
            before = self.record.busy
            await asyncio.sleep(real_seconds(QUIET_SECONDS))
            if self.record.busy == before:
                return

    def snapshot(self) -> Snapshot:
        """Return what is there now, in normal form."""
        return snapshot(self.places, self.names)

    @property
    def names(self) -> dict[str, str]:
        """What stands for the names of the two namespaces in a snapshot."""
        return {self.namespace: "<ns>", self.platform: "<platform>"}

    async def next_second(self) -> None:
        """Wait until the real clock shows another second: objects are ordered by when they came,
        and the API server notes that in whole seconds."""
        rest = 1.01 - time.time() % 1
        await asyncio.sleep(real_seconds(rest))

    async def at_rest(self) -> None:
        """Start the operator anew, so that it looks at everything: it has to write nothing."""
        self.proxy.script.paused = True
        await self.quiet()
        self.exposed = len(self.record.exchanges)
        for subject in [one for one in self.subjects if one.running]:
            subject.kill()
        before = self.record.count
        await self.start()
        actor = self.subjects[-1].tap.actor
        await self.record.until(lambda record: record.watches(actor) >= _OWN_KINDS)
        await self.quiet()
        self.proxy.script.paused = False
        told = [str(one) for one in self.record.writes() if one.write > before and one.changed]
        if told:
            raise NotConverged(f"{self.label}: written at a resync: {', '.join(told)}")

    # -- the operator

    async def start(self) -> None:
        """Start an operator; there may be more than one."""
        tap = await self.proxy.open(f"start-{next(self._starts)}")
        self.subjects.append(await self.starter(self.lab, self.settings, tap))

    def killed(self, tap: Tap) -> None:
        """Carry out what the script asks for: the operator dies and comes again."""
        for subject in self.subjects:
            if subject.tap is tap:
                subject.kill()
        self.starting.append(asyncio.create_task(self._start_again()))

    async def _start_again(self) -> None:
        await asyncio.sleep(RESTART_SECONDS)
        await self.start()

    async def seen(self, written: Manifest) -> None:
        """Wait until the mirror shows what was written."""
        kind, name = written["kind"], written["metadata"]["name"]
        version = int(written["metadata"]["resourceVersion"])
        await self.until(
            lambda: any(place.versions.get((kind, name), 0) >= version for place in self.places),
            f"{kind} {name} at version {version}",
        )

    async def close(self) -> None:
        """End the operators; raises what one of them crashed of."""
        await asyncio.gather(*self.starting)
        await asyncio.gather(*(one.end() for one in self.subjects))


@asynccontextmanager
async def opened(
    lab: Laboratory,
    label: str,
    *,
    script: Iterable[Fault] = (),
    expected: dict[str, Snapshot] | None = None,
    operators: int = 1,
    patience: float = 6000.0,
    settings: Settings | None = None,
    starter: Starter = inside,
    everywhere: bool = False,
) -> AsyncIterator[Case]:
    """Open a case with its operators running; at the end they are stopped.

    They look after the case's own namespace, or `everywhere` after all.
    """
    namespace, platform = await lab.namespaces()
    case: Case | None = None

    def on_kill(tap: Tap) -> None:
        assert case is not None
        case.killed(tap)

    scoped = replace(settings or Settings(on_kubernetes=True), platform_namespace=platform)
    if not everywhere:
        scoped = replace(scoped, watch_namespaces=(namespace,))
    proxy = FaultProxy(lab.url, tls=lab.tls, script=script, on_kill=on_kill)
    places = (lab.mirror.places[namespace], lab.mirror.places[platform])
    actors = Actors(lab.client, places, lab.clock)
    entered: AbstractAsyncContextManager[FaultProxy] = proxy
    async with entered:
        case = Case(
            lab, label, namespace, platform, expected, patience, proxy, actors, scoped, starter
        )
        acting = asyncio.create_task(actors.run())
        try:
            for _ in range(operators):
                await case.start()
            yield case
            await case.close()
            if acting.done():
                acting.result()
        finally:
            ending = [acting, *case.starting]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            for one in case.subjects:
                one.kill()
