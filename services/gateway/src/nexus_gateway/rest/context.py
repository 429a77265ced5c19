"""What a FastAPI route gets of the gateway: its services and who asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request

from nexus_gateway.auth import Principal
from nexus_gateway.services import Services


def services_of(request: Request) -> Services:
    """Return the gateway's services."""
    services: Services = request.app.state.services
    return services


def role(name: str) -> Callable[[Request], Principal]:
    """Return a dependency that gives the principal, if it holds the role."""

    def principal(request: Request) -> Principal:
        who: Principal = request.scope["nexus.principal"]
        who.require(name)
        return who

    return principal


Shared = Annotated[Services, Depends(services_of)]
Reader = Annotated[Principal, Depends(role("reader"))]
Editor = Annotated[Principal, Depends(role("editor"))]
