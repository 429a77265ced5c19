"""What a Triton model takes and gives, read from its configuration once a minute.

It is read over the very connection that is then asked: while one revision takes the place of
another, a Service leads to either, and each is spoken to by its own template.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from nexus_gateway.errors import UpstreamError

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
    """The contracts of all models, remembered for each connection."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Any, dict[str, tuple[float, Contract]]]
        self._known = WeakKeyDictionary()

    async def of(self, client: Any, model: str) -> Contract:
        """Return a model's contract as the server behind a connection has it.

        Raises grpc.RpcError and InferenceServerException (Triton does not answer or does not
        know the model), UpstreamError (the model is none that generates text).
        """
        now = asyncio.get_running_loop().time()
        known = self._known.setdefault(client, {})
        if model in known and now - known[model][0] < FRESH_SECONDS:
            return known[model][1]
        answer = await client.get_model_config(model, client_timeout=CALL_SECONDS)
        contract = _read(model, answer.config)
        known[model] = (now, contract)
        return contract


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
