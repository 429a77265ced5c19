"""The gateway's account on a real API server, and what a pod would find mounted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "unit" / "gateway")]

from gateway_account import ACCOUNT, KINDS, rendered, token  # noqa: E402 - the path is set above
from testcluster.control_plane import ControlPlane  # noqa: E402

NAMESPACE = "/api/v1/namespaces/default"


@dataclass(frozen=True)
class Pod:
    """What the gateway finds in its pod: the API's address, a token, an authority."""

    api: ControlPlane
    port: int
    token_file: Path
    ca_file: Path


@pytest.fixture(scope="session")
def account(api: ControlPlane) -> ControlPlane:
    """The API server with the gateway's ServiceAccount, and what the chart lets it do."""
    accounts = f"{NAMESPACE}/serviceaccounts"
    made = [(accounts, {"metadata": {"name": ACCOUNT}})]
    for path, body in [*made, *((KINDS[one["kind"]], one) for one in rendered())]:
        answer = api.client.post(path, json=body)
        assert answer.status_code == 201, answer.text
    return api


@pytest.fixture
def pod(account: ControlPlane, tmp_path: Path) -> Iterator[Pod]:
    """The mounted files of one pod; all resources are gone afterwards."""
    token_file = tmp_path / "token"
    token_file.write_text(token(account))
    authority = account.folder / "certificates" / "apiserver.crt"
    yield Pod(account, int(account.url.rpartition(":")[2]), token_file, authority)
    for plural in ("servingmodels", "ragindexes"):
        account.client.delete(f"/apis/llmops.nexus/v1alpha1/namespaces/default/{plural}")
