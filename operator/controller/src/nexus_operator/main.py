"""The operator's index: what happens when, on a real Kubernetes.

kopf watches ServingModels and FineTuneJobs and calls the handlers below.  Each only names what
changed; creation, update, restart, deletion and the passing of time all end in one level-triggered
reconcile a kind (`nexus_operator.reconcile`), whose queue drops what is doubled.  RagIndexes, which
come by thousands, are watched beside (docs/adr/0023), and so are all children, with a label
selector, into a view that also knows what vanished (docs/adr/0013).  The Lease says which of
several operators runs at all (`nexus_operator.process.operator`).
"""

import asyncio
import itertools
import logging
import signal
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import kopf
import uvloop

from nexus_api.meta import GROUP, VERSION
from nexus_operator.cluster.connection import ConnectionInvalid, connect
from nexus_operator.cluster.protocol import WatchEvent
from nexus_operator.process.health import HealthServer
from nexus_operator.process.kopf_parts import NoDiffs, NoProgress, kopf_connection
from nexus_operator.process.logs import configure_logs
from nexus_operator.process.operator import Operator
from nexus_operator.process.options import Options, parse_options
from nexus_operator.reconcile.controller import retry_delay

log = logging.getLogger(__name__)


@kopf.on.startup()
async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Have kopf write nothing, time out, and keep little of what it saw."""
    settings.persistence.diffbase_storage = NoDiffs()
    settings.persistence.progress_storage = NoProgress()
    settings.posting.enabled = False
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 60
    settings.watching.server_timeout = 300
    settings.watching.chunk_size = 500
    settings.queueing.idle_timeout = 0.5


@kopf.on.login()
async def log_in(memo: Operator, **_: Any) -> kopf.ConnectionInfo:
    """Speak to the API server as the rest of the process does; asked again before a token ends."""
    return kopf_connection(memo.connection)


@kopf.on.event(GROUP, VERSION, "servingmodels")
async def serving_model(memo: Operator, event: kopf.RawEvent, **_: Any) -> None:
    """Run a model behind a Service, one Deployment for each revision."""
    memo.hint("ServingModel", _event(event))


@kopf.on.event(GROUP, VERSION, "finetunejobs")
async def fine_tune_job(memo: Operator, event: kopf.RawEvent, **_: Any) -> None:
    """Run fine-tuning when something asks for it, and move the champion when somebody does."""
    memo.hint("FineTuneJob", _event(event))


def _event(raw: kopf.RawEvent) -> WatchEvent:
    """Return kopf's event as ours; what it listed first has no type there."""
    return WatchEvent(raw["type"] or "ADDED", dict(raw["object"]))


async def run(options: Options) -> None:
    """Run the operator until SIGTERM or SIGINT.  Raises ConnectionInvalid."""
    operator = Operator(options, connect(kubeconfig=options.kubeconfig))
    stop = asyncio.Event()
    _heed_signals(stop)
    health = HealthServer(options.port, healthy=operator.unhealthy, ready=operator.unready)
    async with health:
        log.info("health and metrics on port %d", health.port)
        await operator.run(partial(_frame, stop), stop)


async def _frame(stop: asyncio.Event, operator: Operator, halt: asyncio.Event) -> None:
    """Run kopf until `halt` is set, anew when it trips over an answer of the API server."""
    for failures in itertools.count(1):
        try:
            await _run_kopf(stop, operator, halt)
        except Exception:  # kopf ends at what our own watches survive
            if halt.is_set():
                return
            log.exception("kopf ended and is started again")
            await asyncio.sleep(retry_delay(failures).total_seconds())
        else:
            return


async def _run_kopf(stop: asyncio.Event, operator: Operator, halt: asyncio.Event) -> None:
    """Run kopf; signals stay ours, since the Lease goes first at a stop."""
    namespaces = operator.settings.watch_namespaces
    ready = asyncio.Event()

    async def heed() -> None:
        await ready.wait()
        operator.framed = True
        _heed_signals(stop)

    heeding = asyncio.create_task(heed())
    try:
        await kopf.operator(
            clusterwide=not namespaces,
            namespaces=namespaces,
            standalone=True,
            ready_flag=ready,
            stop_flag=halt,
            memo=operator,
            # Else kopf asks for the user's name, and the user of a container has none.
            identity=cast("Any", "nexus-operator"),
        )
    finally:
        heeding.cancel()
        operator.framed = False
        _heed_signals(stop)


def _heed_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as a process."""
    options = parse_options(arguments)
    configure_logs(options.log_level, options.log_format)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(options))
    except ConnectionInvalid as problem:
        sys.exit(f"nexus-operator: {problem}")
