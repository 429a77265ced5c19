"""The client of the embedding server against scripted answers."""

import base64
import json
from collections.abc import Callable

import httpx
import numpy as np
import pytest

from nexus_knowledge.embedding import EmbedderClient
from nexus_knowledge.errors import EmbedderUnavailable, EmbeddingError


def vectors_of(request: httpx.Request) -> httpx.Response:
    texts = json.loads(request.content)["input"]
    rows = [
        {
            "index": n,
            "embedding": base64.b64encode(np.array([len(t), n], dtype="<f4").tobytes()).decode(),
        }
        for n, t in enumerate(texts)
    ]
    return httpx.Response(200, json={"data": rows[::-1]})


def client(
    answer: Callable[[httpx.Request], httpx.Response], *, batch: int = 2
) -> tuple[EmbedderClient, list[float]]:
    slept: list[float] = []
    made = EmbedderClient(
        "http://embedder",
        batch=batch,
        sleep=slept.append,
        transport=httpx.MockTransport(answer),
    )
    return made, slept


def test_vectors_come_in_the_order_of_the_texts() -> None:
    embedder, slept = client(vectors_of)
    with embedder:
        vectors = embedder.embed(["a", "bb", "ccc"])
        prefixed = embedder.embed(["a"], prefix="query: ")
        empty = embedder.embed([])
    assert vectors.tolist() == [[1, 0], [2, 1], [3, 0]]
    assert vectors.dtype == np.float32
    assert prefixed.tolist() == [[8, 0]]
    assert len(empty) == 0
    assert slept == []


def test_the_model_of_a_call_is_what_the_embedder_checks() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content)["model"])
        return vectors_of(request)

    embedder, _ = client(answer)
    embedder.embed(["a"])
    embedder.embed(["a"], model="pkg://one")
    assert asked == ["", "pkg://one"]


def test_a_busy_embedder_is_asked_again() -> None:
    answers = [
        lambda _: httpx.Response(503, json={"error": {"message": "full"}}),
        lambda _: (_ for _ in ()).throw(httpx.ConnectError("refused")),
        vectors_of,
    ]
    embedder, slept = client(lambda request: answers.pop(0)(request))  # noqa: PLW0108 - popped at each call
    assert embedder.embed(["a"]).tolist() == [[1, 0]]
    assert len(slept) == 2
    assert 0.1 <= slept[0] <= 0.3, "a first pause of .2 s, give or take half of it"
    assert 0.2 <= slept[1] <= 0.6, "twice as long"


def test_an_embedder_that_stays_away_is_named() -> None:
    embedder, slept = client(lambda _: httpx.Response(503, json={"error": {"message": "full"}}))
    with pytest.raises(EmbedderUnavailable, match=r"http://embedder.*503: full") as caught:
        embedder.embed(["a"])
    assert caught.value.transient
    assert len(slept) == 3


def test_a_refusal_is_final_and_says_why() -> None:
    embedder, slept = client(
        lambda _: httpx.Response(400, json={"error": {"message": "text 0 has 300 tokens"}})
    )
    with pytest.raises(EmbeddingError, match="text 0 has 300 tokens") as caught:
        embedder.embed(["a"])
    assert not caught.value.transient
    assert slept == []


@pytest.mark.parametrize(
    "body", [{}, {"data": [{"index": 0}]}, {"data": [{"index": 0, "embedding": "!"}]}, {"data": []}]
)
def test_a_malformed_answer_is_an_error(body: dict[str, object]) -> None:
    embedder, _ = client(lambda _: httpx.Response(200, json=body))
    with pytest.raises(EmbeddingError):
        embedder.embed(["a"])
    too_many, _ = client(
        lambda _: vectors_of(httpx.Request("POST", "/", json={"input": ["a", "b"]}))
    )
    with pytest.raises(EmbeddingError, match="2 vectors for 1 texts"):
        too_many.embed(["a"])
