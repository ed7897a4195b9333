"""From which sites' pages the service may be called."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

EXPOSED = (
    *("x-generation-id", "x-model", "x-checkpoint", "x-ignored-parameters", "retry-after"),
    *("x-model-notice", "x-terms-warning"),
)
"""Headers of answers that such a page may read."""


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
