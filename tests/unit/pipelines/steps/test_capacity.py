"""How many documents are read at once."""

import os
from pathlib import Path

import pytest

from nexus_pipelines.ingest.capacity import readers

GIB = 1024**3


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))


@pytest.mark.parametrize(
    ("limit", "each", "expected"),
    [
        (f"{5 * GIB}\n", GIB, 4),
        (f"{4 * GIB}\n", GIB, 3),
        (f"{5 * GIB}\n", 2 * GIB, 2),
        (f"{5 * GIB}\n", 8 * GIB, 1),
        (f"{GIB // 2}\n", GIB, 1),
        ("max\n", 8 * GIB, 4),
        ("9223372036854771712\n", 8 * GIB, 4),
    ],
)
@pytest.mark.parametrize("file", ["memory.max", "memory/memory.limit_in_bytes"])
def test_all_parsers_fit_below_the_containers_limit(
    tmp_path: Path, file: str, limit: str, each: int, expected: int
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(limit)
    assert readers(100, each, cgroup=tmp_path) == expected


def test_where_nothing_limits_memory_cores_and_documents_do(tmp_path: Path) -> None:
    assert readers(100, GIB, cgroup=tmp_path) == 4
    assert readers(2, GIB, cgroup=tmp_path) == 2
    assert readers(0, GIB, cgroup=tmp_path) == 1
