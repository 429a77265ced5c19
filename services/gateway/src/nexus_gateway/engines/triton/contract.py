"""What a Triton model takes and gives, read from its configuration once a minute."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from nexus_gateway.engines.triton.channels import Channels
from nexus_gateway.errors import UpstreamError
from nexus_gateway.upstream.pool import Origin

FRESH_SECONDS = 60.0
CALL_SECONDS = 5.0


@dataclass(frozen=True)
class Contract:
    """Names of a model's inputs and outputs, and the parameters of its configuration."""

    inputs: frozenset[str]
    outputs: frozenset[str]
    parameters: dict[str, str]
    batched: bool = False


class Contracts:
    """The contracts of all models, remembered."""

    def __init__(self) -> None:
        self._known: dict[tuple[Origin, str], tuple[float, Contract]] = {}

    async def of(self, channels: Channels, origin: Origin, model: str) -> Contract:
        """Return a model's contract.

        Raises grpc.RpcError and InferenceServerException (Triton does not answer or does not
        know the model), UpstreamError (the model is none that generates text).
        """
        now = asyncio.get_running_loop().time()
        since, known = self._known.get((origin, model), (float("-inf"), None))
        if known is not None and now - since < FRESH_SECONDS:
            return known
        async with channels.one(origin) as client:
            answer = await client.get_model_config(model, client_timeout=CALL_SECONDS)
        contract = _read(model, answer.config)
        self._known[(origin, model)] = (now, contract)
        return contract

    def forget(self, origin: Origin, model: str) -> None:
        """Read the contract anew next time."""
        self._known.pop((origin, model), None)


def _read(model: str, config: Any) -> Contract:
    contract = Contract(
        inputs=frozenset(tensor.name for tensor in config.input),
        outputs=frozenset(tensor.name for tensor in config.output),
        parameters={key: value.string_value for key, value in config.parameters.items()},
        batched=config.max_batch_size > 0,
    )
    if "text_input" not in contract.inputs or "text_output" not in contract.outputs:
        raise UpstreamError(
            f"model {model!r} of this Triton server generates no text: it needs the input "
            "text_input and the output text_output"
        )
    return contract
