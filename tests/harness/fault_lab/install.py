"""Our kinds and Argo's on an API server."""

import time
from collections.abc import Iterable
from pathlib import Path

import httpx

from fault_lab.kinds import ALL, argo_definitions

_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_PATIENCE_SECONDS = 180.0
_YAML = {"content-type": "application/yaml"}


def install_kinds(client: httpx.Client, definitions: Iterable[Path]) -> None:
    """Install the definitions and wait until every kind is served; what is there stays."""
    for path in definitions:
        answer = client.post(_DEFINITIONS, content=path.read_bytes(), headers=_YAML)
        _check(answer)
    for definition in argo_definitions():
        _check(client.post(_DEFINITIONS, json=definition))
    deadline = time.monotonic() + _PATIENCE_SECONDS
    waiting = list(ALL)
    while waiting:
        waiting = [one for one in waiting if client.get(one.path()).status_code != httpx.codes.OK]
        if waiting and time.monotonic() > deadline:
            raise TimeoutError(f"not served: {', '.join(one.kind for one in waiting)}")
        time.sleep(0.05)


def _check(answer: httpx.Response) -> None:
    if answer.status_code not in {httpx.codes.CREATED, httpx.codes.CONFLICT}:
        raise RuntimeError(f"a definition was refused: {answer.text}")
