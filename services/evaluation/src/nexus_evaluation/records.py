"""JSON Lines of one record type, read with errors that name the line, written canonically."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

_LONGEST_LINE = 4 * 1024 * 1024  # characters; a line beyond this is no record of ours


class Record(BaseModel):
    """Base of what lies in a file: camelCase outside, immutable, nothing unknown, no NaN unseen.

    NaN and infinity are let in where a float stands: the gate refuses them by name, which tells
    a person more than a parser's error.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        ser_json_inf_nan="constants",
    )


R = TypeVar("R", bound=Record)


def lines(text: str, name: str, error: type[Exception]) -> Iterator[tuple[int, Any]]:
    """Yield (line number from 1, JSON value) of each line that is not blank.

    Raises ``error`` for a line that is too long or not JSON.
    """
    # Only \n ends a line: str.splitlines would break JSON at U+2028 inside a string.
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if not line.strip():
            continue
        if len(line) > _LONGEST_LINE:
            raise error(f"{name}, line {number}: longer than {_LONGEST_LINE} characters")
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as problem:
            raise error(f"{name}, line {number}: not JSON: {problem}") from problem


def checked(record: type[R], value: Any, *, name: str, number: int, error: type[Exception]) -> R:
    """Make the record that a line holds.

    Raises ``error`` with file, line, field and what is wrong.
    """
    try:
        return record.model_validate(value)
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the line"
        raise error(f"{name}, line {number}: {place}: {first['msg']}") from problem


def decoded(content: bytes, name: str, error: type[Exception]) -> str:
    """Decode a file.  Raises ``error`` when it is not UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise error(f"{name}: byte {problem.start}: not UTF-8") from problem


def canonical(value: Any) -> bytes:
    """Write a JSON value in the one form that digests are taken of."""
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return text.encode("ascii")


def digest(values: Iterable[Any]) -> str:
    """Give the sha256 over the canonical form of the values, in their order."""
    total = hashlib.sha256()
    for value in values:
        total.update(canonical(value) + b"\n")
    return f"sha256:{total.hexdigest()}"


def written(values: Iterable[Any]) -> bytes:
    """Write JSON Lines: readable UTF-8, sorted fields, one line a value."""
    parts = (
        json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n"
        for value in values
    )
    return "".join(parts).encode("utf-8", errors="backslashreplace")
