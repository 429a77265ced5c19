"""From a request in OpenAI's form to the inputs of a Triton model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from nexus_gateway.engines.base import Json
from nexus_gateway.engines.triton.prompt import CHATML_END, render
from nexus_gateway.errors import BadRequest

SAMPLING: dict[str, tuple[type, ...]] = {
    "temperature": (int, float),
    "top_p": (int, float),
    "top_k": (int,),
    "min_p": (int, float),
    "seed": (int,),
    "presence_penalty": (int, float),
    "frequency_penalty": (int, float),
    "repetition_penalty": (int, float),
    "ignore_eos": (bool,),
}
NOT_OFFERED = ("tools", "functions", "logprobs", "logit_bias", "best_of", "echo", "suffix", "audio")
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


def asking_of(path: str, body: Mapping[str, Any], parameters: Mapping[str, str]) -> Asking:
    """Read a request for a model with these configuration parameters.

    Raises BadRequest naming the field, also for what Triton models do not offer.
    """
    for name in NOT_OFFERED:
        if body.get(name):
            raise BadRequest(f"{name} is not offered by this model", param=name, code="not_offered")
    if body.get("n") not in {None, 1}:
        raise BadRequest("this model gives one choice", param="n", code="not_offered")
    if (body.get("response_format") or {}).get("type", "text") != "text":
        raise BadRequest(
            "this model answers in text alone", param="response_format", code="not_offered"
        )
    chat = path == "/v1/chat/completions"
    stops = _stops(body.get("stop"))
    own_end = () if not chat or parameters.get("chat_template") else (CHATML_END,)
    sampling = {name: _checked(name, body[name]) for name in SAMPLING.keys() & body.keys()}
    sampling = {name: value for name, value in sampling.items() if value is not None}
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if limit is not None:
        sampling["max_tokens"] = _whole(limit)
    if stops or own_end:
        sampling["stop"] = [*stops, *own_end]
    return Asking(
        prompt=render(body["messages"], parameters) if chat else _prompt(body.get("prompt")),
        sampling=sampling,
        stops=(*stops, *own_end),
        chat=chat,
        stream=bool(body.get("stream")),
        usage=bool((body.get("stream_options") or {}).get("include_usage")),
    )


def _checked(name: str, value: object) -> object:
    forms = SAMPLING[name]
    wrong = not isinstance(value, forms) or (isinstance(value, bool) and bool not in forms)
    if value is not None and wrong:
        what = (
            "true or false" if bool in forms else "a number" if float in forms else "a whole number"
        )
        raise BadRequest(f"{name} must be {what}", param=name)
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


def _whole(limit: object) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise BadRequest("max_tokens must be a whole number above 0", param="max_tokens")
    return limit


def _prompt(prompt: object) -> str:
    if not isinstance(prompt, str):
        raise BadRequest("this model takes one text as prompt", param="prompt", code="not_offered")
    return prompt
