"""An API server that costs nearly nothing: objects in memory, HTTP without TLS, no validation.

It serves what the contenders of a burst ask for: discovery, list, watch, create, get, merge patch
and delete, with resource versions that are honoured.  It is no judge of correctness; that is what
the tests before a real API server are for.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import httptools
import orjson
from burst_seen import Seen

Manifest = dict[str, Any]

QUIET_SECONDS = 2.0
INDEXES = "/apis/llmops.nexus/v1alpha1/ragindexes"
WORKFLOWS = "/apis/argoproj.io/v1alpha1/workflows"
RENEWED = "leases"
_PATH = re.compile(
    r"(?P<root>/api/v1|/apis/[^/]+/[^/]+)(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?P<status>/status)?"
)
_KINDS = {
    "/api/v1": ["Namespace", "Service", "Pod", "PersistentVolumeClaim", "Event"],
    "/apis/apps/v1": ["Deployment"],
    "/apis/coordination.k8s.io/v1": ["Lease"],
    "/apis/policy/v1": ["PodDisruptionBudget"],
    "/apis/autoscaling/v2": ["HorizontalPodAutoscaler"],
    "/apis/networking.k8s.io/v1": ["NetworkPolicy"],
    "/apis/apiextensions.k8s.io/v1": ["CustomResourceDefinition"],
    "/apis/argoproj.io/v1alpha1": ["Workflow"],
    "/apis/llmops.nexus/v1alpha1": ["RagIndex", "ServingModel", "FineTuneJob"],
}
_CLUSTERED = {"Namespace", "CustomResourceDefinition"}


def _plural(kind: str) -> str:
    small = kind.lower()
    return {"networkpolicy": "networkpolicies", "ragindex": "ragindexes"}.get(small, f"{small}s")


_KIND_OF = {f"{root}/{_plural(kind)}": kind for root, kinds in _KINDS.items() for kind in kinds}


class FakeApi:
    """A context manager: the server listens, and `kubeconfig` leads to it."""

    def __init__(self) -> None:
        self.version = 100
        self.objects: defaultdict[str, dict[tuple[str, str], Manifest]] = defaultdict(dict)
        self.history: defaultdict[str, list[tuple[int, bytes]]] = defaultdict(list)
        self.streams: defaultdict[str, set[_Connection]] = defaultdict(set)
        self.seen = Seen()
        self.complete = asyncio.Event()
        self._waited: set[str] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._folder = Path(tempfile.mkdtemp(prefix="nexus-fake-api-"))
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        named = {"name": "fake", "cluster": {"server": f"http://127.0.0.1:{port}"}}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
            "clusters": [named],
            "users": [{"name": "fake", "user": {"token": "none"}}],
        }
        self.kubeconfig = self._folder / "kubeconfig"
        self.kubeconfig.write_text(json.dumps(config))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        shutil.rmtree(self._folder)

    async def burst(self, names: list[str], patience: float) -> Seen:
        """Have all indexes there at once; return when each has its Workflow and all is quiet."""
        self._waited = set(names)
        self.seen.requests.clear()
        for name in names:
            body = {
                "apiVersion": "llmops.nexus/v1alpha1",
                "kind": "RagIndex",
                "metadata": {"name": name},
                "spec": {},
            }
            self.create(INDEXES, "default", body)
        async with asyncio.timeout(patience):
            await self.complete.wait()
            last = Counter[str]()
            while last != self.seen.requests:
                last = self.seen.requests.copy()
                await asyncio.sleep(QUIET_SECONDS)
        return self.seen

    def create(self, collection: str, namespace: str, body: Manifest) -> tuple[int, Manifest]:
        """Store a new object; returns an HTTP status and the answer."""
        name = body["metadata"]["name"]
        if (namespace, name) in self.objects[collection]:
            return 409, _failure(409, "AlreadyExists")
        metadata = {
            **body["metadata"],
            "namespace": namespace,
            "uid": f"00000000-0000-4000-8000-{self.version:012}",
            "generation": 1,
            "creationTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        if collection == INDEXES:
            self.seen.made[name] = time.monotonic()
        if collection == WORKFLOWS:
            self._note(metadata["labels"]["llmops.nexus/index"])
        return 201, self.store("ADDED", collection, {**body, "metadata": metadata})

    def store(self, change: str, collection: str, manifest: Manifest) -> Manifest:
        """Keep a version of an object, and tell those who watch."""
        self.version += 1
        metadata = {**manifest["metadata"], "resourceVersion": str(self.version)}
        manifest = {**manifest, "metadata": metadata}
        place = (metadata["namespace"], metadata["name"])
        if change == "DELETED":
            self.objects[collection].pop(place, None)
        else:
            self.objects[collection][place] = manifest
        text = orjson.dumps({"type": change, "object": manifest}) + b"\n"
        self.history[collection].append((self.version, text))
        for stream in self.streams[collection]:
            stream.chunk(text)
        return manifest

    def patch(
        self, collection: str, place: tuple[str, str], patch: Manifest, *, status: bool
    ) -> tuple[int, Manifest]:
        """Merge a patch, if the version that it names is the present one."""
        present = self.objects[collection].get(place)
        if present is None:
            return 404, _failure(404, "NotFound")
        wanted = (patch.get("metadata") or {}).get("resourceVersion")
        if wanted not in {None, present["metadata"]["resourceVersion"]}:
            return 409, _failure(409, "Conflict")
        patch = {"status": patch.get("status")} if status else patch
        merged = _merged(present, patch)
        if merged == present:
            return 200, present
        return 200, self.store("MODIFIED", collection, merged)

    def _note(self, name: str) -> None:
        self.seen.child.setdefault(name, time.monotonic())
        self._waited.discard(name)
        if not self._waited:
            self.complete.set()


class _Connection(asyncio.Protocol):
    """One connection of a client: requests one after another, or one watch."""

    def __init__(self, api: FakeApi) -> None:
        self._api = api
        self._watched = ""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._begin()

    def connection_lost(self, _reason: Exception | None) -> None:
        self._api.streams[self._watched].discard(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        url = urlsplit(self._url.decode())
        method = self._parser.get_method().decode()
        body = orjson.loads(self._body) if self._body else {}
        self._begin_message()
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if query.get("watch") in {"1", "true"}:
            self._watch(url.path, query)
        else:
            self._answer(*self._handled(method, url.path, body))

    def chunk(self, text: bytes) -> None:
        """Send one line of a watch."""
        self._transport.write(b"%x\r\n%b\r\n" % (len(text), text))

    def _begin(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._begin_message()

    def _begin_message(self) -> None:
        self._url, self._body = b"", b""

    def _answer(self, status: int, answer: Manifest) -> None:
        text = orjson.dumps(answer)
        head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._transport.write(head % (status, len(text)) + text)

    def _watch(self, path: str, query: dict[str, str]) -> None:
        found = _PATH.fullmatch(path)
        assert found is not None, path
        self._watched = f"{found['root']}/{found['plural']}"
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        self._transport.write(head + b"transfer-encoding: chunked\r\n\r\n")
        since = int(query.get("resourceVersion") or 0)
        for version, text in self._api.history[self._watched]:
            if version > since:
                self.chunk(text)
        self._api.streams[self._watched].add(self)

    def _handled(self, method: str, path: str, body: Manifest) -> tuple[int, Manifest]:
        api = self._api
        found = _PATH.fullmatch(path)
        if found is None or f"{found['root']}/{found['plural']}" not in _KIND_OF:
            return _discovery(path)
        plural, name = found["plural"], found["name"]
        collection = f"{found['root']}/{plural}"
        namespace = found["namespace"] or "default"
        if plural != RENEWED and method != "GET":
            verb = "PATCH" if method == "PUT" else method
            api.seen.requests[f"{verb} {plural}"] += 1
            api.seen.settled = time.monotonic()
        if method == "POST":
            return api.create(collection, namespace, body)
        if method == "PATCH":
            status = found["status"] is not None
            return api.patch(collection, (namespace, name), body, status=status)
        if name:
            one = api.objects[collection].get((namespace, name))
            if one is None:
                return 404, _failure(404, "NotFound")
            if method == "DELETE":
                api.store("DELETED", collection, one)
            return 200, one
        items = list(api.objects[collection].values())
        kind = f"{_KIND_OF[collection]}List"
        metadata = {"resourceVersion": str(api.version)}
        version = found["root"].removeprefix("/apis/").removeprefix("/api/")
        return 200, {"apiVersion": version, "kind": kind, "metadata": metadata, "items": items}


def _failure(code: int, reason: str) -> Manifest:
    return {"kind": "Status", "status": "Failure", "reason": reason, "code": code}


def _merged(present: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    base = present if isinstance(present, dict) else {}
    merged = {**base, **{name: _merged(base.get(name), value) for name, value in patch.items()}}
    return {name: value for name, value in merged.items() if patch.get(name, 0) is not None}


def _discovery(path: str) -> tuple[int, Manifest]:
    """Answer what is served, in the forms that kopf and our own client ask for."""
    if path == "/api":
        return 200, {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups = [root.split("/")[2:] for root in _KINDS if root.startswith("/apis/")]
        return 200, {"kind": "APIGroupList", "groups": [_group(*one) for one in groups]}
    if path == "/version":
        return 200, {"major": "1", "minor": "37", "gitVersion": "v1.37.0"}
    if path not in _KINDS:
        return 404, _failure(404, "NotFound")
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    resources = [
        {
            "name": _plural(kind),
            "singularName": kind.lower(),
            "namespaced": kind not in _CLUSTERED,
            "kind": kind,
            "verbs": verbs,
        }
        for kind in _KINDS[path]
    ]
    version = path.removeprefix("/apis/").removeprefix("/api/")
    return 200, {"kind": "APIResourceList", "groupVersion": version, "resources": resources}


def _group(name: str, version: str) -> Manifest:
    preferred = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [preferred], "preferredVersion": preferred}
