"""The real embedder, with the model that it serves by default, as a process of its own."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from children import Child, answers
from ports import HOST, free_port

_SECONDS = 240  # a first run on a machine fetches the model


@contextmanager
def embedder_process(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Start it; yields its address, and what waits until it answers there."""
    url = f"http://{HOST}:{(port := free_port())}"
    cache = os.environ.get("NEXUS_TEST_MODEL_CACHE", Path.home() / ".cache/llmops-nexus/models")
    embedder = Child(
        [sys.executable, "-m", "nexus_embedder.cli", "--port", str(port)],
        log=folder / "embedder.log",
        ready=lambda: answers(f"{url}/readyz"),
        environment={**os.environ, "NEXUS_MODEL_CACHE": str(cache)},
        seconds=_SECONDS,
    )
    embedder.begin()
    try:
        yield url, embedder.wait_ready
    finally:
        embedder.stop()
