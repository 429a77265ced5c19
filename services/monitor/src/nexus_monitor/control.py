"""Reads and annotates our kinds over the Kubernetes API, or the laptop's of the same shape."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from nexus_api.access import authorization
from nexus_api.meta import GROUP, VERSION, Manifest
from nexus_monitor.asking import Asked
from nexus_monitor.errors import ControlUnavailable

_TIMEOUT = httpx.Timeout(15.0, connect=5.0)
_PAGE = 200  # objects of one answer


class Control:
    """A client for one API.  The token is read anew for each call: a pod's changes by the hour."""

    def __init__(self, url: str, *, token_file: Path | None, ca_file: Path | None) -> None:
        """Make a client; nothing is sent yet.  Raises OSError when the authority is not there."""
        import ssl

        verify = ssl.create_default_context(cafile=str(ca_file)) if ca_file else True
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT, verify=verify)
        self._token_file = token_file

    def list(self, plural: str) -> list[Manifest]:
        """Return all objects of a kind in all namespaces.  Raises ControlUnavailable."""
        found: list[Manifest] = []
        more = ""
        while True:
            query = {"limit": str(_PAGE), **({"continue": more} if more else {})}
            answer = self._call("GET", f"/apis/{GROUP}/{VERSION}/{plural}", params=query)
            found += answer.get("items") or []
            more = (answer.get("metadata") or {}).get("continue") or ""
            if not more:
                return found

    def annotate(self, namespace: str, asked: Asked) -> None:
        """Set or take away an annotation by a merge patch.  Raises ControlUnavailable."""
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{quote(namespace)}/{asked.plural}"
        self._call(
            "PATCH",
            f"{path}/{quote(asked.name)}",
            content=json.dumps({"metadata": {"annotations": {asked.annotation: asked.value}}}),
            headers={"content-type": "application/merge-patch+json"},
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        """Use as a context that closes."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self.close()

    def _call(self, method: str, path: str, **more: Any) -> Any:
        try:
            token = authorization(self._token_file)
        except (OSError, ValueError) as error:
            raise ControlUnavailable(f"the token {self._token_file}: {error}") from error
        headers = {"accept": "application/json", **token, **more.pop("headers", {})}
        try:
            response = self._http.request(method, path, headers=headers, **more)
            if response.is_success:
                return response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ControlUnavailable(f"{method} {path}: {error!r}") from error
        raise ControlUnavailable(
            f"{method} {path}: HTTP {response.status_code} {response.text[:300]}"
        )
