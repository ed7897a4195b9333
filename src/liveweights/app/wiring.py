"""How parts are put together from the settings."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, cast

import aiohttp
import msgspec

from liveweights import deadlines
from liveweights.app.place import Place
from liveweights.catalog.template import (
    ChatTemplate,
    TemplateRefusal,
    TemplateSettings,
    has_template,
)
from liveweights.config import Config
from liveweights.engines.footprint import expect_bytes
from liveweights.engines.llama.engine import LlamaEngine
from liveweights.engines.protocol import Engine, Measured
from liveweights.http.proxies import find_proxy
from liveweights.meter.directory import Directory
from liveweights.meter.lease_rows import LeaseRows, keep_giving_back
from liveweights.meter.ledger import Ledger
from liveweights.meter.limits import Limiter
from liveweights.meter.tariffs import Tariffs
from liveweights.meter.webhook import Webhook
from liveweights.model_table import ModelSettings
from liveweights.record.owners import OwnerStore
from liveweights.record.spill import Spill, SpillInUse
from liveweights.record.writer import Writer
from liveweights.release.deployer import Deployer
from liveweights.serve.api.app import make_limiter
from liveweights.serve.api.recorder import Recorder
from liveweights.serve.gateway.access import Access
from liveweights.serve.gateway.upstream import Upstream
from liveweights.serve.hosted.model import Hosted
from liveweights.serve.hosted.settings import HostedSettings
from liveweights.serve.memory.memory import Memory, Share
from liveweights.serve.models import Model, make_model
from liveweights.serve.router import Router
from liveweights.serve.telemetry.answers import MeteredRecorder
from liveweights.serve.telemetry.export import counting, open_reader
from liveweights.store.database import Pool
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import HASHES
from liveweights.weights.models import load_tokenizer
from liveweights.weights.signing import check
from liveweights.weights.vocabulary import has_vocabulary, keep_vocabulary, spell_tokens

log = logging.getLogger(__name__)
SPILL_POLL = 0.2
"""Seconds between looks whether a predecessor has let go of its rows."""


def path_of(text: str) -> Path | None:
    return Path(text).expanduser() if text else None


def make_engine(base: Checkpoint, model: ModelSettings, cache: Path) -> Engine:
    # What brings torch is imported where it is needed: the supervisor and the gateway do without.
    if model.engine.kind == "llama":
        return LlamaEngine(base, cache, model.engine)
    if model.engine.kind == "vllm":
        from liveweights.engines.vllm.engine import VllmEngine

        return VllmEngine(base, model.engine, model.vllm)
    if model.engine.kind == "openai":
        from liveweights.engines.openai import OpenAIEngine

        return OpenAIEngine(base, model.engine, model.openai)
    if model.engine.kind == "openvino":
        from liveweights.engines.openvino.engine import OpenVinoEngine

        return OpenVinoEngine(base, cache, model.engine)
    if model.engine.kind == "ternary":
        from liveweights.engines.ternary.engine import TernaryEngine

        return TernaryEngine(base, cache, model.engine)
    from liveweights.engines.torch.engine import TorchEngine

    return TorchEngine(base, cache, model.engine)


def holds_adapters(settings: ModelSettings) -> bool:
    """Whether its engine holds several adapters at once, as tenants' own need; where it does not,
    that is said."""
    if settings.engine.kind != "openai":
        return True
    log.warning(
        "learn.per_tenant of %s changes nothing: engine.kind = 'openai' serves one fixed"
        " checkpoint, so that every tenant is answered by the shared one; llama, torch, openvino,"
        " ternary and vllm hold several adapters",
        settings.alias,
    )
    return False


async def open_model(
    stack: AsyncExitStack,
    pool: Pool,
    place: Place,
    settings: ModelSettings,
    *,
    base: Checkpoint,
    instance: str,
    memory: Memory | None = None,
    handed_over: Callable[[Router], bool] = lambda router: True,
) -> tuple[Model, Deployer]:
    """A model on ``base``, and the deployer that keeps its checkpoints on this ``instance``. It
    shares the ``memory`` with the others, unless another server's is what it takes. Where its alias
    goes over to another base, its router keeps the name until that is ``handed_over``."""
    config = place.config
    cache = config.cache_folder()
    engine = make_engine(base, settings, cache)
    share: Share | None = None
    if memory is not None and isinstance(engine, Measured):
        share = memory.share(settings.alias, engine.memory, pinned=settings.pinned)
        stack.callback(memory.leave, share)
    stack.push_async_callback(engine.close)
    router = Router(settings.alias)
    per_tenant = settings.learn.per_tenant and holds_adapters(settings)
    public = path_of(config.signing.public_key)
    deployer = await stack.enter_async_context(
        Deployer(
            pool,
            place.dsn,
            engine,
            router,
            instance=instance,
            others=frozenset(config.names()) - {settings.alias},
            model=settings.alias,
            share=share,
            expect=partial(expect_bytes, settings=settings.engine),
            settings=config.deployment,
            check=partial(check, public=public, hash_folder=cache / HASHES),
            cache=cache,
            base=base,
            handed_over=lambda name: name != settings.alias or handed_over(router),
            per_tenant=per_tenant,
        )
    )
    tokenizer = cast(Any, load_tokenizer(base))
    async with pool.connection() as conn:
        if not await has_vocabulary(conn, base.id):
            await keep_vocabulary(conn, base.id, await asyncio.to_thread(spell_tokens, tokenizer))
    template = await open_template(stack, tokenizer, settings.template)
    return make_model(engine, router, tokenizer, template=template, share=share), deployer


async def open_hosted(
    stack: AsyncExitStack, pool: Pool, config: Config, settings: HostedSettings
) -> Hosted:
    """A hosted model with a session to its upstream. Raises MissingKey."""
    key = settings.read_key()
    gateway = msgspec.structs.replace(
        config.gateway,
        upstream=settings.upstream,
        silent_seconds=max(
            config.gateway.silent_seconds, settings.timeout, settings.answer_timeout
        ),
    )
    upstream = await stack.enter_async_context(Upstream(gateway))
    access: Access | None = None
    if config.api.asks_for_keys:
        owners = await stack.enter_async_context(OwnerStore(pool, upstream.address))
        access = Access(gateway, owners)
    return Hosted(settings=settings, upstream=upstream, key=key, access=access)


async def open_template(
    stack: AsyncExitStack, tokenizer: Any, settings: TemplateSettings
) -> ChatTemplate | None:
    """The model's template, warm; None where there is none that can be taken."""
    if not has_template(tokenizer):
        return None
    try:
        template = ChatTemplate(tokenizer, settings)
        stack.push_async_callback(template.close)
        await template.start()
    except TemplateRefusal as error:
        # Completions go on. A base that nobody could chat with was refused when it was checked.
        log.error("no chats are answered: the model's chat template %s", error)
        return None
    return template


