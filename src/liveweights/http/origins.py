"""From which sites' pages the service may be called."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from liveweights.http.errors import ApiError

EXPOSED = (
    *("x-generation-id", "x-model", "x-checkpoint", "x-ignored-parameters", "retry-after"),
    *("x-model-notice", "x-terms-warning"),
)
"""Headers of answers that such a page may read."""

_UNASKED = frozenset(("", "text/plain", "multipart/form-data", "application/x-www-form-urlencoded"))
"""Media types that a browser sends to other sites without asking whether it may."""


def check_origin(headers: Headers, origins: Sequence[str]) -> None:
    """Raises ApiError 403 for what a page of a site that is not among ``origins`` may have sent
    unasked. What names its caller, or is of another media type, was asked for before."""
    origin = headers.get("origin")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if origin is None or "authorization" in headers or kind not in _UNASKED:
        return
    if "*" in origins or origin in origins or origin.partition("://")[2] == headers.get("host"):
        return
    message = (
        f"Pages of {origin[:200]!r} may not call this service. If they are to, its operator adds "
        "that site to 'origins' in the [api] settings."
    )
    raise ApiError(403, message, param="origin", code="unknown_origin")


def with_origins(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Pages of these ``origins`` may call, from a browser (Fetch standard, CORS)."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
        expose_headers=EXPOSED,
    )
