"""`{{reference}}` in text.

One pass, and a value that was put in is never scanned again: a document's name or a user's setting
that contains `{{...}}` stays what it is (Argo scans twice). `{{=expression}}` is refused at
submission.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from nexus_local.workflows.errors import Unresolved, WorkflowError

TAG = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


def fill(value: Any, values: Mapping[str, str], *, keep: tuple[str, ...] = ()) -> Any:
    """Return `value` with every reference in its texts replaced.

    keep: first words of references that may have no value yet and then stay as they are.
    Raises Unresolved for any other reference without a value.
    """
    if isinstance(value, str):
        return fill_text(value, values, keep=keep)
    if isinstance(value, Mapping):
        return {key: fill(entry, values, keep=keep) for key, entry in value.items()}
    if isinstance(value, list):
        return [fill(entry, values, keep=keep) for entry in value]
    return value


def fill_text(text: str, values: Mapping[str, str], *, keep: tuple[str, ...] = ()) -> str:
    """Replace the references of one text."""

    def replace(match: re.Match[str]) -> str:
        tag = match[1].strip()
        if tag in values:
            return values[tag]
        if tag.partition(".")[0] in keep:
            return match[0]
        raise Unresolved(tag)

    return TAG.sub(replace, text) if "{{" in text else text


def tags(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield (path, reference) for every reference in the texts of `value`."""
    if isinstance(value, str):
        for match in TAG.finditer(value):
            yield path, match[1].strip()
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from tags(entry, f"{path}.{key}")
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            yield from tags(entry, f"{path}[{number}]")


def whole_number(value: Any, field: str) -> int:
    """Return a filled-in number; raises WorkflowError that names the field."""
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise WorkflowError(f"{field} must be a whole number, not {value!r}") from error


def text_of(value: Any) -> str:
    """Return a parameter's value as text: YAML may have made it a number or a boolean."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)
