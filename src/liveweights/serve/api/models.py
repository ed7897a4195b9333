"""GET /v1/models and /v1/models/{id}"""

from __future__ import annotations

import msgspec
from starlette.types import Receive, Scope, Send

from liveweights.http.authentication import Authenticator
from liveweights.http.wire import reply
from liveweights.meter.limits import Limiter
from liveweights.serve.api.objects import Canary, Model, ModelList
from liveweights.serve.api.refusals import model_not_found
from liveweights.serve.router import Alias, Router


def describe(alias: Alias, router: Router, context: int) -> Model:
    """OpenAI's model object, and which checkpoints stand behind it; the tokens of its ``context``
    by both names that clients look for."""
    known = router.known(alias.live)
    return Model(
        id=alias.name,
        created=alias.since,
        checkpoint=alias.live,
        root=(known.base if known else None) or alias.live,
        parent=known.parent if known else None,
        context_length=context,
        max_model_len=context,
        canary=Canary(alias.canary, alias.share) if alias.canary else None,
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
        aliases = {alias.name: alias for alias in self._router.aliases()}
        if name is None:
            body = ModelList([self._describe(alias) for alias in aliases.values()])
        elif name in aliases:
            body = self._describe(aliases[name])
        elif self._router.answers(name):
            body = self._describe(Alias(name, name, None, 0.0, 0))
        else:
            raise model_not_found(name)
        await reply(send, 200, msgspec.json.encode(body))

    def _describe(self, alias: Alias) -> Model:
        return describe(alias, self._router, self._context)
