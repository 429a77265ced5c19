"""From a request in OpenAI's form to the inputs of a Triton model."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from nexus_gateway.engines.base import Json
from nexus_gateway.engines.triton.prompt import CHATML_END, render
from nexus_gateway.engines.triton.templates import Templates
from nexus_gateway.errors import BadRequest


@dataclass(frozen=True)
class Bounds:
    """What a parameter may be: numbers from `lowest` to `highest`, `above` all of one."""

    lowest: float = -math.inf
    highest: float = math.inf
    above: float = -math.inf
    whole: bool = False

    def admit(self, number: float) -> bool:
        """Tell whether a number is within."""
        return self.lowest <= number <= self.highest and number > self.above

    def __str__(self) -> str:
        """Return the bounds in words."""
        told = {"at least": self.lowest, "above": self.above, "at most": self.highest}
        return " and ".join(f"{what} {one:g}" for what, one in told.items() if math.isfinite(one))


# vLLM's own bounds: its backend tells a client nothing of the one that was not kept.
SAMPLING = {
    "temperature": Bounds(lowest=0),
    "top_p": Bounds(above=0, highest=1),
    "top_k": Bounds(lowest=-1, whole=True),
    "min_p": Bounds(lowest=0, highest=1),
    "seed": Bounds(lowest=-(2**63), highest=2**63 - 1, whole=True),
    "presence_penalty": Bounds(lowest=-2, highest=2),
    "frequency_penalty": Bounds(lowest=-2, highest=2),
    "repetition_penalty": Bounds(above=0),
}
SWITCHES = ("ignore_eos",)
NOT_OFFERED = (
    "tools", "functions", "logprobs", "prompt_logprobs", "logit_bias", "best_of", "echo", "suffix",
    "audio", "structured_outputs", "guided_json", "guided_regex", "guided_choice",
    "guided_grammar",
    "lora", "lora_name",  # which adapter counts is said by the model's name alone
)  # fmt: skip
MAX_STOPS = 16


@dataclass(frozen=True)
class Asking:
    """What a Triton model is asked, and how its answer is to look."""

    prompt: str
    sampling: Json
    stops: tuple[str, ...]
    chat: bool
    stream: bool
    usage: bool

    @property
    def max_tokens(self) -> int | None:
        """Most tokens of the answer."""
        limit: int | None = self.sampling.get("max_tokens")
        return limit

    def sampling_parameters(self) -> bytes:
        """Return the input of that name: a JSON object in vLLM's words."""
        return orjson.dumps(self.sampling)


async def asking_of(
    path: str,
    body: Mapping[str, Any],
    parameters: Mapping[str, str],
    templates: Templates,
    *,
    adapter: str = "",
    whose: Hashable = "",
) -> Asking:
    """Read a request for a model with these configuration parameters, and a LoRA adapter or none.

    `whose` names the model to what renders its template.
    Raises BadRequest naming the field, also for what Triton models do not offer.
    """
    for name in NOT_OFFERED:
        if body.get(name):
            raise BadRequest(f"{name} is not offered by this model", param=name, code="not_offered")
    if body.get("n") not in (None, 1):
        raise BadRequest("this model gives one choice", param="n", code="not_offered")
    form = body.get("response_format") or {"type": "text"}
    if not isinstance(form, Mapping) or form.get("type", "text") != "text":
        raise BadRequest(
            "this model answers in text alone", param="response_format", code="not_offered"
        )
    chat = path == "/v1/chat/completions"
    stops = _stops(body.get("stop"))
    own_end = () if not chat or parameters.get("chat_template") else (CHATML_END,)
    given = {name: body[name] for name in (*SAMPLING, *SWITCHES) if body.get(name) is not None}
    sampling = {name: _checked(name, value) for name, value in given.items()}
    for name in ("max_tokens", "max_completion_tokens"):  # the newer name counts
        if body.get(name) is not None:
            sampling["max_tokens"] = _whole(name, body[name])
    if stops or own_end:
        sampling["stop"] = [*stops, *own_end]
    if adapter:
        sampling["lora_name"] = adapter  # the backend's word for it
    return Asking(
        prompt=await render(body["messages"], parameters, templates, whose)
        if chat
        else _prompt(body.get("prompt")),
        sampling=sampling,
        stops=(*stops, *own_end),
        chat=chat,
        stream=bool(body.get("stream")),
        usage=bool((body.get("stream_options") or {}).get("include_usage")),
    )


def _checked(name: str, value: object) -> object:
    if name in SWITCHES:
        if not isinstance(value, bool):
            raise BadRequest(f"{name} must be true or false", param=name)
        return value
    bounds = SAMPLING[name]
    forms = int if bounds.whole else int | float
    if isinstance(value, bool) or not isinstance(value, forms):
        what = "a whole number" if bounds.whole else "a number"
        raise BadRequest(f"{name} must be {what}", param=name)
    if not bounds.admit(value):
        raise BadRequest(f"{name} must be {bounds}", param=name)
    return value


def _stops(stop: object) -> tuple[str, ...]:
    given = [stop] if isinstance(stop, str) else stop
    if given is None:
        return ()
    if not isinstance(given, list) or len(given) > MAX_STOPS:
        raise BadRequest(f"stop must be a text or a list of up to {MAX_STOPS}", param="stop")
    if not all(isinstance(text, str) for text in given):
        raise BadRequest("stop must hold texts", param="stop")
    return tuple(text for text in given if text)


def _whole(name: str, limit: object) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise BadRequest(f"{name} must be a whole number above 0", param=name)
    return limit


def _prompt(prompt: object) -> str:
    if not isinstance(prompt, str):
        raise BadRequest("this model takes one text as prompt", param="prompt", code="not_offered")
    if not prompt:
        raise BadRequest("the prompt is empty, and this model needs a text", param="prompt")
    return prompt
