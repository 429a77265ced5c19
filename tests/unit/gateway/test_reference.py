"""The page on the HTTP API names every route with its role, every error code and every metric."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute

from nexus_gateway import errors
from nexus_gateway.app import HOT
from nexus_gateway.metrics import Metrics
from nexus_gateway.page import route as page
from nexus_gateway.rest import alerts, documents, feedback, health, models, notices, reports, search

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "http.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| \[?`([A-Z]+ /[^`]*)`(?:\]\((#[a-z-]+)\))? \| (\w+) \|", re.MULTILINE)
ROUTERS = (alerts, documents, feedback, health, models, notices, reports, search, page)


def routes() -> Iterator[tuple[str, Any]]:
    for part in ROUTERS:
        for route in part.router.routes:
            assert isinstance(route, APIRoute)
            for method in route.methods or ():
                yield f"{method} {route.path.replace(':path}', '}')}", route


def named() -> dict[str, tuple[str, str]]:
    return {route: (anchor, role) for route, anchor, role in ROW.findall(PAGE)}


def test_the_table_names_every_route_and_no_other() -> None:
    hot = {f"POST {path}" for path in HOT}
    served = {name for name, _ in routes()} | hot | {"GET /openapi.json"}
    assert named().keys() == served


def test_the_table_gives_the_role_that_a_route_asks_for() -> None:
    told = named()
    for name, route in routes():
        needed = {
            cell.cell_contents
            for dependency in route.dependant.dependencies
            for cell in dependency.call.__closure__ or ()
        }
        if needed:
            assert {told[name][1]} == needed, name


def test_every_route_of_the_table_leads_to_its_section() -> None:
    titles = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    anchors = {"#" + title.lower().replace(",", "").replace(" ", "-") for title in titles}
    assert {anchor for anchor, _ in named().values() if anchor} <= anchors


@pytest.mark.parametrize("error", errors.GatewayError.__subclasses__(), ids=lambda e: e.__name__)
def test_every_error_has_its_status_type_and_code(error: type[errors.GatewayError]) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {error.status} |"))
    assert f"`{error.kind}`" in row
    assert f"`{error.code}`" in row


def test_every_code_in_the_source_is_named() -> None:
    source = Path(errors.__file__).parent
    codes = {
        code
        for file in source.rglob("*.py")
        for code in re.findall(r'\bcode(?::\s*str)? ?= ?"([a-z_]+)"', file.read_text("utf-8"))
    }
    assert len(codes) > 10
    assert [code for code in sorted(codes) if f"`{code}`" not in PAGE] == []


def test_every_metric_is_named() -> None:
    families = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in Metrics().registry.collect()
    }
    names = re.findall(r"`([a-z_]+)`", PAGE)
    told = {f"nexus_gateway_{name}" for name in names} | set(names)
    assert families - told == set()
