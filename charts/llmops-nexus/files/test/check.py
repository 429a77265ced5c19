# ruff: noqa: INP001 - sent to a pod as text, in no package
"""What `helm test` asks of a running platform; any failure ends with exit code 1."""

import json
import os
import urllib.request
from typing import Any

GATEWAY = "http://nexus-gateway"
EMBEDDER = "http://nexus-embedder"


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    headers = {"content-type": "application/json"}
    if key := os.environ.get("NEXUS_API_KEY"):
        headers["authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310 - http to our own
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - as above
        return json.load(answer)


print("gateway:", ask(f"{GATEWAY}/readyz")["status"])  # noqa: T201 - the log of the test
print("models:", [model["id"] for model in ask(f"{GATEWAY}/v1/models")["data"]])  # noqa: T201
name = ask(f"{EMBEDDER}/v1/models")["data"][0]["id"]
vectors = ask(f"{EMBEDDER}/v1/embeddings", {"model": name, "input": ["ready?"]})["data"]
print("embedder:", name, len(vectors[0]["embedding"]), "dimensions")  # noqa: T201
