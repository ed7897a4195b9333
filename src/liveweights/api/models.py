"""GET /v1/models and /v1/models/{id}"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from liveweights.api.caller import tenant_of
from liveweights.api.errors import model_not_found
from liveweights.api.routing import Alias, Router
from liveweights.api.settings import ApiSettings
from liveweights.api.wire import reply

OWNER = "liveweights"


def describe(alias: Alias) -> dict[str, Any]:
    """OpenAI's model object, and which checkpoints stand behind it."""
    canary = {"checkpoint": alias.canary, "share": alias.share} if alias.canary else None
    return {
        "id": alias.name,
        "object": "model",
        "created": alias.since,
        "owned_by": OWNER,
        "root": alias.live,
        "parent": None,
        "checkpoint": alias.live,
        "canary": canary,
    }


def describe_checkpoint(id: str) -> dict[str, Any]:
    """A checkpoint that is asked for by its own id."""
    return describe(Alias(id, id, None, 0.0, 0))


class ModelsEndpoint:
    """Lists the aliases; shows one alias or resident checkpoint."""

    def __init__(self, router: Router, settings: ApiSettings) -> None:
        self._router = router
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tenant_of(Headers(scope=scope), self._settings)
        name: str | None = scope["path_params"].get("model")
        aliases = {alias.name: alias for alias in self._router.aliases()}
        if name is None:
            body = {"object": "list", "data": [describe(alias) for alias in aliases.values()]}
        elif name in aliases:
            body = describe(aliases[name])
        elif self._router.answers(name):
            body = describe_checkpoint(name)
        else:
            raise model_not_found(name)
        await reply(send, 200, msgspec.json.encode(body))
