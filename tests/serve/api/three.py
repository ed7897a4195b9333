"""Three models in one process: two of ours with tokenizers of their own, and a hosted one whose
upstream is a second instance of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

from liveweights.serve.api.app import create_app
from liveweights.serve.gateway.settings import GatewaySettings
from liveweights.serve.gateway.upstream import Upstream
from liveweights.serve.hosted.model import Hosted
from liveweights.serve.hosted.models import HostedModels
from liveweights.serve.hosted.settings import HostedSettings
from liveweights.serve.models import Model, Models, make_model
from liveweights.serve.router import Router

from .doubles import (
    BASE,
    NEXT,
    MemoryRecorder,
    MemoryResponses,
    ScriptedEngine,
    TemplateHere,
    make_api,
    make_tokenizer,
)
from .servers import serving, serving_opened

NAMES = ("tiny", "second", "far")


@contextmanager
def three_models(says: str, **engine: Any) -> Iterator[tuple[str, MemoryRecorder]]:
    """The base URL of a service whose models ``NAMES`` all say ``says``, and its record."""
    recorder = MemoryRecorder()

    async def open(stack: AsyncExitStack) -> Any:
        behind = GatewaySettings(upstream=upstream)
        far = HostedSettings(
            alias="far",
            upstream=upstream,
            model="tiny",
            key_env="",
            timeout=30.0,
            answer_timeout=30.0,
            fallback=(),
        )
        session = await stack.enter_async_context(Upstream(behind))
        hosted = HostedModels(Hosted(settings=far, upstream=session, key="", access=None))
        models = Models(_local("tiny", BASE, False), _local("second", NEXT, True))
        return create_app(models, recorder, hosted=hosted, responses=MemoryResponses())

    def _local(name: str, checkpoint: str, infill: bool) -> Model:
        tokenizer, router = make_tokenizer(infill=infill), Router()
        scripted = ScriptedEngine(tokenizer, says, **engine)
        scripted._resident = {checkpoint}
        router.set(name, checkpoint)
        return make_model(scripted, router, tokenizer, template=TemplateHere(tokenizer))

    with serving(make_api(says, **engine).app) as upstream, serving_opened(open) as url:
        yield url, recorder
