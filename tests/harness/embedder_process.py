"""The real embedder, with the model that it serves by default, as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from ports import HOST, free_port
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

_SECONDS = 240  # a first run on a machine fetches the model


class _NotReady(Exception):
    pass


@contextmanager
def embedder_process() -> Iterator[tuple[str, Callable[[], None]]]:
    """Start it; yields its address, and what waits until it answers there."""
    url = f"http://{HOST}:{(port := free_port())}"
    cache = os.environ.get("NEXUS_TEST_MODEL_CACHE", Path.home() / ".cache/llmops-nexus/models")
    process = subprocess.Popen(
        [sys.executable, "-m", "nexus_embedder.cli", "--port", str(port)],
        env={**os.environ, "NEXUS_MODEL_CACHE": str(cache)},
        stderr=subprocess.DEVNULL,
    )

    @retry(
        retry=retry_if_exception_type((httpx.HTTPError, _NotReady)),
        stop=stop_after_delay(_SECONDS),
        wait=wait_fixed(0.05),
        reraise=True,
    )
    def ready() -> None:
        assert process.poll() is None, f"the embedder ended ({process.returncode})"
        if httpx.get(f"{url}/readyz").status_code != httpx.codes.OK:
            raise _NotReady

    try:
        yield url, ready
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
