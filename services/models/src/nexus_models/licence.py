"""The licence that a model's own files name, as they name it: data of a stranger, not a judgement.

Read are the header of one GGUF file and the front matter of a README.md, the beginning of each.
GGUF: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus_models.files import ModelFiles, ModelFormat

_GGUF_BYTES, _README_BYTES = 1 << 20, 1 << 16
_LONGEST, _LONGEST_LINK = 100, 300  # characters that are kept
_KEYS = ("general.license", "general.license.name", "general.license.link")
_LINES = ("license", "license_name", "license_link")
_UNSAID = frozenset({"", "~", "null", "|", "|-", "|+", ">", ">-", ">+"})
_LINE = re.compile(r"(license(?:_name|_link)?):[ \t]+(.*)")
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # of scalars
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class Licence:
    """What files say of their licence: printable, short, "" for what they do not say.

    Attributes:
        id: its SPDX name, or `other`.
        name: what the makers call it.
        link: where its text is.
        source: which file says so, and where in it.
    """

    id: str
    name: str
    link: str
    source: str


def named_licence(files: ModelFiles) -> Licence | None:
    """Return the licence that a model's files name; None where they name none that is read.

    A GGUF in one file is asked for `general.license`, `.name` and `.link` within its first MiB, a
    folder for `license`, `license_name` and `license_link` in the front matter of its README.md.
    """
    try:
        if files.format is ModelFormat.GGUF:
            (file,) = files.weights
            said, source = _header(file), f"{_KEYS[0]} of {file.name}"
            return _licence([said.get(key) for key in _KEYS], source)
        said = _front_matter(files.dir / "README.md")
        return _licence([said.get(key) for key in _LINES], "front matter of README.md")
    except (OSError, ValueError):  # several files; unreadable ones
        return None


def _licence(said: list[str | None], source: str) -> Licence | None:
    limits = (_LONGEST, _LONGEST, _LONGEST_LINK)
    id_, name, link = (_clean(one or "", most) for one, most in zip(said, limits, strict=True))
    return Licence(id_, name, link, _clean(source, _LONGEST_LINK)) if id_ or name or link else None


def _clean(text: str, longest: int) -> str:
    """Keep what is printable, in one line: no controls, no marks that turn the direction."""
    line = " ".join(text[: 4 * longest].split())
    return "".join(char for char in line if char.isprintable()).strip()[:longest]


def _front_matter(file: Path) -> Mapping[str, str]:
    if file.is_symlink() or not file.is_file():
        return {}
    with file.open("rb") as stream:
        first, *lines = stream.read(_README_BYTES).decode(errors="replace").split("\n")
    lines = [line.rstrip() for line in lines]
    if first.rstrip() != "---" or "---" not in lines:
        return {}
    found = filter(None, map(_LINE.fullmatch, lines[: lines.index("---")]))
    said = {key: _scalar(text) for key, text in (one.groups() for one in found)}
    return {key: text for key, text in said.items() if text not in _UNSAID}


def _scalar(text: str) -> str:
    """Return a YAML scalar of one line without its comment and quotes."""
    plain = text.split(" #", maxsplit=1)[0].strip()
    quoted = plain[:1] in {"'", '"'} and plain[-1:] == plain[:1]
    return plain[1:-1] if quoted else plain


def _header(file: Path) -> Mapping[str, str]:
    """Return the strings of a GGUF's header, as far as its first bytes hold them whole."""
    with file.open("rb") as stream:
        reader = _Reader(stream.read(_GGUF_BYTES))
    found: dict[str, str] = {}
    try:
        magic, version = reader.take("4sI")
        if magic != b"GGUF" or version not in {2, 3}:
            return {}
        _, pairs = reader.take("QQ")
        for _ in range(pairs):
            key, value = reader.string(), reader.value()
            if value is not None:
                found[key] = value
    except (struct.error, EOFError, KeyError):
        pass  # what stands before it is said all the same
    return found


class _Reader:
    """Reads values one after the other; what lies beyond the end is a struct.error or EOFError."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{form}", self._content, self._at)
        self._at += struct.calcsize(f"<{form}")
        return values

    def string(self) -> str:
        begin = self._skip_string()
        return self._content[begin : self._at].decode(errors="replace")

    def value(self) -> str | None:
        """Return a string; pass over what is none."""
        (kind,) = self.take("I")
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            self._skip(_SIZES[kind])
            return None
        element, count = self.take("IQ")
        if element == _STRING:
            for _ in range(count):
                self._skip_string()
        else:  # of arrays: none is in use, the rest is not read
            self._skip(_SIZES[element] * count)
        return None

    def _skip_string(self) -> int:
        (length,) = self.take("Q")
        self._skip(length)
        return self._at - int(length)

    def _skip(self, length: int) -> None:
        if length > len(self._content) - self._at:
            raise EOFError
        self._at += length
