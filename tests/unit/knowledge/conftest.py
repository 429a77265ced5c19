from collections.abc import Iterator
from pathlib import Path

import pytest

from nexus_knowledge.ledger import Ledger, upgrade


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "empty.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def ledger_url(empty_ledger: Path, tmp_path: Path) -> str:
    path = tmp_path / "ledger.db"
    path.write_bytes(empty_ledger.read_bytes())
    return f"sqlite:///{path}"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with Ledger(ledger_url) as opened:
        yield opened
