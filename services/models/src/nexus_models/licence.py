"""The licence that a model's own files name, as they name it: data of a stranger, not a judgement.

Read are the header of one GGUF file and the front matter of a README.md, the beginning of each.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nexus_models.files import ModelFiles, ModelFormat
from nexus_models.gguf_reader import DAMAGED, GgufReader

_GGUF_BYTES, _README_BYTES = 1 << 20, 1 << 16
_LONGEST, _LONGEST_LINK = 100, 300  # characters that are kept
_KEYS = ("general.license", "general.license.name", "general.license.link")
_LINES = ("license", "license_name", "license_link")
_UNSAID = frozenset({"", "~", "null", "|", "|-", "|+", ">", ">-", ">+"})
_LINE = re.compile(r"(license(?:_name|_link)?):[ \t]+(.*)")


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
        reader = GgufReader(stream.read(_GGUF_BYTES), errors="replace")
    found: dict[str, str] = {}
    with suppress(*DAMAGED):
        _, _, count = reader.opening()
        for key, value in reader.pairs(count):
            if isinstance(value, str):
                found[key] = value  # noqa: PERF403 - what stands before the damage is said too
    return found
