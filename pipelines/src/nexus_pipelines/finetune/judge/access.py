"""Which judge the platform has, as the environment says.

The administrator names it, not the job: a step runs beside the platform's stores, so an address
from a tenant's spec would let a tenant knock at them, and a key belongs to who pays for it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from nexus_evaluation.metrics import JUDGED
from nexus_pipelines.finetune.judge.errors import JudgeNotConfigured

URL = "NEXUS_JUDGE_URL"
MODEL = "NEXUS_JUDGE_MODEL"
API_KEY = "NEXUS_JUDGE_API_KEY"
SECONDS = "NEXUS_JUDGE_TIMEOUT_SECONDS"
_DEFAULT_SECONDS = 120
_MOST_SECONDS = 3600


@dataclass(frozen=True)
class Judge:
    """An OpenAI-compatible server and the model to ask there.

    url: its base, to which /chat/completions is added.  seconds: longest wait for one answer.
    """

    url: str
    model: str
    api_key: str = field(default="", repr=False)
    seconds: int = _DEFAULT_SECONDS

    def __str__(self) -> str:
        """Name it as an error does."""
        return f"judge {self.model!r} at {self.url}"

    def told(self) -> dict[str, str]:
        """Return what is written down of it beside the scores that it gave."""
        return {"url": self.url, "model": self.model}

    def variables(self) -> dict[str, str]:
        """Return what the process that judges is told, the key among it."""
        return {
            URL: self.url,
            MODEL: self.model,
            API_KEY: self.api_key,
            SECONDS: str(self.seconds),
        }


def judge_from(environ: Mapping[str, str] | None = None) -> Judge:
    """Read the variables ``NEXUS_JUDGE_*``.

    Raises:
        JudgeNotConfigured: one is missing or wrong; the message names it, never its secret.
    """
    environ = os.environ if environ is None else environ
    missing = [name for name in (URL, MODEL) if not environ.get(name, "").strip()]
    if missing:
        raise JudgeNotConfigured(
            f"{', '.join(sorted(JUDGED))} need a judge, and {' and '.join(missing)} are not set in "
            "nexus-platform: the administrator names an OpenAI-compatible server, or take "
            "`support`, which needs none"
        )
    return Judge(
        url=_base(environ[URL].strip()),
        model=environ[MODEL].strip(),
        api_key=environ.get(API_KEY, "").strip(),
        seconds=_seconds(environ.get(SECONDS, "")),
    )


def _base(text: str) -> str:
    try:
        parts = urlsplit(text)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        host = None
        parts = urlsplit("")
    extra = parts.username or parts.password or parts.query or parts.fragment
    if parts.scheme not in {"http", "https"} or not host or extra:
        raise JudgeNotConfigured(
            f"{URL} must be like https://host/v1, without user, password, query or fragment; a key "
            f"goes into {API_KEY}"
        )
    return text.rstrip("/")


def _seconds(text: str) -> int:
    if not text.strip():
        return _DEFAULT_SECONDS
    if not text.strip().isdecimal() or not 1 <= int(text) <= _MOST_SECONDS:
        raise JudgeNotConfigured(f"{SECONDS} is {text!r}; it must be 1 to {_MOST_SECONDS}")
    return int(text)
