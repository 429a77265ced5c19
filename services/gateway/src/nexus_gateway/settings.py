"""What the gateway is told by its environment; every option is a flag and a variable."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nexus_api.access import access


class SettingsError(Exception):
    """A setting is missing or cannot be read; the message names the variable."""


@dataclass(frozen=True)
class Settings:
    """The gateway's settings.  Sizes in bytes, times in seconds."""

    bucket_url: str
    ledger_url: str
    milvus_uri: str
    embedder_url: str
    control_url: str
    control_token_file: Path | None = None
    control_ca_file: Path | None = None
    api_keys_file: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    log_level: str = "INFO"
    allowed_hosts: frozenset[str] = frozenset()
    max_upload_bytes: int = 256 * 1024 * 1024
    max_body_bytes: int = 8 * 1024 * 1024
    max_in_flight: int = 256
    request_timeout: float = 300.0
    retrieval_threads: int = 8
    drain_seconds: float = 0.0
    grace_seconds: int = 20
    alert_hook: int = 0
    notices_token_file: Path | None = None
    work_url: str = ""

    @property
    def loopback(self) -> bool:
        """Whether the gateway can be reached from its own machine only."""
        return self.host in {"127.0.0.1", "::1", "localhost"}


def parse(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> Settings:
    """Read settings from flags, then the environment, then defaults.

    Raises SettingsError naming the variable; a wrong flag ends the process with usage (2).
    """
    env = os.environ if environ is None else environ
    parser = _parser(env)
    given = parser.parse_args(argv)
    control_url, token_file, ca_file = access(
        given.control_url, given.control_token_file, given.control_ca_file, env
    )
    missing = [
        f"NEXUS_{name.upper()}"
        for name in ("bucket_url", "ledger_url", "milvus_uri", "embedder_url")
        if not getattr(given, name)
    ]
    if not control_url:
        missing.append("NEXUS_CONTROL_URL")
    if missing:
        raise SettingsError(f"the gateway needs {', '.join(missing)}: set them or give the flags")
    return Settings(
        bucket_url=given.bucket_url,
        ledger_url=given.ledger_url,
        milvus_uri=given.milvus_uri,
        embedder_url=given.embedder_url.rstrip("/"),
        control_url=control_url.rstrip("/"),
        control_token_file=token_file,
        control_ca_file=ca_file,
        api_keys_file=Path(given.api_keys_file) if given.api_keys_file else None,
        host=given.host,
        port=given.port,
        log_level=given.log_level.upper(),
        allowed_hosts=frozenset(h.strip().lower() for h in given.allowed_hosts.split(",") if h),
        max_upload_bytes=given.max_upload_bytes,
        max_body_bytes=given.max_body_bytes,
        max_in_flight=given.max_in_flight,
        request_timeout=given.request_timeout,
        retrieval_threads=given.retrieval_threads,
        drain_seconds=given.drain_seconds,
        grace_seconds=given.grace_seconds,
        alert_hook=given.alert_hook,
        notices_token_file=Path(given.notices_token_file) if given.notices_token_file else None,
        work_url=given.work_url,
    )


def _parser(env: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nexus-gateway", description="OpenAI-compatible RAG gateway of LLMOps Nexus."
    )

    def option(name: str, help_text: str, default: str | float = "") -> None:
        variable = f"NEXUS_{name.upper()}"
        kind = type(default)
        try:
            value = kind(env.get(variable) or default)
        except ValueError:
            raise SettingsError(f"{variable}={env[variable]!r} must be a {kind.__name__}") from None
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=kind, default=value, help=f"{help_text} [{variable}]")

    option("host", "address to listen on", Settings.host)
    option("port", "port to listen on", Settings.port)
    option("log_level", "DEBUG, INFO, WARNING or ERROR", Settings.log_level)
    option("bucket_url", "where documents are kept (file:///directory)")
    option("ledger_url", "the ledger's database")
    option("milvus_uri", "the vector store")
    option("work_url", "where reports of evaluations are kept; without it none are shown")
    option("embedder_url", "the embedding server")
    option("control_url", "the Kubernetes API, or the laptop's; in a pod it is found by itself")
    option("control_token_file", "bearer token for it (plain, or a JSON object with `token`)")
    option("control_ca_file", "its certificate authority, for https")
    option("api_keys_file", "API keys; without it nobody needs a key")
    option("allowed_hosts", "further Host names accepted on loopback, comma-separated")
    option("max_upload_bytes", "largest upload request", Settings.max_upload_bytes)
    option("max_body_bytes", "largest JSON body", Settings.max_body_bytes)
    option("max_in_flight", "requests in work for one model before 429", Settings.max_in_flight)
    option("request_timeout", "seconds for one request", Settings.request_timeout)
    option("retrieval_threads", "searches at a time", Settings.retrieval_threads)
    option(
        "drain_seconds",
        "seconds after SIGTERM in which requests are still taken, while /readyz says no",
        Settings.drain_seconds,
    )
    option("grace_seconds", "seconds then left to answers under way", Settings.grace_seconds)
    option("alert_hook", "1 to take alerts at /hooks/alerts", Settings.alert_hook)
    option("notices_token_file", "token of whoever posts notices of the bucket to /hooks/notices")
    return parser
