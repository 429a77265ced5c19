"""Serves the chat page under a policy that lets it load nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Response

router = APIRouter(include_in_schema=False)


@cache
def render() -> tuple[bytes, str]:
    """Return the page with style and script in it, and the policy that allows just these two."""
    folder = files(__package__ or "nexus_gateway.page")
    style = (folder / "chat.css").read_text("utf-8")
    script = (folder / "chat.js").read_text("utf-8")
    page = (folder / "chat.html").read_text("utf-8")
    page = page.replace("/* chat.css */", style).replace("/* chat.js */", script)
    policy = "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ]
    )
    return page.encode(), policy


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@router.get("/")
async def chat_page() -> Response:
    """Return the chat page."""
    page, policy = render()
    return Response(
        page,
        media_type="text/html; charset=utf-8",
        headers={
            "content-security-policy": policy,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
            "cache-control": "no-cache",
        },
    )


@router.get("/favicon.ico")
async def favicon() -> Response:
    """Say that there is none, without an error in the browser's console."""
    return Response(status_code=204)
