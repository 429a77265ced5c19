"""The llama.cpp runtime as a child process of a test."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from ports import free_port
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed


class NotReady(Exception):
    """It does not answer yet."""


def start(cache: Path, port: int, base: str, *flags: str) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-m", "nexus_runtime.cli", "--model-uri", base, "--served-name", "tiny",
        "--port", str(port), "--context-tokens", "512", "--threads", "1", *flags,
    ]  # fmt: skip
    environ = {**os.environ, "NEXUS_MODEL_CACHE": str(cache)}
    return subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)


@contextmanager
def serving(cache: Path, base: str, *flags: str) -> Iterator[str]:
    """Serve a model; gives the server's address."""
    port = free_port()
    process = start(cache, port, base, *flags)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_ready(process, url)
        yield url
    finally:
        process.kill()
        process.communicate()


@retry(
    retry=retry_if_exception_type((httpx.HTTPError, NotReady)),
    stop=stop_after_delay(240), wait=wait_fixed(0.05), reraise=True,
)  # fmt: skip
def _wait_ready(process: subprocess.Popen[str], url: str) -> None:
    if process.poll() is not None:
        assert process.stderr is not None
        raise AssertionError(process.stderr.read())
    if httpx.get(f"{url}/health").status_code != 200:
        raise NotReady
