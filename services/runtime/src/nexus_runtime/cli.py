"""`nexus-runtime-llamacpp`: serve one GGUF model by llama.cpp, OpenAI's routes included."""

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from nexus_api.metrics_relay import relaying
from nexus_api.uri import BadUri
from nexus_models import ModelError
from nexus_runtime.errors import LlamaRuntimeError
from nexus_runtime.gguf_file import read_head
from nexus_runtime.requantize import WeightType
from nexus_runtime.server import answer_first, drain, refuse_taken_port, start
from nexus_runtime.settings import LlamaSettings, context_for
from nexus_runtime.weights import adapter_for, gguf_for

AS_IS = "asIs"
GRACE = 20.0  # seconds that answers being written get after SIGTERM

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_log = logging.getLogger("nexus_runtime")


@dataclass(frozen=True)
class Options:
    """The command line, read; `weights` None leaves the file as it is."""

    model_uri: str
    revision: str
    weights: WeightType | None
    served_name: str
    context_tokens: int
    slots: int
    threads: int
    cache: Path
    host: str
    port: int
    adapter_uri: str = ""
    adapter_digest: str = ""
    answers_port: int = 0
    metrics_port: int = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; 0 is a clean end, 1 a failure, 2 wrong usage.

    A signal before the model is served ends it at once, with 128 and the signal's number.
    """
    options = read_options(arguments, os.environ)
    level = os.environ.get("NEXUS_LOG_LEVEL", "INFO").upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for chatty in ("httpx", "httpcore", "huggingface_hub", "filelock"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    stop = threading.Event()
    for number in _SIGNALS:
        signal.signal(number, _leave)  # nothing is served yet: a download may take an hour
    try:
        return _serve(options, stop, verbose=level == "DEBUG")
    except (ModelError, LlamaRuntimeError, BadUri) as error:
        sys.stderr.write(f"nexus-runtime-llamacpp: {error}\n")
        return 1


def read_options(arguments: Sequence[str] | None, environ: Mapping[str, str]) -> Options:
    """Read flags; what is not given comes from the NEXUS_* environment."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(prog="nexus-runtime-llamacpp", description=__doc__)
    parser.add_argument("--model-uri", required=True)
    parser.add_argument("--revision", default="", help="of a hf:// model")
    parser.add_argument(
        "--quantization", choices=(AS_IS, *WeightType), default=AS_IS, help=f"default: {AS_IS}"
    )
    parser.add_argument("--adapter-uri", default="", help="LoRA adapter in GGUF: folder or file")
    parser.add_argument("--adapter-digest", default="", help="refuse another adapter than this")
    parser.add_argument("--served-name", required=True, help="the name that callers use")
    parser.add_argument("--context-tokens", type=int, default=4096, help="for each slot")
    parser.add_argument("--slots", type=int, default=1, help="requests side by side")
    parser.add_argument("--threads", type=int, default=cores, help=f"default: {cores}")
    parser.add_argument(
        "--cache", type=Path, default=environ.get("NEXUS_MODEL_CACHE"), help="NEXUS_MODEL_CACHE"
    )
    parser.add_argument("--host", default=environ.get("NEXUS_HOST", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=environ.get("NEXUS_PORT", "8080"))
    parser.add_argument(
        "--answers-port", type=int, default=environ.get("NEXUS_PORT_ANSWERS", "0"),
        help="listened on once the model has answered a first question; 0: none",
    )  # fmt: skip
    parser.add_argument(
        "--metrics-port", type=int, default=environ.get("NEXUS_PORT_METRICS", "0"),
        help="tells /metrics, and answers nothing else; 0: none",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    if given.cache is None:
        parser.error("--cache or NEXUS_MODEL_CACHE must name the directory for model files")
    for flag in ("slots", "threads"):
        if getattr(given, flag) < 1:
            parser.error(f"--{flag} must be at least 1")
    if given.adapter_digest and not given.adapter_uri:
        parser.error("--adapter-digest goes with --adapter-uri")
    return Options(
        model_uri=given.model_uri,
        revision=given.revision,
        weights=None if given.quantization == AS_IS else WeightType(given.quantization),
        served_name=given.served_name,
        context_tokens=given.context_tokens,
        slots=given.slots,
        threads=given.threads,
        cache=given.cache,
        host=given.host,
        port=given.port,
        adapter_uri=given.adapter_uri,
        adapter_digest=given.adapter_digest,
        answers_port=given.answers_port,
        metrics_port=given.metrics_port,
    )


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _serve(options: Options, stop: threading.Event, *, verbose: bool) -> int:
    model = gguf_for(
        options.model_uri, options.weights, cache=options.cache, revision=options.revision
    )
    context = context_for(read_head(model), options.context_tokens, name=options.model_uri)
    if context < options.context_tokens:
        _log.warning("the model reads %d tokens, not %d", context, options.context_tokens)
    adapter = None
    if options.adapter_uri:
        adapter = adapter_for(
            options.adapter_uri, model, cache=options.cache, digest=options.adapter_digest
        )
    settings = LlamaSettings(
        model=model, name=options.served_name, context=context, slots=options.slots,
        threads=options.threads, host=options.host, port=options.port, verbose=verbose,
        adapter=adapter,
    )  # fmt: skip
    for port in filter(None, (options.answers_port, options.metrics_port)):
        refuse_taken_port(options.host, port)
    server = start(settings)
    try:
        answer_first(str(server.listening_address), settings)
    except SystemExit:
        stop.set()  # what somebody has begun already is finished all the same
    except LlamaRuntimeError as error:
        sys.stderr.write(f"nexus-runtime-llamacpp: {error}\n")
        _end(1)
    for number in _SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    with _metrics(options), _listening(options.host, options.answers_port):
        _log.info(
            "%s is ready: %s, %d slots of %d tokens, %d threads",
            options.served_name, model.name, options.slots, context, options.threads,
        )  # fmt: skip
        stop.wait()
    if not drain(str(server.listening_address), deadline=GRACE):
        _log.warning("answers were still being written after %.0f s; they are cut off", GRACE)
    _end(0)


def _listening(host: str, port: int) -> AbstractContextManager[object]:
    """Listen, and say nothing: a startup probe wants no more than its connection.  0: do not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family) if port else nullcontext()


def _metrics(options: Options) -> AbstractContextManager[object]:
    """Tell /metrics on a port of its own: who may read them may not ask the model."""
    if not options.metrics_port:
        return nullcontext()
    return relaying(options.port, options.host, options.metrics_port)


def _end(status: int) -> NoReturn:
    """End here: llama.cpp's own threads may wait on open connections; nothing is to be saved."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
