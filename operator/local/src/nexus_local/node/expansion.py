"""`$(VAR)` references as Kubernetes expands them, and container paths turned into local ones."""

import re
from collections.abc import Mapping
from pathlib import Path

SCRATCH = "/tmp"  # noqa: S108 - a mount path, never opened
_REFERENCE = re.compile(r"\$(?:\$|\(([A-Za-z_.-][A-Za-z0-9_.-]*)\))")
_FLAG = re.compile(r"(--?[A-Za-z0-9][A-Za-z0-9_.-]*=)(.*)", re.DOTALL)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by its value; `$$` is a dollar; an unknown name stays as it is."""

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        return variables.get(match[1], match[0])

    return _REFERENCE.sub(value, text)


def local_path(text: str, files: Mapping[str, Path], mounts: Mapping[str, Path]) -> str:
    """Return `text` with a container path at its start turned into the path on this machine.

    files: whole paths, taken first; mounts: mount paths, the longest that fits is taken.  The
    value of `--flag=/path` and of a `file:///path` is looked at in the same way.  A mount at /tmp
    is left alone: this machine has a /tmp too, where people keep files that they name in
    settings; a process finds its own scratch by TMPDIR.
    """
    if flag := _FLAG.fullmatch(text):
        return flag[1] + local_path(flag[2], files, mounts)
    if text.startswith("file:///"):
        return "file://" + local_path(text.removeprefix("file://"), files, mounts)
    if text in files:
        return str(files[text])
    for mount in sorted(set(mounts) - {SCRATCH}, key=len, reverse=True):
        if text == mount or text.startswith(mount.rstrip("/") + "/"):
            rest = text[len(mount) :].lstrip("/")
            return str(mounts[mount] / rest) if rest else str(mounts[mount])
    return text
