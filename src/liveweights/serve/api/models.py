"""GET /v1/models and /v1/models/{id}"""

from __future__ import annotations

import msgspec
from starlette.types import Receive, Scope, Send

from liveweights.http.authentication import Authenticator
from liveweights.http.wire import reply
from liveweights.meter.limits import Limiter
from liveweights.serve.api.objects import Canary, Model, ModelList
from liveweights.serve.api.refusals import model_not_found
from liveweights.serve.router import Route, Router


def describe(route: Route, router: Router, context: int) -> Model:
    """OpenAI's model object, and which checkpoints stand behind it; the tokens of its ``context``
    by both names that clients look for."""
    known = router.known(route.live)
    return Model(
        id=route.name,
        created=route.since,
        checkpoint=route.live,
        root=(known.base if known else None) or route.live,
        parent=known.parent if known else None,
        context_length=context,
        max_model_len=context,
        canary=Canary(route.canary, route.share) if route.canary else None,
    )


class ModelsEndpoint:
    """Lists the aliases; shows one alias or resident checkpoint."""

    def __init__(
        self, router: Router, authenticator: Authenticator, limiter: Limiter, context: int
    ) -> None:
        self._router = router
        self._context = context
        self._limiter = limiter
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = await self._authenticator.authenticate(scope, own=True)
        self._limiter.charge(client, "reads")
        name: str | None = scope["path_params"].get("model")
        routes = {route.name: route for route in self._router.routes()}
        if name is None:
            body = ModelList([self._describe(route) for route in routes.values()])
        elif name in routes:
            body = self._describe(routes[name])
        elif self._router.answers(name):
            body = self._describe(Route(name, name, None, 0.0, 0))
        else:
            raise model_not_found(name)
        await reply(send, 200, msgspec.json.encode(body))

    def _describe(self, route: Route) -> Model:
        return describe(route, self._router, self._context)
