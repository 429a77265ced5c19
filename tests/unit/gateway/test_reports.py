"""Reports of evaluations, as the page of the tenant whose run wrote them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from gateway_world import World, gateway_world

from nexus_knowledge.objects import open_store
from nexus_knowledge.reports import Report
from nexus_pipelines.finetune.store import FineTuneStore

PAGE = "<!doctype html><title>Größer</title>"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work store with a report of a job's run, one of an experiment, and another tenant's."""
    folder = tmp_path / "work"
    folder.mkdir()
    store = FineTuneStore(open_store(folder.as_uri()), "default", "tuning", "run-1")
    store.put_text("gate/report.html", PAGE)
    store.put_text("gate/decision.json", "{}")
    for age, report in enumerate((Report("default", "try-1"), Report("other", "try-2"))):
        path = folder / report.key
        path.parent.mkdir(parents=True)
        path.write_text(PAGE)
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return folder


async def test_reports_are_listed_and_shown(tmp_path: Path, work: Path) -> None:
    (tmp_path / "world").mkdir()
    async with gateway_world(tmp_path / "world", work_url=work.as_uri()) as world:
        listed = (await world.http.get("/v1/reports")).json()["reports"]
        assert [(one["kind"], one["job"], one["run"]) for one in listed] == [
            ("finetune", "tuning", "run-1"),
            ("experiment", None, "try-1"),
        ]
        for one in listed:
            shown = await world.http.get(one["url"])
            assert shown.text == PAGE
            assert shown.headers["content-type"] == "text/html; charset=utf-8"
            assert "sandbox" in shown.headers["content-security-policy"]
        for path in (
            "experiments/try-2",
            "finetunes/tuning/run-2",
            "finetunes/../default",
            "experiments/%2e%2e",
            "finetunes/..%2fother/run-1",
        ):
            gone = await world.http.get(f"/v1/reports/{path}")
            assert (gone.status_code, gone.json()["error"]["type"]) == (
                404,
                "invalid_request_error",
            )


async def test_without_a_store_there_are_none(world: World) -> None:
    assert (await world.http.get("/v1/reports")).json() == {"reports": []}
    gone = await world.http.get("/v1/reports/finetunes/tuning/run-1")
    assert gone.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("report", [Report("t", "r"), Report("t", "r.1", "job")])
def test_a_report_is_known_by_its_key(report: Report) -> None:
    assert report.named
    assert Report.of_key(report.key) == report


@pytest.mark.parametrize("name", ["", "..", "a/b", "-a", "a\n"])
def test_what_is_no_name_names_no_report(name: str) -> None:
    assert not Report("t", name).named
    assert not Report("t", name, "job").named
    assert not Report("t", "run", name or "..").named
