"""The fake that the operator's tests stand on passes the contract suite of all clusters."""

import asyncio
import importlib.util
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fake_cluster import FakeCluster

SUITE = Path(__file__).parents[2] / "contract" / "cluster"


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"contract_cluster_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _rows(test: Any) -> list[dict[str, Any]]:
    """The rows of a test's table: those of its `parametrize` marks, multiplied."""
    rows: list[dict[str, Any]] = [{}]
    for mark in getattr(test, "pytestmark", []):
        if mark.name == "parametrize":
            names, values = mark.args
            keys = [names] if isinstance(names, str) else names
            cells = ([one] if isinstance(names, str) else one for one in values)
            drawn = [dict(zip(keys, one, strict=True)) for one in cells]
            rows = [{**row, **more} for row in rows for more in drawn]
    return rows


def _cases() -> list[Any]:
    return [
        pytest.param(test, row, id=f"{name}-{number}")
        for path in sorted(SUITE.glob("test_*.py"))
        for name, test in inspect.getmembers(_load(path), inspect.iscoroutinefunction)
        if name.startswith("test_")
        for number, row in enumerate(_rows(test))
    ]


async def _eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():  # noqa: ASYNC110 - the fake has no event for it
        await asyncio.sleep(0)


@pytest.mark.parametrize(("test", "row"), _cases())
async def test_fake_cluster_keeps_the_contract(
    test: Callable[..., Awaitable[None]], row: dict[str, Any]
) -> None:
    fixtures = {"cluster": FakeCluster(), "eventually": _eventually}
    wanted = {k: v for k, v in fixtures.items() if k in inspect.signature(test).parameters}
    await test(**wanted, **row)
