"""What a build borrows from the machine it runs on: mirrors, package index, certificates.

All of it is mounted while a build runs and none of it is copied, so that neither an image nor a
committed file says where a build found its packages.
"""

import configparser
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from images.errors import ToolMissing

RELEASE = "bookworm"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

_CHECKOUT = Path(__file__).parents[3]
_APT = Path("/etc/apt")
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "timeout", "retries", "proxy")
_BUNDLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_ONE_LINE = re.compile(r"^deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+\S+", re.MULTILINE)
_STANZA = re.compile(r"^URIs:\s*(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Mirrors:
    """Where this machine has Debian from; `security` is empty when it has no such source."""

    archive: str
    security: str = ""

    def sources(self) -> str:
        """Return the text of a sources.list for the release of the base image."""
        lines = [
            f"deb [signed-by={_KEYRING}] {self.archive} {suite} main"
            for suite in (RELEASE, f"{RELEASE}-updates")
        ]
        if self.security:
            lines.append(f"deb [signed-by={_KEYRING}] {self.security} {RELEASE}-security main")
        return "\n".join(lines) + "\n"


def mirrors(folder: Path = _APT) -> Mirrors:
    """Read the mirrors from apt's own configuration.  Raises ToolMissing when it names none."""
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    uris = [uri for file in files if file.is_file() for uri in _uris(file.read_text())]
    archive = next((uri for uri in uris if _path(uri) == "debian"), None)
    if archive is None:
        raise ToolMissing(
            f"{folder} names no Debian mirror, which the base image is made from: "
            "build images on Debian"
        )
    security = next((uri for uri in uris if _path(uri) == "debian-security"), "")
    return Mirrors(archive, security)


def _uris(text: str) -> Iterable[str]:
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    yield from _ONE_LINE.findall(lines)
    for stanza in _STANZA.findall(lines):
        yield from stanza.split()


def _path(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2]


def pip_configuration(environ: Mapping[str, str], files: Iterable[Path]) -> str:
    """Return a pip.conf with the settings that say where packages are, the environment's first."""
    found: dict[str, str] = {}
    for file in files:
        parser = configparser.RawConfigParser()
        parser.read(file)
        for section in ("global", "install"):
            if parser.has_section(section):
                found |= {k: v for k, v in parser.items(section) if k in _PIP_KEYS}
    for key in _PIP_KEYS:
        name = "PIP_" + key.replace("-", "_").upper()
        value = environ.get(name) or (
            environ.get("PIP_DEFAULT_TIMEOUT") if key == "timeout" else ""
        )
        if value:
            found[key] = value
    lines = [f"{key} = {_indented(value)}" for key, value in sorted(found.items())]
    return "\n".join(["[global]", *lines, ""])


def _indented(value: str) -> str:
    """Return a value of several lines so that a configuration parser reads it as one."""
    return "\n    ".join(value.split())


def pip_files(environ: Mapping[str, str]) -> list[Path]:
    """Return pip's configuration files, the weakest first."""
    home = Path(environ.get("HOME", "/root"))
    files = [
        Path("/etc/pip.conf"),
        home / ".pip" / "pip.conf",
        Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf",
    ]
    own = environ.get("PIP_CONFIG_FILE")
    return [*files, Path(own)] if own else files


def bundle(environ: Mapping[str, str]) -> Path | None:
    """Return the certificates that this machine trusts instead of the usual ones, if it says so."""
    named = (Path(environ[name]) for name in _BUNDLES if environ.get(name))
    return next((path for path in named if path.is_file()), None)


def torch_wheels(environ: Mapping[str, str] | None = None) -> Path | None:
    """Return the folder with a CPU build of torch: NEXUS_WHEELS, or one beside the checkout."""
    environ = os.environ if environ is None else environ
    folder = Path(environ.get("NEXUS_WHEELS") or _CHECKOUT.parent / "shared" / "wheels")
    return folder if any(folder.glob("torch-*+cpu-*.whl")) else None


def mounts(folder: Path, environ: Mapping[str, str] | None = None) -> dict[str, Path]:
    """Write what a build needs into a folder; return files by the path they appear at in a build.

    The folder holds whatever credentials an index address carries: it is the caller's to remove.
    """
    environ = os.environ if environ is None else environ
    sources, pip = folder / "sources.list", folder / "pip.conf"
    for file in (sources, pip):
        file.touch(mode=0o600)
    sources.write_text(mirrors().sources())
    pip.write_text(pip_configuration(environ, pip_files(environ)))
    found = {"/etc/apt/sources.list": sources, "/etc/pip.conf": pip}
    trusted = bundle(environ)
    return found | {BUNDLE: trusted} if trusted else found
