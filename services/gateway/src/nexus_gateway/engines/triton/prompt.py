"""From chat messages to the one text that a Triton model reads.

A model's configuration may carry its own template, as Hugging Face writes them (Jinja), in
`parameters { key: "chat_template" value { string_value: "..." } }`, with `bos_token` and
`eos_token` beside it.  Without one the text is ChatML:

    <|im_start|>user
    Hello<|im_end|>
    <|im_start|>assistant
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from nexus_gateway.errors import BadRequest, UpstreamError

CHATML_END = "<|im_end|>"
_MARKER = re.compile(r"<(\|[^|<>\s]{1,40}\|)>")


def render(messages: Sequence[Mapping[str, Any]], parameters: Mapping[str, str]) -> str:
    """Return the prompt, ending where the assistant is to speak.

    What users write is data: a marker such as `<|im_end|>` within it is broken up by spaces, so
    that nobody can speak as the system.  Raises BadRequest (content that is not text, a role
    the template refuses), UpstreamError (the template is broken).
    """
    marks = [mark for key in ("bos_token", "eos_token") if (mark := parameters.get(key))]
    turns = [
        {"role": str(message["role"]), "content": _disarmed(_text(number, message), marks)}
        for number, message in enumerate(messages)
    ]
    template = parameters.get("chat_template")
    if template:
        return _by_template(template, turns, parameters)
    lines = [f"<|im_start|>{_role(turn)}\n{turn['content']}{CHATML_END}\n" for turn in turns]
    return "".join(lines) + "<|im_start|>assistant\n"


def _role(turn: Mapping[str, str]) -> str:
    role = "system" if turn["role"] == "developer" else turn["role"]
    if role not in {"system", "user", "assistant", "tool"}:
        raise BadRequest(f"there is no role {role!r}", param="messages")
    return role


def _text(number: int, message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list) else [content]
    if any(not isinstance(part, dict) or part.get("type") != "text" for part in parts):
        raise BadRequest(
            "this model reads text alone", param=f"messages[{number}].content", code="not_offered"
        )
    return "\n".join(str(part.get("text", "")) for part in parts)


def _disarmed(text: str, marks: Sequence[str]) -> str:
    text = _MARKER.sub(r"< \1 >", text)
    for mark in marks:
        text = text.replace(mark, " ".join(mark))
    return text


def _by_template(
    template: str, turns: Sequence[Mapping[str, str]], parameters: Mapping[str, str]
) -> str:
    import jinja2

    try:
        rendered: str = _compiled(template).render(
            messages=turns,
            add_generation_prompt=True,
            bos_token=parameters.get("bos_token", ""),
            eos_token=parameters.get("eos_token", ""),
        )
    except jinja2.TemplateError as error:
        raise UpstreamError(f"the model's chat template cannot be rendered: {error}") from error
    return rendered


@lru_cache(maxsize=32)
def _compiled(template: str) -> Any:
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[loopcontrols],
        autoescape=False,  # a prompt, never HTML
    )
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now(UTC).strftime(form)
    return environment.from_string(template)


def _refuse(message: str) -> None:
    raise BadRequest(f"the model's chat template refuses the messages: {message}", param="messages")
