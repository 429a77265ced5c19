"""Go for a machine that has none: `PATH=$PATH:$(python tests/cluster/go_toolchain.py)`.

Go's module proxies serve each release as a module too, https://go.dev/ref/mod#goproxy-protocol
(`golang.org/toolchain`), so whoever can fetch the sources of the test cluster can fetch this.
"""

import hashlib
import io
import os
import platform
import sys
import zipfile
from pathlib import Path

import httpx
from testcluster.cache import cached

VERSION = "1.26.8"
SHA256 = "30c2b1bf7dcc88d3eb0a1364e47ddd9128edb3110a30e8a0ef61cd5856b31de7"
"""Of the archive for Linux on x86-64; bin/go in it is that of https://go.dev/dl."""

_MODULE = f"golang.org/toolchain@v0.0.1-go{VERSION}.linux-amd64"
_PROGRAMS = ("bin/*", "pkg/tool/*/*")
_DEFAULT_PROXY = "https://proxy.golang.org"
_SECONDS = 120.0
_ATTEMPTS = 3


class GoMissing(RuntimeError):
    """Go was not to be had; says what to do."""


def folder() -> Path:
    """Return the folder with `go`, fetched once.  Raises GoMissing."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise GoMissing(f"install Go {VERSION} or newer from https://go.dev/dl")
    return cached(SHA256[:16], "go", _unpack) / "bin"


def _unpack(target: Path) -> None:
    archive = _fetched()
    if (found := hashlib.sha256(archive).hexdigest()) != SHA256:
        raise GoMissing(f"the archive of Go {VERSION} has SHA-256 {found}, not {SHA256}")
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        for name in files.namelist():
            path = target / name.removeprefix(f"{_MODULE}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files.read(name))
    for pattern in _PROGRAMS:  # an archive of a module keeps no modes
        for program in target.glob(pattern):
            program.chmod(0o755)


def _fetched() -> bytes:
    place, _, version = _MODULE.partition("@")
    url = f"{_proxy()}/{place}/@v/{version}.zip"
    transport = httpx.HTTPTransport(retries=_ATTEMPTS)
    with httpx.Client(timeout=_SECONDS, follow_redirects=True, transport=transport) as client:
        try:
            return client.get(url).raise_for_status().content
        except httpx.HTTPError as error:
            raise GoMissing(f"{url}: {error}; set GOPROXY to one that is in reach") from error


def _proxy() -> str:
    """Return the first proxy that Go would ask, https://go.dev/ref/mod#environment-variables."""
    asked = os.environ.get("GOPROXY", "").replace("|", ",").split(",")
    named = (one.rstrip("/") for one in asked if one not in ("", "direct", "off"))
    return next(named, _DEFAULT_PROXY)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{folder()}\n")
    except GoMissing as error:
        sys.exit(str(error))
