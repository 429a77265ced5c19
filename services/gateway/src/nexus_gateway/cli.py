"""`nexus-gateway`: the server."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from nexus_gateway.settings import SettingsError, parse


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C.  Returns 2 for wrong settings."""
    try:
        settings = parse(sys.argv[1:] if argv is None else argv)
    except SettingsError as error:
        sys.stderr.write(f"nexus-gateway: {error}\n")
        return 2
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    import uvicorn

    from nexus_gateway.app import Gateway
    from nexus_gateway.auth import KeysError
    from nexus_gateway.services import Services
    from nexus_gateway.serving import DrainingServer

    try:
        services = Services.build(settings)
    except (KeysError, ValueError) as error:
        sys.stderr.write(f"nexus-gateway: {error}\n")
        return 2
    server = DrainingServer(
        uvicorn.Config(
            Gateway(services),
            host=settings.host,
            port=settings.port,
            log_level=settings.log_level.lower(),
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=settings.grace_seconds,
            timeout_keep_alive=75,
            ws="none",
            lifespan="on",
        ),
        services,
        drain_seconds=settings.drain_seconds,
    )
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
