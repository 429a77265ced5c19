"""The command as a pod runs it, beside a scripted vLLM."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
from ports import free_port
from safetensors.numpy import save_file

from nexus_api.adapter_loading import AdaptersToLoad, AdapterToLoad, LoadedAdapters, version_name
from nexus_api.release import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_digest
from nexus_models.files import sha256_of


def released(folder: Path, number: float) -> tuple[str, str]:
    """Write an adapter; return its address and digest."""
    folder.mkdir()
    pair = {f"a.lora_{side}.weight": np.full((1, 1), number) for side in "AB"}
    save_file(pair, folder / ADAPTER_WEIGHTS)
    (folder / ADAPTER_CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 1}))
    files = {name: sha256_of(folder / name) for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS)}
    return folder.as_uri(), adapter_digest(files)


@contextmanager
def running(folder: Path, vllm: Any, wanted: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    port = free_port()
    command = [
        sys.executable, "-m", "nexus_pipelines.cli", "load-adapters", "--wanted", str(wanted),
        "--weights", str(folder / "served" / "base"), "--room", "8",
        "--server", vllm.url, "--host", "127.0.0.1", "--port", str(port), "--grace", "0",
    ]  # fmt: skip
    environment = {**os.environ, "NEXUS_MODEL_CACHE": str(folder / "cache")}
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.kill()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def told(url: str) -> LoadedAdapters | None:
    try:
        with urlopen(f"{url}/adapters", timeout=5) as answer:
            return LoadedAdapters.model_validate_json(answer.read())
    except URLError:
        return None


def tell(folder: Path, number: int) -> str:
    """Have the file name one version; return its name."""
    uri, digest = released(folder / f"v{number}", number)
    name = version_name("polite", uri, digest)
    to = str(folder / "served" / str(number))
    adapter = AdapterToLoad(name=name, uri=uri, digest=digest, folder=to, needed=True)
    (folder / "draft").write_text(AdaptersToLoad(adapters=[adapter]).text())
    (folder / "draft").replace(folder / "adapters.json")
    return name


def test_it_loads_what_the_file_names_and_ends_when_told(vllm: Any, tmp_path: Path) -> None:
    with running(tmp_path, vllm, tmp_path / "adapters.json") as (url, process):
        for number in (1, 2):
            name = tell(tmp_path, number)
            until(lambda name=name: (found := told(url)) is not None and found.loaded == [name])
            assert vllm.loaded == {name: str(tmp_path / "served" / str(number))}
            assert (tmp_path / "served" / str(number) / ADAPTER_WEIGHTS).is_file()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
