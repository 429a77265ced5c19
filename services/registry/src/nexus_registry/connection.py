"""One way to MLflow: a server over HTTP, or on a laptop its SQLite file with no server at all.

MLflow's own retries are off: a repeated request could make a second run or version, so whoever
creates looks first at each attempt.  Its telemetry, its start-up logging and its habit of printing
addresses are off too.
"""

import logging
import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from nexus_registry.errors import BadTrackingUrl, NotFound, Refused, RegistryError, Unavailable

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

Result = TypeVar("Result")

TIMEOUT = 20  # seconds for one answer
ATTEMPTS = 5
_FIRST_DELAY = 0.5  # seconds; doubled each time, and spread by half
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "_MLFLOW_TELEMETRY_PRE_WARM_DATABRICKS_SDK": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(TIMEOUT),
    "GIT_PYTHON_REFRESH": "quiet",
}
_ABSENT = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "ENDPOINT_NOT_FOUND"})
_FINAL = frozenset(
    {
        *("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "MALFORMED_REQUEST", "INVALID_STATE"),
        *("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"),
        *("RESOURCE_ALREADY_EXISTS", "FEATURE_DISABLED", "NOT_IMPLEMENTED"),
    }
)
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_SECRETS = re.compile(r"(?<=://)[^/@\s]+@")


class Connection:
    """Calls MLflow with a deadline and bounded, spread-out retries, and gives typed errors."""

    def __init__(
        self, url: str, *, attempts: int = ATTEMPTS, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Name the place; nothing is asked of it yet.  Raises BadTrackingUrl."""
        self.url, self.artifacts = _checked(url)
        self._attempts, self._sleep = attempts, sleep
        self._client: MlflowClient | None = None

    def call(self, action: str, do: Callable[["MlflowClient"], Result]) -> Result:
        """Do something with the client, again while that may help.

        Args:
            action: what is done, for messages: "find the run of x".
            do: the calls; they must come to the same when they are repeated.

        Raises:
            NotFound: what the calls name is not there.
            Refused: MLflow said no.
            Unavailable: it could not be reached, or failed, in all attempts.
        """
        problem = ""
        for attempt in range(self._attempts):
            if attempt:
                self._sleep(_FIRST_DELAY * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
            try:
                return do(self._opened())
            except RegistryError:
                raise
            except Exception as error:
                typed = _typed(action, error)
                if typed is None:
                    raise
                if not typed.transient:
                    raise typed from error
                problem = _said(error)
        raise Unavailable(
            f"cannot {action}: MLflow at {_shown(self.url)} did not do it in {self._attempts} "
            f"attempts; last: {problem}"
        )

    def takes(self, source: str) -> bool:
        """Whether a version may point to this address: a server takes no folder of a machine."""
        return self.artifacts is not None or urlsplit(source).scheme != "file"

    def written(self) -> bool:
        """Whether there may be anything to read: a SQLite file that is not there holds nothing."""
        return self.artifacts is None or Path(urlsplit(self.url).path[1:]).exists()

    def _opened(self) -> "MlflowClient":
        if self._client is None:
            for name, value in _SETTINGS.items():
                os.environ.setdefault(name, value)
            from mlflow.tracking import MlflowClient

            # What goes wrong is raised, not logged; MLflow sets its levels when it is imported.
            for name in ("mlflow", "alembic"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            self._client = MlflowClient(tracking_uri=self.url, registry_uri=self.url)
        return self._client


def error_code(error: Exception) -> str:
    """Return MLflow's code of an error; empty when it has none."""
    return str(getattr(error, "error_code", ""))


def _checked(url: str) -> tuple[str, str | None]:
    """Return the URL, and where runs keep their files when no server decides that."""
    parts = urlsplit(url)
    if parts.scheme in {"http", "https"} and parts.hostname:
        return url.rstrip("/"), None
    if parts.scheme == "sqlite" and not parts.netloc and parts.path.startswith("//"):
        database = Path(parts.path[1:])
        return url, database.with_suffix("").as_uri()
    raise BadTrackingUrl(
        f"the tracking address {_shown(url)!r} is not offered; use http://mlflow:5000 or "
        "sqlite:////an/absolute/file.db (NEXUS_TRACKING_URL)"
    )


def _typed(action: str, error: Exception) -> RegistryError | None:
    """Turn an error of MLflow or of the way to it into ours; None for one nobody foresaw."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        code = error_code(error)
        kind = NotFound if code in _ABSENT else Refused if code in _FINAL else Unavailable
        return kind(f"cannot {action}: {_said(error)}")
    import requests
    from sqlalchemy.exc import SQLAlchemyError

    # Files of runs go over plain HTTP, whose errors MLflow does not wrap.
    if isinstance(error, requests.HTTPError) and error.response is not None:
        busy = error.response.status_code in _BUSY
        return (Unavailable if busy else Refused)(f"cannot {action}: {_said(error)}")
    if isinstance(error, requests.RequestException | SQLAlchemyError | OSError):
        return Unavailable(f"cannot {action}: {_said(error)}")
    return None


def _said(error: Exception) -> str:
    first: Any = (str(error).strip() or type(error).__name__).splitlines()[0]
    return _SECRETS.sub("", first)[:500]


def _shown(url: str) -> str:
    return _SECRETS.sub("", url)
