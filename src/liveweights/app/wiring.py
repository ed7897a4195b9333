"""How parts are put together from the settings."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from liveweights import deadlines
from liveweights.app.place import Place
from liveweights.catalog.template import ChatTemplate, TemplateRefusal, has_template
from liveweights.config import Config
from liveweights.engines.llama.engine import LlamaEngine
from liveweights.engines.protocol import Engine
from liveweights.record.spill import Spill
from liveweights.record.writer import Writer
from liveweights.store.database import Pool
from liveweights.weights.checkpoint import Checkpoint

log = logging.getLogger(__name__)


def path_of(text: str) -> Path | None:
    return Path(text).expanduser() if text else None


def make_engine(base: Checkpoint, config: Config) -> Engine:
    # What brings torch is imported where it is needed: the supervisor and the gateway do without.
    if config.engine.kind == "llama":
        return LlamaEngine(base, config.cache_folder(), config.engine)
    if config.engine.kind == "vllm":
        from liveweights.engines.vllm.engine import VllmEngine

        return VllmEngine(base, config.engine, config.vllm)
    if config.engine.kind == "openai":
        from liveweights.engines.openai import OpenAIEngine

        return OpenAIEngine(base, config.engine, config.openai)
    if config.engine.kind == "openvino":
        from liveweights.engines.openvino.engine import OpenVinoEngine

        return OpenVinoEngine(base, config.cache_folder(), config.engine)
    from liveweights.engines.torch.engine import TorchEngine

    return TorchEngine(base, config.cache_folder(), config.engine)


async def open_template(
    stack: AsyncExitStack, tokenizer: Any, config: Config
) -> ChatTemplate | None:
    """The model's template, warm; None where there is none that can be taken."""
    if not has_template(tokenizer):
        return None
    try:
        template = ChatTemplate(tokenizer, config.template)
        stack.push_async_callback(template.close)
        await template.start()
    except TemplateRefusal as error:
        # Completions go on. A base that nobody could chat with was refused when it was checked.
        log.error("no chats are answered: the model's chat template %s", error)
        return None
    return template


async def open_writer(stack: AsyncExitStack, pool: Pool, place: Place, role: str) -> Writer:
    """The role's own writer; what it leaves on disk, the next one of the role writes."""
    spill = Spill(place.home / "spill" / role, place.config.record.spill_bytes)
    stack.callback(spill.close)
    settings = place.config.record
    writer = Writer(
        pool,
        close_timeout=deadlines.RECORD,
        late_after=settings.late_seconds,
        most_feedback=settings.feedback_per_answer,
        prices=place.config.prices,
        spill=spill,
    )
    return await stack.enter_async_context(writer)
