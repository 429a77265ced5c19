"""How a model wants conversations to be written, from the files that come with its weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexus_pipelines.errors import StepError

_LARGEST = 1 << 20
"""Bytes of a file that is read at all; templates are a few kilobytes."""

_LARGEST_TOKENIZER = 64 << 20
"""Bytes of tokenizer.json, which has the vocabulary: up to 35 MB in models of today."""


class TemplateUnusable(StepError):
    """The files of a model say how it is spoken to in a way that cannot be read."""


def chat_parameters(model: Path) -> Mapping[str, str]:
    """Return `chat_template`, `bos_token` and `eos_token` as far as the model's files have them.

    The template stands in a file of its own (`chat_template.jinja`) or in `tokenizer_config.json`,
    there alone or as `default` among several.  `adds_bos` is "true" where the tokenizer itself
    begins a text with that token: the backend tokenizes prompts as texts, so a template that
    begins with it too would have it twice.  Raises TemplateUnusable.
    """
    config = _json(model / "tokenizer_config.json")
    own = model / "chat_template.jinja"
    found = {
        "chat_template": _text(own) if own.is_file() else _template(config.get("chat_template")),
        "bos_token": _token(config.get("bos_token")),
        "eos_token": _token(config.get("eos_token")),
    }
    if found["bos_token"] and _adds(found["bos_token"], config, model):
        found["adds_bos"] = "true"
    return {name: text for name, text in found.items() if text}


def _template(stated: Any) -> str:
    if isinstance(stated, list):
        named = {str(one.get("name")): one.get("template") for one in stated}
        stated = named.get("default")
    return stated if isinstance(stated, str) else ""


def _token(stated: Any) -> str:
    """Return a special token, which stands as text or as an object with `content`."""
    if isinstance(stated, Mapping):
        stated = stated.get("content")
    return stated if isinstance(stated, str) else ""


def _adds(bos: str, config: Mapping[str, Any], model: Path) -> bool:
    """Tell whether the tokenizer puts the token before a text by itself."""
    stated = config.get("add_bos_token")
    if isinstance(stated, bool):
        return stated
    found = _json(model / "tokenizer.json", _LARGEST_TOKENIZER).get("post_processor")
    several = found.get("processors") if isinstance(found, Mapping) else None
    steps = [found, *(several if isinstance(several, list) else [])]
    return any(_begins(step, bos) for step in steps if isinstance(step, Mapping))


def _begins(step: Mapping[str, Any], bos: str) -> bool:
    """Tell whether a step of the tokenizer's post-processor (`single: [...]`) begins with it."""
    single = step.get("single")
    first = single[0] if isinstance(single, list) and single else None
    special = first.get("SpecialToken") if isinstance(first, Mapping) else None
    return isinstance(special, Mapping) and special.get("id") == bos


def _json(path: Path, largest: int = _LARGEST) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(_text(path, largest))
    except (ValueError, RecursionError) as problem:
        raise TemplateUnusable(f"{path.name} of the model is no JSON: {problem}") from problem
    return value if isinstance(value, dict) else {}


def _text(path: Path, largest: int = _LARGEST) -> str:
    if path.stat().st_size > largest:
        raise TemplateUnusable(f"{path.name} of the model is larger than {largest:,} bytes")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        raise TemplateUnusable(f"{path.name} of the model is no UTF-8: {problem}") from problem
