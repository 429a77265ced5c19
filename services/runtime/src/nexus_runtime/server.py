"""The llama.cpp server, in this process."""

import json
import logging
import os
import socket
import time
import urllib.request
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nexus_api import first_answer
from nexus_runtime.errors import NotAnswered, StartFailed
from nexus_runtime.settings import PROMPT_BATCH, PROMPT_CACHE_MIB, LlamaSettings

if TYPE_CHECKING:
    import xllamacpp

SPIN_COUNT = "1000"
"""Turns that an idle thread spins before it sleeps.

OpenMP's own default spins for milliseconds.  When another process wants the same core, the thread
that has work then waits for one that only spins: 1.6 tokens a second instead of 20 on two busy
cores.  Sleeping at once costs half the speed on idle cores; this many turns cost nothing there.
"""

_POLL = 0.1  # seconds between looks at the slots while draining

_log = logging.getLogger(__name__)


def start(settings: LlamaSettings) -> "xllamacpp.Server":
    """Load the model and serve; the answer comes once /health says ok.

    Raises:
        StartFailed: the port is taken, or llama.cpp refused the model or the settings.
    """
    refuse_taken_port(settings.host, settings.port)
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # read once, when the library is loaded
    try:
        import xllamacpp
    except ImportError as error:
        raise StartFailed(
            f"llama.cpp cannot be loaded: {error}. On Debian and Ubuntu libgomp1 and libstdc++6 "
            "must be installed"
        ) from error
    try:
        parameters = _parameters(xllamacpp.CommonParams(), settings)
        if settings.adapter is not None:
            unused = xllamacpp.CommonAdapterLoraInfo(str(settings.adapter), 0.0)
            _add_adapter(parameters, unused)
        return xllamacpp.Server(parameters)
    except RuntimeError as error:
        raise StartFailed(f"{settings.model}: llama.cpp did not start: {error}") from error


def refuse_taken_port(host: str, port: int) -> None:
    """Raise StartFailed, which names the address, when something listens there already."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StartFailed(f"cannot listen on {host}:{port}: {error.strerror}") from error


def answer_first(address: str, settings: LlamaSettings) -> None:
    """Have the model answer a first question, and another one by its adapter.

    Raises:
        NotAnswered: there was no answer, or one without text or numbers, each time.
    """
    server = urlsplit(address)
    post = first_answer.poster(server.hostname or settings.host, server.port or settings.port)
    questions: list[tuple[str, dict[str, Any]]] = [(str(settings.model), {})]
    if settings.adapter is not None:
        off, on = ({"lora": [{"id": 0, "scale": scale}]} for scale in (0.0, 1.0))
        questions = [(str(settings.model), off), (f"adapter {settings.adapter}", on)]
    for what, extra in questions:
        # What a question leaves in the caches is no more than any other one leaves there.
        told = {"cache_prompt": False, **extra}
        if found := first_answer.final_fault(
            partial(first_answer.fault, post, settings.name, told)
        ):
            raise NotAnswered(f"{what}: the first question was not answered: {found}")


def drain(address: str, *, deadline: float) -> bool:
    """Wait until no slot is working; False when the deadline (seconds) came first."""
    give_up = time.monotonic() + deadline
    while time.monotonic() < give_up:
        if not _working(address):
            return True
        time.sleep(_POLL)
    return False


def _working(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/slots", timeout=5) as answer:  # noqa: S310  http only
            return any(slot.get("is_processing") for slot in json.load(answer))
    except (OSError, ValueError) as error:
        _log.warning("the slots cannot be asked, so nothing is waited for: %s", error)
        return False


def _parameters(params: Any, settings: LlamaSettings) -> Any:
    params.model.path = str(settings.model)
    params.model_alias = {settings.name}
    params.hostnames = [settings.host]
    params.port = settings.port
    params.n_parallel = settings.slots
    params.n_ctx = settings.context * settings.slots
    params.n_batch = params.n_ubatch = PROMPT_BATCH
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
    params.cache_prompt = True
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.cont_batching = True
    params.n_gpu_layers = 0
    params.fit_params = False
    params.ui = False
    params.cors_origins = ""
    params.endpoint_metrics = True
    params.endpoint_slots = True
    params.verbosity = 3 if settings.verbose else 1
    return params


def _add_adapter(params: Any, adapter: Any) -> None:
    """Load an adapter that counts only for requests that say so.

    llama.cpp takes the prompt of an earlier request from its caches whatever adapter computed it
    (https://github.com/ggml-org/llama.cpp/issues/26207), so beside an adapter there are none.
    """
    params.lora_adapters = [adapter]
    params.cache_prompt = False
    params.cache_ram_mib = 0
