"""How a model wants conversations to be written, from the files that come with its weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexus_pipelines.errors import StepError

_LARGEST = 1 << 20
"""Bytes of a file that is read at all; templates are a few kilobytes."""


class TemplateUnusable(StepError):
    """The files of a model say how it is spoken to in a way that cannot be read."""


def chat_parameters(model: Path) -> Mapping[str, str]:
    """Return `chat_template`, `bos_token` and `eos_token` as far as the model's files have them.

    The template stands in a file of its own (`chat_template.jinja`) or in `tokenizer_config.json`,
    there alone or as `default` among several.  Raises TemplateUnusable.
    """
    config = _json(model / "tokenizer_config.json")
    own = model / "chat_template.jinja"
    found = {
        "chat_template": _text(own) if own.is_file() else _template(config.get("chat_template")),
        "bos_token": _token(config.get("bos_token")),
        "eos_token": _token(config.get("eos_token")),
    }
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


def _json(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(_text(path))
    except ValueError as problem:
        raise TemplateUnusable(f"{path.name} of the model is no JSON: {problem}") from problem
    return value if isinstance(value, dict) else {}


def _text(path: Path) -> str:
    if path.stat().st_size > _LARGEST:
        raise TemplateUnusable(f"{path.name} of the model is larger than {_LARGEST:,} bytes")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        raise TemplateUnusable(f"{path.name} of the model is no UTF-8: {problem}") from problem
