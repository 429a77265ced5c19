"""From chat messages to the one text that a Triton model reads.

A model's configuration may carry its own template, as Hugging Face writes them (Jinja), in
`parameters { key: "chat_template" value { string_value: "..." } }`, with `bos_token` and
`eos_token` beside it, and `adds_bos` where the backend's tokenizer begins each text with the
former: then the template's own is left out.  Without a template the text is ChatML:

    <|im_start|>user
    Hello<|im_end|>
    <|im_start|>assistant
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from nexus_gateway.engines.triton.templates import Templates
from nexus_gateway.errors import BadRequest

CHATML_END = "<|im_end|>"
_MARKER = re.compile(r"<(\|[^|<>\s]{1,40}\|)>")


async def render(
    messages: Sequence[Mapping[str, Any]],
    parameters: Mapping[str, str],
    templates: Templates,
    whose: Hashable = "",
) -> str:
    """Return the prompt, ending where the assistant is to speak; `whose` names the model.

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
        values = {
            "messages": turns,
            "tools": None,
            "documents": None,
            "add_generation_prompt": True,
            "bos_token": parameters.get("bos_token", ""),
            "eos_token": parameters.get("eos_token", ""),
        }
        text = await templates.render(whose, template, values)
        added = parameters.get("bos_token", "") if parameters.get("adds_bos") == "true" else ""
        return text.removeprefix(added)
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
