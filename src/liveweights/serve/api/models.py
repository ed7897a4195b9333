"""GET /v1/models and /v1/models/{id}"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.types import Receive, Scope, Send

from liveweights.http.authentication import Authenticator
from liveweights.http.wire import reply
from liveweights.meter.limits import Limiter
from liveweights.serve.api.objects import Canary, ModelList
from liveweights.serve.api.objects import Model as ModelObject
from liveweights.serve.api.refusals import model_not_found
from liveweights.serve.hosted.model import Hosted
from liveweights.serve.models import Model, Models
from liveweights.serve.router import Route, UnknownModel


def describe(route: Route, model: Model) -> ModelObject:
    """OpenAI's model object, and which checkpoints stand behind it; the tokens of its context
    by both names that clients look for."""
    known = model.router.known(route.live)
    context = model.engine.context_length
    return ModelObject(
        id=route.name,
        created=route.since,
        checkpoint=route.live,
        root=(known.base if known else None) or route.live,
        parent=known.parent if known else None,
        context_length=context,
        max_model_len=context,
        canary=Canary(route.canary, route.share) if route.canary else None,
    )


def describe_hosted(model: Hosted) -> ModelObject:
    return ModelObject(
        id=model.alias,
        created=model.since,
        checkpoint=model.checkpoint,
        root=model.settings.model,
        parent=None,
        context_length=None,
        max_model_len=None,
        canary=None,
        owned_by="hosted",
    )


class ModelsEndpoint:
    """Lists the aliases and hosted models; shows one of them, or one resident checkpoint."""

    def __init__(
        self,
        models: Models,
        authenticator: Authenticator,
        limiter: Limiter,
        hosted: Sequence[Hosted],
    ) -> None:
        self._models = models
        self._hosted = {model.alias: model for model in hosted}
        self._limiter = limiter
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = await self._authenticator.authenticate(scope, own=True)
        await self._limiter.charge(client, "reads")
        name: str | None = scope["path_params"].get("model")
        if name is None:
            local = [
                describe(route, model) for model in self._models for route in model.router.routes()
            ]
            body = ModelList([*local, *map(describe_hosted, self._hosted.values())])
        else:
            body = self._describe(name)
        await reply(send, 200, msgspec.json.encode(body))

    def _describe(self, name: str) -> ModelObject:
        """Raises ApiError 404."""
        if (hosted := self._hosted.get(name)) is not None:
            return describe_hosted(hosted)
        try:
            model = self._models.find(name)
        except UnknownModel:
            raise model_not_found(name) from None
        routes = {route.name: route for route in model.router.routes()}
        return describe(routes.get(name) or Route(name, name, None, 0.0, 0), model)
