"""What is wrong with a manifest, told in the words of the API server."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nexus_api.go_text import shown
from nexus_api.meta import VERSION

Sort = Literal[
    "Invalid value",
    "Unsupported value",
    "Required value",
    "Duplicate value",
    "Too long",
    "Too many",
    "Forbidden",
    "Malformed",
]

_VALUELESS = {"Required value", "Too long", "Forbidden"}
CAUSES: dict[Sort, str] = {
    "Invalid value": "FieldValueInvalid",
    "Unsupported value": "FieldValueNotSupported",
    "Required value": "FieldValueRequired",
    "Duplicate value": "FieldValueDuplicate",
    "Too long": "FieldValueTooLong",
    "Too many": "FieldValueTooMany",
    "Forbidden": "FieldValueForbidden",
    "Malformed": "Malformed",
}
"""Reasons of `Status.details.causes` by the words that people read."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: the field, the value found there, the rule it breaks, a message.

    `rule` is the word of the schema (`maximum`, `required`, `unknown`...) or a CEL rule's text.
    `blocking` problems keep CEL rules from being looked at, as in the API server.
    """

    field: str
    value: Any
    rule: str
    message: str
    sort: Sort = "Invalid value"
    blocking: bool = False

    def __str__(self) -> str:
        if self.sort == "Malformed":
            return self.message
        return f"{self.field}: {self.body}"

    @property
    def body(self) -> str:
        """The text after the field: what sort of problem, the value where it helps, the message."""
        parts: list[str] = [self.sort]
        if self.sort not in _VALUELESS:
            parts.append(shown(self.value))
        if self.message:
            parts.append(self.message)
        return ": ".join(parts)


class Invalid(ValueError):
    """A manifest breaks the schema or a rule of its kind.  `problems` are in order of field."""

    code = 422
    reason = "Invalid"

    def __init__(self, kind: str, name: str, problems: Sequence[Problem]) -> None:
        """Take the problems of one object; the text has all, as the API server writes it."""
        self.kind = kind
        self.name = name
        self.problems = tuple(problems)
        super().__init__(self._text())

    def _text(self) -> str:
        lines = list(dict.fromkeys(str(problem) for problem in self.problems))
        told = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
        return f'{self.kind} "{self.name}" is invalid: {told}'


class Malformed(Invalid):
    """A manifest cannot be read as its kind: unknown fields, or metadata of the wrong types."""

    code = 400
    reason = "BadRequest"

    def _text(self) -> str:
        told = ", ".join(problem.message for problem in self.problems)
        strict = "" if self.problems[0].rule == "type" else "strict decoding error: "
        return (
            f'{self.kind} in version "{VERSION}" cannot be handled as a {self.kind}: {strict}{told}'
        )
