"""What an image is made from, read out of its Dockerfile, and the hash of it."""

import hashlib
import re
import stat
from collections.abc import Iterator
from pathlib import Path

_COPY = re.compile(r"^(?:COPY|ADD)\s+(?!--from)(.+)$", re.MULTILINE)
_CONTINUED = re.compile(r"\\\n\s*")
_LEFT_OUT = ("__pycache__", ".egg-info", "_cache")
_LENGTH = 16


def inputs(dockerfile: Path, context: Path) -> Iterator[Path]:
    """Yield every file that the Dockerfile copies out of its context, in a fixed order.

    Patterns are not read: a Dockerfile of ours names files and folders.
    """
    text = _CONTINUED.sub(" ", dockerfile.read_text())
    for arguments in _COPY.findall(text):
        *sources, _ = (word for word in arguments.split() if not word.startswith("--"))
        for source in sources:
            yield from _files(context / source)


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for child in sorted(path.iterdir()):
        if not child.name.endswith(_LEFT_OUT):
            yield from _files(child)


def content_hash(dockerfile: Path, context: Path, *parts: str) -> str:
    """Return a hash of a Dockerfile, all that it copies, and the parts.

    The mode of a file counts as far as it can be executed: the rest is the checkout's.
    """
    digest = hashlib.sha256("\0".join(parts).encode())
    for file in (dockerfile, *inputs(dockerfile, context)):
        executable = bool(file.stat().st_mode & stat.S_IXUSR)
        body = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"\n{file.relative_to(context)} {executable} {body}".encode())
    return digest.hexdigest()[:_LENGTH]
