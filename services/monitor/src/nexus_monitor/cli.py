"""`nexus-monitor`: looks again and again, and shows what it found at /metrics."""

import logging
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

from nexus_monitor.errors import MonitorError, SettingsError
from nexus_monitor.settings import Settings, parse

LOG = logging.getLogger(__name__)
_BATCH = 16  # texts that the embedder gets at once: somebody's question waits behind them
AGAIN = timedelta(seconds=30)
"""How soon after a look that failed: a neighbour may just be starting."""


def main(argv: Sequence[str] | None = None) -> int:
    """Look until SIGTERM or Ctrl-C, or once.

    Returns 2 for wrong settings, 1 when the one look of `--once` failed.
    """
    try:
        settings = parse(sys.argv[1:] if argv is None else argv)
    except SettingsError as error:
        sys.stderr.write(f"nexus-monitor: {error}\n")
        return 2
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return run(settings, stop)


def run(settings: Settings, stop: threading.Event) -> int:
    """Look until ``stop`` is set; returns 1 when the one look of `--once` failed."""
    from nexus_knowledge.embedding import EmbedderClient
    from nexus_knowledge.errors import KnowledgeError
    from nexus_knowledge.ledger import Ledger
    from nexus_knowledge.objects import open_store
    from nexus_monitor.control import Control
    from nexus_monitor.look import Monitor
    from nexus_monitor.metrics import Metrics
    from nexus_monitor.serving import served

    metrics = Metrics()
    wrong = "the first look has not ended yet"
    with ExitStack() as opened:
        if not settings.once:
            opened.enter_context(
                served(settings.host, settings.port, metrics.registry, lambda: wrong)
            )
        embedder = settings.embedder_url
        monitor = Monitor(
            ledger=opened.enter_context(Ledger(settings.ledger_url)),
            api=opened.enter_context(
                Control(
                    settings.control_url,
                    token_file=settings.control_token_file,
                    ca_file=settings.control_ca_file,
                )
            ),
            work=open_store(settings.work_url),
            metrics=metrics,
            embed=opened.enter_context(EmbedderClient(embedder, batch=_BATCH)).embed
            if embedder
            else None,
            bands=settings.bands,
            length=settings.window,
            least_supported=settings.support_least,
        )
        while True:
            try:
                monitor.look(datetime.now(UTC))
            except (MonitorError, KnowledgeError) as error:
                LOG.error("this look failed, the next one begins anew: %s", error)  # noqa: TRY400 - one line for a neighbour that is away
                metrics.looks.labels("failed").inc()
                failed, wrong = True, "the last look failed: the log says why"
            else:
                metrics.looks.labels("done").inc()
                metrics.last_look.set_to_current_time()
                failed, wrong = False, ""
            pause = min(settings.interval, AGAIN) if failed else settings.interval
            if settings.once or stop.wait(pause.total_seconds()):
                return int(failed and settings.once)


if __name__ == "__main__":
    sys.exit(main())
