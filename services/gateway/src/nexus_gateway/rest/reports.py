"""Reports of evaluations: which there are, and each as the page that the run wrote."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Response

from nexus_gateway.errors import NotFound
from nexus_gateway.rest.context import Editor, Shared
from nexus_gateway.services import Services
from nexus_knowledge.errors import ObjectNotFound
from nexus_knowledge.objects import ObjectStore, open_store
from nexus_knowledge.reports import Report, prefixes

router = APIRouter(tags=["reports"])
MOST = 100
LARGEST = 32 << 20  # bytes
# The page shows texts of users and models: nothing in it may run or load anything.
HEADERS = {
    "content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "private, no-cache",
    "cross-origin-resource-policy": "same-origin",
}


@router.get("/v1/reports")
async def list_reports(services: Shared, who: Editor) -> dict[str, Any]:
    """Return the tenant's newest reports, newest first."""
    store = _store(services)
    if store is None:
        return {"reports": []}

    def found() -> list[tuple[float, Report]]:
        every = (one for prefix in prefixes(who.tenant) for one in store.list(prefix))
        reports = ((one.modified, Report.of_key(one.key)) for one in every)
        known = [(when, report) for when, report in reports if report is not None]
        return sorted(known, key=lambda one: (-one[0], one[1].key))[:MOST]

    return {
        "reports": [
            {
                "kind": "finetune" if report.job else "experiment",
                "job": report.job or None,
                "run": report.run,
                "created_at": datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds"),
                "url": report.path,
            }
            for when, report in await services.knowledge.run(found)
        ]
    }


@router.get("/v1/reports/finetunes/{job}/{run}")
async def finetune_report(job: str, run: str, services: Shared, who: Editor) -> Response:
    """Return the gate's report on a run of a FineTuneJob, as HTML."""
    return await _page(services, Report(who.tenant, run, job))


@router.get("/v1/reports/experiments/{run}")
async def experiment_report(run: str, services: Shared, who: Editor) -> Response:
    """Return the report of an experiment, as HTML."""
    return await _page(services, Report(who.tenant, run))


async def _page(services: Services, report: Report) -> Response:
    store = _store(services)

    def read() -> bytes | None:
        if store is None or not report.named:
            return None
        try:
            with store.open(report.key) as stream:
                return stream.read(LARGEST)
        except ObjectNotFound:
            return None

    content = await services.knowledge.run(read)
    if content is None:
        raise NotFound(f"there is no report {report.path}; GET /v1/reports lists those there are")
    return Response(content, media_type="text/html; charset=utf-8", headers=HEADERS)


def _store(services: Services) -> ObjectStore | None:
    """Return the work store; None where the gateway was not told of one."""
    url = services.settings.work_url
    return open_store(url) if url else None
