"""`POST /hooks/notices`: the Sensor on the bucket tells of an object that was put or removed.

A Sensor takes one notice after another, and could patch 2.5 resources a second.  So it tells the
gateway, which answers once it has noted the index, and asks once for many (`control.syncs`).
"""

from __future__ import annotations

import hmac
import logging
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import AwareDatetime, BaseModel, StringConstraints, ValidationError

from nexus_api.notices import NOTICES_PATH, TOKEN_HEADER
from nexus_gateway.auth import Principal
from nexus_gateway.errors import BadRequest, NotFound, NotReady, Unauthorized
from nexus_gateway.rest.context import Shared

LOG = logging.getLogger(__name__)
router = APIRouter(tags=["notices"])
Name = Annotated[str, StringConstraints(min_length=1, max_length=253)]


class Notice(BaseModel):
    """What the Sensor tells: which index, and when an object of it changed."""

    namespace: Name
    index: Name
    eventTime: AwareDatetime  # noqa: N815 - S3's name for it


@router.post(NOTICES_PATH, status_code=202, response_class=Response)
async def take_notice(request: Request, services: Shared) -> Response:
    """Note that an index is to be synced.

    The answer has no body: Argo Events closes none, and a connection whose answer has none is used
    again.
    """
    token_file = services.settings.notices_token_file
    if token_file is None:
        raise NotFound("this gateway takes no notices", code="not_offered")
    _check(token_file, request.headers.get(TOKEN_HEADER, ""))
    try:
        notice = Notice.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise BadRequest(f"{where}: {first['msg']}", code="invalid_notice") from None
    route = services.index(Principal(notice.namespace), notice.index)
    services.syncs.ask(route.tenant, route.name, notice.eventTime)
    return Response(status_code=202)


def _check(token_file: Path, given: str) -> None:
    """Raise Unauthorized for another token than the file's, NotReady while it cannot be read.

    It is read each time: who renews the Secret starts no gateway anew.
    """
    try:
        token = token_file.read_bytes().strip()
    except OSError:
        token = b""
    if not token:
        LOG.error("the token of notices cannot be read")
        raise NotReady("the token of notices cannot be read")
    if not hmac.compare_digest(token, given.encode().strip()):
        raise Unauthorized("this is not the token of notices", code="invalid_token")
