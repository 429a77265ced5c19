"""Where the Kubernetes API is, and by what right one asks it: as told, or as a pod's account."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its account's token and the authority of the API's certificate."""


class Access(NamedTuple):
    """How to reach an API; an empty address where none was told and this is no pod."""

    url: str
    token_file: Path | None
    ca_file: Path | None


def access(url: str, token_file: str, ca_file: str, env: Mapping[str, str]) -> Access:
    """Return what was told, and where no address was told in a pod, the pod's own API.

    Source: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
    """
    token = Path(token_file) if token_file else None
    authority = Path(ca_file) if ca_file else None
    if url or not env.get("KUBERNETES_SERVICE_HOST"):
        return Access(url, token, authority)
    host = env["KUBERNETES_SERVICE_HOST"]
    host = f"[{host}]" if ":" in host else host
    return Access(
        f"https://{host}:{env.get('KUBERNETES_SERVICE_PORT', '443')}",
        token or SERVICE_ACCOUNT / "token",
        authority or SERVICE_ACCOUNT / "ca.crt",
    )


def authorization(token_file: Path | None) -> dict[str, str]:
    """Return the header for a token file, plain or a JSON object with `token`.

    For each request anew: a pod's token is replaced within the hour.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is neither form.
    """
    if token_file is None:
        return {}
    token = token_file.read_text(encoding="utf-8").strip()
    if token.startswith("{"):
        token = json.loads(token).get("token", "")
    return {"authorization": f"Bearer {token}"}
