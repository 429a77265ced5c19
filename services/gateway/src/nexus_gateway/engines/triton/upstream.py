"""One Triton model as an upstream: a decoupled gRPC stream for each answer."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tritonclient.grpc import InferInput

from nexus_api.vllm_command import GIVEN_UP
from nexus_gateway.engines.base import Json
from nexus_gateway.engines.triton.asking import Asking, asking_of
from nexus_gateway.engines.triton.channels import Channels
from nexus_gateway.engines.triton.contract import Contract, Contracts
from nexus_gateway.engines.triton.events import StopCutter, Writer, usage_of
from nexus_gateway.engines.triton.failures import Failure, amid_answer, before_answer
from nexus_gateway.engines.triton.templates import Templates
from nexus_gateway.upstream import UpstreamBroken
from nexus_gateway.upstream.pool import Origin
from nexus_knowledge.prompting.lengths import estimate

# What the vLLM backend adds to its answers when it is asked to.
COUNTS = ("return_num_input_tokens", "return_num_output_tokens", "return_finish_reason")
# Its words for the end of an answer, and ours; any other is an end like `stop`.
REASONS = {"stop": "stop", "length": "length", "abort": GIVEN_UP, "error": GIVEN_UP}


class Triton:
    """All Triton servers: connections, what is known of their models, and who writes prompts."""

    def __init__(self) -> None:
        self.channels = Channels()
        self.contracts = Contracts()
        self.templates = Templates()

    def upstream(self, origin: Origin, model: str, adapter: str = "") -> TritonUpstream:
        """Return one model of one server, with one of its LoRA adapters or by itself."""
        return TritonUpstream(self, origin, model, adapter)

    async def close(self) -> None:
        """Close what is idle and keep nothing from now on."""
        await self.templates.close()
        await self.channels.close()


@dataclass(frozen=True)
class TritonUpstream:
    """One model of one Triton server; `adapter` is the LoRA adapter that counts, "" for none."""

    servers: Triton
    origin: Origin
    model: str
    adapter: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from other models."""
        return (self.origin, self.model, self.adapter)

    @property
    def name(self) -> str:
        """The name that requests use: MODEL, or MODEL:ADAPTER."""
        return f"{self.model}:{self.adapter}" if self.adapter else self.model

    async def send(self, path: str, body: Json, headers: Mapping[str, str]) -> Generated:
        """Start a generation and wait for its first piece.  Raises as `Upstream.send`."""
        client = self.servers.channels.take(self.origin)
        generation = Generation(self, client, metadata_of(headers))
        try:
            contract = await self.servers.contracts.of(client, self.model)
            asking = await asking_of(
                path,
                body,
                contract.parameters,
                self.servers.templates,
                adapter=self.adapter,
                whose=(self.origin, self.model),
            )
            await generation.begin(asking, contract)
        except Failure as error:
            generation.end(sound=False)
            raise before_answer(self.name, error) from error
        except BaseException:
            generation.end(sound=True)
            raise
        return Generated(generation)

    async def count(self, _text: str, _within: float) -> int | None:
        """Return None: Triton has no route that counts tokens."""
        return None


def metadata_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that go along as gRPC metadata: those that trace a request.

    gRPC refuses a whole call for a value that is not printable ASCII.
    """
    return {
        name: value
        for name, value in headers.items()
        if name != "accept" and value.isascii() and value.isprintable()
    }


@dataclass
class Generation:
    """One answer as Triton produces it, over a channel that is its own until the end."""

    upstream: TritonUpstream
    client: Any
    metadata: dict[str, str]
    asking: Asking = field(init=False)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reason: str = ""
    _stream: Any = None
    _first: str | None = None
    _ended: bool = field(default=False)
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    async def begin(self, asking: Asking, contract: Contract) -> None:
        """Send the request and wait until the first piece, or the end, has come."""
        self.asking = asking
        requests = self._requests(contract)
        self._stream = self.client.stream_infer(requests, headers=self.metadata)
        self._first = await self._next()

    async def pieces(self) -> AsyncIterator[str]:
        """Yield the texts; raises grpc.RpcError, InferenceServerException."""
        piece = self._first
        while piece is not None:
            if piece:
                yield piece
            piece = await self._next()

    def end(self, *, sound: bool) -> None:
        """Stop Triton's work, if it still works, and give the channel back."""
        if self._ended:
            return
        self._ended = True
        if self._stream is not None:
            self._stream.cancel()
        self.upstream.servers.channels.give(self.upstream.origin, self.client, sound=sound)

    async def _next(self) -> str | None:
        """Return the text of the next response, None after the last."""
        while True:
            try:
                result, error = await anext(self._stream)
            except StopAsyncIteration:
                return self._decoder.decode(b"", final=True) or None
            if error is not None:
                raise error
            final = result.get_response().parameters["triton_final_response"].bool_param
            text = self._read(result)
            if final:
                text += self._decoder.decode(b"", final=True)
            if text or not final:
                return text
            return None

    def _read(self, result: Any) -> str:
        """Take one response: its text, and what it says of counts and of the end."""
        text = self._decoder.decode(_bytes(result, "text_output"))
        given = result.as_numpy("num_input_tokens")
        if given is not None and given.size:
            self.prompt_tokens = int(given.flat[0])
        made = result.as_numpy("num_output_tokens")
        if made is not None:
            self.completion_tokens += int(made.sum())
        elif text:
            self.completion_tokens += 1  # a decoupled model sends a token at a time
        reason = _bytes(result, "finish_reason").decode(errors="replace")
        self.reason = REASONS.get(reason, self.reason)
        return text

    async def _requests(self, contract: Contract) -> AsyncIterator[Json]:
        asking = self.asking
        given: Json = {
            "text_input": ("BYTES", asking.prompt.encode()),
            "stream": ("BOOL", True),
            "sampling_parameters": ("BYTES", asking.sampling_parameters()),
            "exclude_input_in_output": ("BOOL", True),
            **dict.fromkeys(COUNTS, ("BOOL", True)),
        }
        inputs = [
            _input(name, kind, value, batched=contract.batched)
            for name, (kind, value) in given.items()
            if name in contract.inputs
        ]
        yield {
            "model_name": self.upstream.model,
            "inputs": inputs,
            "request_id": self.metadata.get("x-request-id", ""),
            "enable_empty_final_response": True,
        }


