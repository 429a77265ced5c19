"""Services: a loopback port for each, kept across restarts, in front of the pods that are ready."""

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from nexus_api.meta import LOCAL_PORT, Manifest
from nexus_local.node.errors import PortTakenError
from nexus_local.node.informer import Key
from nexus_local.node.pod_status import condition
from nexus_local.node.ports import HOST, Ports
from nexus_local.node.relay import Relay
from nexus_local.node.traffic import Traffic
from nexus_local.node.worker import PodWorker
from nexus_local.store.labels import Selector
from nexus_operator.cluster.errors import NotFound
from nexus_operator.cluster.protocol import Cluster, Ref

_RETRY_SECONDS = 1.0
_HIGHEST_PORT = 65535
_log = logging.getLogger(__name__)

Workers = Mapping[Key, PodWorker]


class Services:
    """Keeps a relay for every port of every Service."""

    def __init__(
        self,
        cluster: Cluster,
        workers: Workers,
        *,
        ports: Ports,
        traffic: Traffic,
        clock: Callable[[], datetime],
    ) -> None:
        """Route to the pods of `workers`, which is read anew for each connection."""
        self._traffic = traffic
        self._cluster = cluster
        self._workers = workers
        self._ports = ports
        self._clock = clock
        self._relays: dict[Key, list[Relay]] = {}
        self._wanted: dict[Key, Manifest] = {}
        self._turn = itertools.count()

    async def reconcile(self, key: Key) -> float | None:
        """Bring a Service's relays to its specification; seconds to the next try, or None."""
        ref = Ref("v1", "Service", *key)
        service = await self._cluster.get(ref)
        if service is None or "deletionTimestamp" in service["metadata"]:
            await self._drop(key)
            return None
        self._wanted[key] = service
        relays = self._relays.setdefault(key, [])
        count = len(service["spec"]["ports"])
        while len(relays) > count:
            await relays.pop().close()
        trouble = ""
        for index in range(count):
            if index == len(relays):
                relays.append(Relay(self._chooser(key, index), self._traffic))
            try:
                await self._listen(key, index, service)
            except (PortTakenError, ValueError) as error:
                trouble = str(error)
        status = self._status(service, relays, trouble)
        if status != service.get("status"):
            if trouble:
                _log.warning("%s", trouble)
            try:
                await self._cluster.patch(ref, {"status": status}, subresource="status")
            except NotFound:
                return None
        return _RETRY_SECONDS if trouble else None

    async def close(self) -> None:
        """Stop listening everywhere; the ports stay noted for the next start."""
        for key in list(self._relays):
            await self._drop(key)

    async def _drop(self, key: Key) -> None:
        self._wanted.pop(key, None)
        for relay in self._relays.pop(key, ()):
            await relay.close()

    async def _listen(self, key: Key, index: int, service: Manifest) -> None:
        """Listen on the port that was asked for, else the one from before, else any free one."""
        relay = self._relays[key][index]
        asked = _asked(service) if index == 0 else None
        if relay.port is not None and asked in {None, relay.port}:
            return
        if asked is not None:
            fresh = Relay(self._chooser(key, index), self._traffic)
            try:
                await fresh.listen(asked)
            except OSError as error:
                raise PortTakenError(asked, "/".join(key)) from error
            self._relays[key][index] = fresh
            await relay.close()
            return
        for port in self._candidates(service, index):
            try:
                await relay.listen(port)
            except OSError:
                continue
            return

    def _candidates(self, service: Manifest, index: int) -> Iterator[int]:
        ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or [{}]
        known = ingress[0].get("ports") or []
        if index < len(known) and known[index].get("port"):
            yield known[index]["port"]
        while True:  # ends: take() raises when no port is left
            port = self._ports.take()
            self._ports.give_back(port)
            yield port

    def _status(self, service: Manifest, relays: list[Relay], trouble: str) -> Manifest:
        spec_ports = service["spec"]["ports"]
        before = (service.get("status") or {}).get("conditions") or ()
        reason = "PortTaken" if trouble else "Listening"
        bound = condition("PortsBound", not trouble, reason, trouble, before, self._clock())
        listening = [
            {"port": relay.port, "protocol": "TCP"}
            if relay.port is not None
            else {"port": port["port"], "protocol": "TCP", "error": "PortTaken"}
            for relay, port in zip(relays, spec_ports, strict=True)
        ]
        ingress = [{"ip": HOST, "ports": listening}] if any(r.port for r in relays) else []
        return {"loadBalancer": {"ingress": ingress}, "conditions": [bound]}

    def _chooser(self, key: Key, index: int) -> Callable[[], int | None]:
        def choose() -> int | None:
            service = self._wanted.get(key)
            if service is None or index >= len(service["spec"]["ports"]):
                return None
            targets = self._targets(key[0], service["spec"], service["spec"]["ports"][index])
            return targets[next(self._turn) % len(targets)] if targets else None

        return choose

    def _targets(self, namespace: str, spec: Manifest, port: Mapping[str, Any]) -> list[int]:
        """Return the local ports of the ready pods that a Service selects, by name of pod."""
        if not spec.get("selector"):
            return []
        selector = Selector.equal(spec["selector"])
        target = port.get("targetPort", port["port"])
        return [
            worker.ports[target]
            for (place, _), worker in sorted(self._workers.items(), key=lambda item: item[0])
            if place == namespace
            and worker.ready
            and target in worker.ports
            and selector.matches(worker.pod["metadata"].get("labels") or {})
        ]


def _asked(service: Manifest) -> int | None:
    """Return the port that a Service's annotation asks for; raises ValueError."""
    text = (service["metadata"].get("annotations") or {}).get(LOCAL_PORT)
    if text is None:
        return None
    if not text.isdecimal() or not 0 < int(text) <= _HIGHEST_PORT:
        name = service["metadata"]["name"]
        raise ValueError(f"Service {name}: annotation {LOCAL_PORT}: {text!r} is no port number")
    return int(text)
