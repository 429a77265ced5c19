"""A Triton server under a test's control; the real one runs in tests/contract/engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

INPUTS = ("text_input", "sampling_parameters")
Pieces = AsyncIterator[Any]


def piece(text: bytes, *, final: bool = False, reason: str = "") -> Any:
    """Return a response that carries a piece of text, and why it is the last."""
    answer = service_pb2.ModelInferResponse(model_name="assistant")
    given = {"text_output": text, **({"finish_reason": reason.encode()} if reason else {})}
    for name, value in given.items():
        answer.outputs.add(name=name, datatype="BYTES", shape=[1])
        answer.raw_output_contents.append(len(value).to_bytes(4, "little") + value)
    answer.parameters["triton_final_response"].bool_param = final
    return service_pb2.ModelStreamInferResponse(infer_response=answer)


def refusal(message: str) -> Any:
    """Return what a model sends that refuses."""
    return service_pb2.ModelStreamInferResponse(error_message=message)


async def hello(_request: Any, _context: Any) -> Pieces:
    """Answer with two pieces."""
    yield piece(b"Hel")
    yield piece(b"lo", final=True)


@dataclass
class ScriptedTriton(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """What it answers with, and what it was asked.

    Attributes:
        parameters: of the model's configuration.
        generate: yields the responses to a request.
        configure: awaited before the configuration is told.
        loads: how often it says that the model is not ready yet.
    """

    parameters: dict[str, str] = field(default_factory=dict)
    generate: Callable[[Any, Any], Pieces] = hello
    configure: Callable[[Any], Awaitable[None]] | None = None
    loads: int = 0
    url: str = ""
    requests: list[Any] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def ServerReady(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - gRPC's name
        """Say that the server is ready."""
        return service_pb2.ServerReadyResponse(ready=True)

    async def ModelReady(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - gRPC's name
        """Say that the model is ready, once it has been asked often enough."""
        self.loads -= 1
        return service_pb2.ModelReadyResponse(ready=self.loads < 0)

    async def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        """Tell the model's configuration."""
        if self.configure is not None:
            await self.configure(context)
        config = model_config_pb2.ModelConfig(name=request.name)
        for name in INPUTS:
            config.input.add(name=name)
        config.output.add(name="text_output")
        for key, text in self.parameters.items():
            config.parameters[key].string_value = text
        return service_pb2.ModelConfigResponse(config=config)

    async def ModelStreamInfer(self, requests: Any, context: Any) -> Pieces:  # noqa: N802
        """Answer as the test says; `ended` is set once nothing of it is left to do."""
        try:
            async for request in requests:
                self.requests.append(request)
                async for one in self.generate(request, context):
                    yield one
        finally:
            self.ended.set()

    def inputs(self, number: int = -1) -> dict[str, bytes]:
        """Return the inputs of a request by name, less their lengths."""
        request = self.requests[number]
        pairs = zip(request.inputs, request.raw_input_contents, strict=True)
        return {tensor.name: raw[4:] for tensor, raw in pairs}


@asynccontextmanager
async def scripted_triton(port: int = 0) -> AsyncIterator[ScriptedTriton]:
    """Run one; `url` is what a ServingModel's status would say."""
    made = ScriptedTriton()
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(made, server)
    made.url = f"grpc://127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    await server.start()
    try:
        yield made
    finally:
        await server.stop(None)