class Generated:
    """A generation in OpenAI's form: an event stream, or one JSON answer."""

    status = 200

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        streamed = generation.asking.stream
        kind = b"text/event-stream" if streamed else b"application/json"
        self.headers: Mapping[bytes, bytes] = {b"content-type": kind}
        self._bytes = self._streamed() if streamed else self._whole()

    async def next_chunk(self, idle_timeout: float | None) -> bytes:
        """Return the next event; b"" at the end.  Raises UpstreamBroken, TimeoutError."""
        try:
            async with asyncio.timeout(idle_timeout):
                return await anext(self._bytes, b"")
        except Failure as error:
            self._generation.end(sound=False)
            raise amid_answer(error) from error

    async def read(self, *, limit: int, idle_timeout: float | None) -> bytes:
        """Return the whole body.  Raises UpstreamBroken when it is longer than `limit` bytes."""
        parts: list[bytes] = []
        while chunk := await self.next_chunk(idle_timeout):
            parts.append(chunk)
            if sum(map(len, parts)) > limit:
                raise UpstreamBroken(f"the answer is longer than {limit} bytes", started=True)
        return b"".join(parts)

    def close(self) -> None:
        """Stop the generation if it still runs."""
        self._generation.end(sound=True)

    async def _shown(self) -> AsyncIterator[str]:
        """Yield the texts up to the first stop text."""
        cutter = StopCutter(self._generation.asking.stops)
        async for piece in self._generation.pieces():
            if text := cutter.feed(piece):
                yield text
            if cutter.stopped:
                self._generation.reason = "stop"
                return
        if rest := cutter.rest():
            yield rest

    async def _streamed(self) -> AsyncGenerator[bytes, None]:
        asking, writer = self._generation.asking, self._writer()
        if opening := writer.opening():
            yield opening
        async for text in self._shown():
            yield writer.text(text)
        yield writer.ending(self._reason(), self._usage() if asking.usage else None)

    async def _whole(self) -> AsyncGenerator[bytes, None]:
        text = "".join([piece async for piece in self._shown()])
        yield self._writer().whole(text, self._reason(), self._usage())

    def _writer(self) -> Writer:
        return Writer(self._generation.upstream.name, self._generation.asking.chat)

    def _reason(self) -> str:
        generation = self._generation
        if generation.reason:
            return generation.reason
        limit = generation.asking.max_tokens
        return "length" if limit and generation.completion_tokens >= limit else "stop"

    def _usage(self) -> Json:
        generation = self._generation
        prompt = generation.prompt_tokens or estimate(generation.asking.prompt)
        return usage_of(prompt, generation.completion_tokens)


def _input(name: str, kind: str, value: Any, *, batched: bool) -> InferInput:
    shape = [1, 1] if batched else [1]
    tensor = InferInput(name, shape, kind)
    array = np.array([value], dtype=np.object_ if kind == "BYTES" else np.bool_)
    tensor.set_data_from_numpy(array.reshape(shape))
    return tensor


def _bytes(result: Any, name: str) -> bytes:
    tensor = result.as_numpy(name)
    if tensor is None or not tensor.size:
        return b""
    value = tensor.flat[0]
    return value if isinstance(value, bytes) else str(value).encode()