async def open_limiter(
    stack: AsyncExitStack, pool: Pool, place: Place, directory: Directory, tariffs: Tariffs
) -> Limiter:
    """The limits and budgets of all keys, by leases from the database; what this process has of
    them goes back when the stack is closed."""
    config = place.config
    proxy = find_proxy(config.warnings.url)
    session = await stack.enter_async_context(aiohttp.ClientSession(proxy=proxy))
    webhook = Webhook(config.warnings, session)
    stack.push_async_callback(webhook.close)
    instance = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
    leases = LeaseRows(pool, instance, warn_at=config.warnings.share)
    limiter = make_limiter(
        config.api,
        store=leases,
        find_tenant=directory.find_tenant,
        find_price=tariffs.find,
        spent=webhook.warn,
    )
    stack.push_async_callback(limiter.give_back)
    for work in (
        limiter.keep_reporting(),
        keep_giving_back(place.dsn, limiter),
        leases.keep_forgetting(),
    ):
        stack.callback(asyncio.create_task(work).cancel)
    return limiter


async def open_tariffs(stack: AsyncExitStack, pool: Pool) -> Tariffs:
    """The prices, which are kept up to date until the stack is closed."""
    tariffs = Tariffs(pool)
    await tariffs.refresh()
    stack.callback(asyncio.create_task(tariffs.keep_fresh()).cancel)
    return tariffs


async def open_spill(folder: Path, limit: int, *, patience: float = deadlines.PATIENCE) -> Spill:
    """The folder's rows, once the predecessor that still answers has let go of them: one whose
    supervisor was killed takes up to ``patience`` seconds for it. Raises SpillInUse after that,
    and SpillUnreadable."""
    clock = asyncio.get_running_loop().time
    deadline, told = clock() + patience, False
    while True:
        try:
            return Spill(folder, limit)
        except SpillInUse as error:
            if clock() >= deadline:
                raise
            if not told:
                log.warning("waiting until it has ended: %s", error)
                told = True
        await asyncio.sleep(SPILL_POLL)


async def open_writer(stack: AsyncExitStack, pool: Pool, place: Place, role: str) -> Writer:
    """The role's own writer; what it leaves on disk, the next one of the role writes."""
    spill = await open_spill(place.home / "spill" / role, place.config.record.spill_bytes)
    stack.callback(spill.close)
    settings = place.config.record
    writer = Writer(
        pool,
        close_timeout=deadlines.RECORD,
        late_after=settings.late_seconds,
        most_feedback=settings.feedback_per_answer,
        charge=Ledger(),
        spill=spill,
    )
    return await stack.enter_async_context(writer)


async def open_recorder(stack: AsyncExitStack, pool: Pool, place: Place, role: str) -> Recorder:
    """The role's writer, with metrics of what it is given where they are to be sent somewhere.
    Raises TelemetryUnavailable."""
    settings = place.config.telemetry
    if not settings.endpoint:
        return await open_writer(stack, pool, place, role)
    instance = f"{socket.gethostname()}:{place.config.api.port}"
    metrics = await stack.enter_async_context(counting(open_reader(settings), instance))
    return MeteredRecorder(await open_writer(stack, pool, place, role), metrics)
