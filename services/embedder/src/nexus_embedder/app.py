"""The HTTP face: OpenAI's embedding routes, health and metrics."""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from nexus_embedder.batcher import Batcher
from nexus_embedder.encoder import Encoder, Vectors
from nexus_embedder.errors import InvalidInput, QueueFull
from nexus_embedder.metrics import Metrics
from nexus_embedder.requests import EmbeddingRequest, encode_inputs, read_request
from nexus_embedder.tokens import TextTokenizer

MAX_BODY = 32 << 20  # bytes: 2,048 inputs of a few thousand characters
RETRY_AFTER = "2"  # seconds


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to serve."""

    encoder: Encoder
    tokenizer: TextTokenizer
    digest: str


@dataclass(frozen=True)
class Served:
    """What the server is told to serve: the name that callers use, and the address."""

    name: str
    uri: str


class Embeddings:
    """The routes; until the model is loaded they answer 503."""

    def __init__(
        self, served: Served, load: Callable[[], Loaded], failed: Callable[[Exception], None]
    ) -> None:
        self._served = served
        self._load = load
        self._failed = failed
        self._metrics = Metrics()
        self._model: Loaded | None = None
        self._batcher: Batcher | None = None

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Load beside serving, so that health can be asked from the first moment."""
        work = asyncio.create_task(self._work())
        try:
            yield
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    async def _work(self) -> None:
        try:
            model = await asyncio.to_thread(self._load)
        except Exception as error:  # noqa: BLE001  the process ends with this error's message
            self._failed(error)
            return
        self._batcher = Batcher(model.encoder, seen=self._metrics.batch)
        self._metrics.waiting.set_function(lambda: self._batcher.waiting_tokens)  # type: ignore[union-attr]
        self._model = model
        await self._batcher.run()

    async def embeddings(self, request: Request) -> Response:
        """POST /v1/embeddings."""
        if self._model is None or self._batcher is None:
            return self._loading()
        began = time.monotonic()
        asked = read_request(await _json(request))
        self._check_name(asked.model)
        self._check_dimensions(asked, self._model.encoder.dimension)
        sequences = await asyncio.to_thread(
            encode_inputs, asked, self._model.tokenizer,
            max_tokens=self._model.encoder.architecture.max_tokens,
        )  # fmt: skip
        vectors = await self._batcher.embed(sequences)
        self._metrics.seconds.observe(time.monotonic() - began)
        tokens = sum(len(ids) for ids in sequences)
        return JSONResponse(
            {
                "object": "list",
                "data": _data(vectors, asked),
                "model": self._served.name,
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            }
        )

    async def models(self, _request: Request) -> Response:
        """GET /v1/models."""
        return JSONResponse({"object": "list", "data": [self._card()]})

    async def model(self, request: Request) -> Response:
        """GET /v1/models/{name}."""
        self._check_name(request.path_params["name"])
        return JSONResponse(self._card())

    async def info(self, _request: Request) -> Response:
        """GET /info: what a client has to know about the vectors."""
        if self._model is None:
            return self._loading()
        encoder = self._model.encoder
        return JSONResponse(
            {
                "model": self._served.name,
                "uri": self._served.uri,
                "digest": self._model.digest,
                "dimension": encoder.dimension,
                "max_tokens": encoder.architecture.max_tokens,
                "pooling": encoder.pooling,
                "normalize": encoder.normalize,
            }
        )

    async def healthy(self, _request: Request) -> Response:
        """GET /healthz."""
        return JSONResponse({"status": "ok"})

    async def ready(self, _request: Request) -> Response:
        """GET /readyz."""
        return JSONResponse({"status": "ready"}) if self._model else self._loading()

    async def metrics(self, _request: Request) -> Response:
        """GET /metrics."""
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)

    def counted(
        self, handler: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Turn typed errors into OpenAI's error form, and count answers by status."""

        async def answer(request: Request) -> Response:
            response = await _guarded(handler, request)
            self._metrics.requests.labels(code=str(response.status_code)).inc()
            return response

        return answer

    def _loading(self) -> Response:
        return _error(
            503, f"model {self._served.name} is being loaded", code="model_not_ready",
            headers={"Retry-After": RETRY_AFTER},
        )  # fmt: skip

    def _card(self) -> dict[str, Any]:
        return {"id": self._served.name, "object": "model", "created": 0, "owned_by": "nexus"}

    def _check_name(self, name: str) -> None:
        if name not in {"", self._served.name, self._served.uri}:
            raise InvalidInput(
                f"model {name!r} is not served here; {self._served.name!r} is",
                param="model", code="model_not_found",
            )  # fmt: skip

    def _check_dimensions(self, asked: EmbeddingRequest, dimension: int) -> None:
        if asked.dimensions not in {None, dimension}:
            raise InvalidInput(
                f"{self._served.name} gives {dimension} dimensions, not {asked.dimensions}",
                param="dimensions",
            )


def build_app(embeddings: Embeddings) -> Starlette:
    """Put the routes together."""
    counted = embeddings.counted
    return Starlette(
        lifespan=embeddings.lifespan,
        routes=[
            Route("/v1/embeddings", counted(embeddings.embeddings), methods=["POST"]),
            Route("/v1/models", counted(embeddings.models)),
            Route("/v1/models/{name:path}", counted(embeddings.model)),
            Route("/info", counted(embeddings.info)),
            Route("/healthz", embeddings.healthy),
            Route("/readyz", embeddings.ready),
            Route("/metrics", embeddings.metrics),
        ],
    )


async def _guarded(handler: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    try:
        return await handler(request)
    except InvalidInput as error:
        status = 404 if error.code == "model_not_found" else 400
        return _error(status, str(error), code=error.code, param=error.param)
    except QueueFull as error:
        return _error(429, str(error), code="queue_full", headers={"Retry-After": RETRY_AFTER})


async def _json(request: Request) -> object:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise InvalidInput(f"the body is larger than {MAX_BODY >> 20} MiB", param="body")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the body is not JSON: {error}", param="body") from error


def _data(vectors: Vectors, asked: EmbeddingRequest) -> list[dict[str, Any]]:
    if asked.encoding == "base64":
        rows = vectors.astype("<f4")
        values: list[Any] = [base64.b64encode(row.tobytes()).decode() for row in rows]
    else:
        values = vectors.tolist()
    return [
        {"object": "embedding", "index": index, "embedding": value}
        for index, value in enumerate(values)
    ]


def _error(
    status: int,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    kind = "invalid_request_error" if status < 429 else "server_error"  # noqa: PLR2004
    return JSONResponse(
        {"error": {"message": message, "type": kind, "code": code, "param": param}},
        status_code=status, headers=headers,
    )  # fmt: skip
