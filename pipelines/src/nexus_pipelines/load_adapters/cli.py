"""`nexus-pipelines load-adapters`: runs beside a vLLM server for as long as the pod does."""

import argparse
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from pydantic import ValidationError

from nexus_api.adapter_loading import AdaptersToLoad, AdapterToLoad
from nexus_models import ModelFormat, fetch_adapter, place
from nexus_pipelines.environment import Environment
from nexus_pipelines.errors import StepError
from nexus_pipelines.load_adapters.core import GRACE_SECONDS
from nexus_pipelines.load_adapters.loader import Loader
from nexus_pipelines.load_adapters.report import answering
from nexus_pipelines.load_adapters.server import VllmServer
from nexus_pipelines.triton_repository.adapters import check_fits

LOOK_SECONDS = 1.0

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    parser.add_argument("--wanted", required=True, type=Path, help="file that names the adapters")
    parser.add_argument("--weights", required=True, type=Path, help="folder of the model's files")
    parser.add_argument("--room", required=True, type=int, help="largest rank that it has room for")
    parser.add_argument("--server", required=True, help="URL of the vLLM server")
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104 - a pod has its own address
    parser.add_argument("--port", type=int, default=8081, help="where it tells what is loaded")
    parser.add_argument(
        "--grace", type=float, default=GRACE_SECONDS, help="seconds that an old version stays"
    )


def run(args: argparse.Namespace) -> None:
    """Look each second until the kubelet says to end."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    loader = Loader(
        reader(args.wanted),
        fetcher(Environment().model_cache, args.weights, args.room),
        VllmServer(args.server),
        time.monotonic,
        grace=args.grace,
    )
    with answering(loader, args.host, args.port):
        while not stop.is_set():
            loader.step()
            stop.wait(LOOK_SECONDS)


def reader(file: Path) -> Callable[[], AdaptersToLoad | None]:
    """Return what reads the file; None, said once, when it cannot be understood."""
    said = ""

    def read() -> AdaptersToLoad | None:
        nonlocal said
        try:
            found = AdaptersToLoad.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            if str(error) != said:
                log.warning("%s: %s", file, error)
            said = str(error)
            return None
        said = ""
        return found

    return read


def fetcher(cache: Path, weights: Path, room: int) -> Callable[[AdapterToLoad], "Future[None]"]:
    """Return what fetches beside the loop; a fetch that hangs keeps no pod from ending.

    What comes is held against the model's `weights` and the `room` for ranks: vLLM itself takes an
    adapter of a smaller base, and answers nonsense by it.
    """

    def fetch(adapter: AdapterToLoad, done: "Future[None]") -> None:
        try:
            folder = Path(adapter.folder)
            if folder.parent != weights.parent:
                raise StepError(f"{folder} is no folder for adapters")  # noqa: TRY301 - as the rest
            files = fetch_adapter(
                adapter.uri, ModelFormat.SAFETENSORS, cache=cache, digest=adapter.digest
            )
            check_fits(files.dir, room, weights)
            place(files, folder)
        except Exception as error:  # noqa: BLE001 - handed on, to be told and tried again
            done.set_exception(error)
        else:
            done.set_result(None)

    def begin(adapter: AdapterToLoad) -> "Future[None]":
        done: Future[None] = Future()
        threading.Thread(target=fetch, args=(adapter, done), daemon=True).start()
        return done

    return begin
