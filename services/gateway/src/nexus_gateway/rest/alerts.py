"""`POST /hooks/alerts`: alerts that ask FineTuneJobs for a run, as Alertmanager posts them.

A laptop's gateway takes them itself; on a cluster an EventSource and a Sensor do the same.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import ValidationError

from nexus_api.alerts import BadAlerts, firing, records
from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import ALERT_REQUESTED, Manifest
from nexus_gateway.control.client import ControlGone, ControlUnavailable
from nexus_gateway.errors import BadRequest, NotFound, NotReady
from nexus_gateway.rest.context import Editor, Shared

router = APIRouter(tags=["alerts"])
PLURAL = "finetunejobs"


@router.post("/hooks/alerts", status_code=202)
async def take_alerts(
    payload: Annotated[Any, Body()], services: Shared, who: Editor
) -> dict[str, Any]:
    """Ask each job of the tenant whose matchers meet a firing alert; `asked` names them.

    An alert that a job has heard of asks for nothing more.
    """
    if not services.settings.alert_hook:
        raise NotFound("alerts reach this platform by Argo Events", code="not_offered")
    asked = []
    try:
        firing(payload, ())  # a payload that means nothing is refused though no job is there
        jobs, _ = await services.control.list(PLURAL)
        for manifest in jobs:
            value = wanted(manifest, payload, who.tenant)
            if value:
                metadata = manifest["metadata"]
                place = (metadata["namespace"], metadata["name"])
                await services.control.annotate(PLURAL, *place, {ALERT_REQUESTED: value})
                asked.append(metadata["name"])
    except BadAlerts as error:
        raise BadRequest(str(error), code="invalid_alerts") from None
    except (ControlUnavailable, ControlGone) as error:
        raise NotReady(f"the jobs cannot be asked now: {error}", retry_after=5) from error
    return {"asked": asked}


def wanted(manifest: Manifest, payload: object, tenant: str) -> str:
    """Return the annotation that a job is to have, empty when it is to stay.  Raises BadAlerts."""
    matchers: list[dict[str, str]] = []
    answered: list[str] = []
    if manifest["metadata"].get("namespace") == tenant:
        try:
            job = FineTuneJob.model_validate(manifest)
        except ValidationError:
            job = None  # the operator says on the resource that it cannot be read
        if job is not None and job.spec.triggers is not None:
            matchers = [one.matchers for one in job.spec.triggers.alerts]
            answered = job.status.answered
    value = firing(payload, matchers)
    there = (manifest["metadata"].get("annotations") or {}).get(ALERT_REQUESTED, "")
    known = {one.removeprefix("run:") for one in answered} | set(records(there))
    return "" if set(records(value)) <= known else value
