"""`nexus-gateway-triton`: asks one Triton server as the gateway does, for a program beside it.

The evaluation of a fine-tuning job starts it beside the server that it has started: candidate and
production are then spoken to by the very code that speaks to what serves.  It asks for no key and
listens on loopback alone, once the model has answered.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence

import uvicorn

from nexus_gateway.bridge.app import Bridge
from nexus_gateway.bridge.opening import Lost, Refused, opened
from nexus_gateway.engines.triton.upstream import Triton, TritonUpstream
from nexus_gateway.upstream.pool import Target

EXIT_REFUSED = 1
EXIT_LOST = 75
_END_SECONDS = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM.  Returns 1 when the model answers nobody, 75 when another try may do."""
    args = _parser().parse_args(argv)
    try:
        return asyncio.run(_serve(args))
    except (Refused, Lost) as error:
        sys.stderr.write(f"nexus-gateway-triton: {error}\n")
        return EXIT_REFUSED if isinstance(error, Refused) else EXIT_LOST


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nexus-gateway-triton", description=__doc__)
    parser.add_argument("--url", required=True, type=Target.of, help="grpc://host:port of Triton")
    parser.add_argument("--model", required=True, help="name in Triton's repository")
    parser.add_argument("--adapter", action="append", default=[], help="LoRA adapter of the model")
    parser.add_argument("--port", required=True, type=int, help="of loopback, to listen on")
    return parser


async def _serve(args: argparse.Namespace) -> int:
    servers = Triton()
    try:
        served = _served(servers, args)
        await opened(servers, served.values())
        server = uvicorn.Server(
            uvicorn.Config(
                Bridge(servers, served),
                host="127.0.0.1",
                port=args.port,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_END_SECONDS,
                ws="none",
                lifespan="off",
            )
        )
        await server.serve()
        return 0 if server.started else EXIT_REFUSED
    finally:
        await servers.close()


def _served(servers: Triton, args: argparse.Namespace) -> Mapping[str, TritonUpstream]:
    upstreams = [
        servers.upstream(args.url.origin, args.model, adapter) for adapter in ("", *args.adapter)
    ]
    return {upstream.name: upstream for upstream in upstreams}


if __name__ == "__main__":
    sys.exit(main())
