"""Go for a machine that has none: what is fetched is what was pinned, and can be run."""

import hashlib
import io
import zipfile
from pathlib import Path

import go_toolchain
import pytest

ROOT = f"golang.org/toolchain@v0.0.1-go{go_toolchain.VERSION}.linux-amd64"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What a proxy answers with."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as files:
        files.writestr(f"{ROOT}/bin/go", "#!/bin/sh\n")
        files.writestr(f"{ROOT}/pkg/tool/linux_amd64/link", "#!/bin/sh\n")
        files.writestr(f"{ROOT}/src/fmt/print.go", "package fmt\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(go_toolchain, "_fetched", made.getvalue)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    return made.getvalue()


def test_the_pinned_archive_is_unpacked_and_its_programs_run(
    archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(go_toolchain, "SHA256", hashlib.sha256(archive).hexdigest())
    tree = go_toolchain.folder().parent
    modes = {path.name: path.stat().st_mode & 0o111 for path in tree.rglob("*") if path.is_file()}
    assert modes == {"go": 0o111, "link": 0o111, "print.go": 0}


def test_another_archive_is_refused_and_nothing_is_kept(archive: bytes, tmp_path: Path) -> None:
    with pytest.raises(go_toolchain.GoMissing, match="SHA-256"):
        go_toolchain.folder()
    assert not [path for path in tmp_path.rglob("*") if path.name == "go"]


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("", "https://proxy.golang.org"),
        ("direct", "https://proxy.golang.org"),
        ("https://mirror.example/go/,direct", "https://mirror.example/go"),
        ("off|https://mirror.example", "https://mirror.example"),
    ],
)
def test_the_first_proxy_is_asked(said: str, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOPROXY", said)
    assert go_toolchain._proxy() == asked
