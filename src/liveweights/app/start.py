"""What has to be true before anything of a service is started; each refusal is one sentence."""

from __future__ import annotations

import asyncio
import errno
import logging
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import psycopg

from liveweights.access.audit import Event
from liveweights.access.commands import note
from liveweights.access.oidc import OidcUnavailable, Provider
from liveweights.app.billing import PricesRefused
from liveweights.app.profiles import CatalogueRefused
from liveweights.catalog.card import read_card
from liveweights.catalog.check import check_model
from liveweights.config import Config
from liveweights.holder import Held
from liveweights.http.server import PortTaken, bind
from liveweights.model_table import ConfigError, ModelSettings
from liveweights.release.alias import AliasError
from liveweights.release.standing import stand
from liveweights.serve.gateway.counts import UnreadableTokenizer
from liveweights.store.account import AccountError
from liveweights.store.binaries import NoBinaries
from liveweights.store.database import BadAddress, check_dsn, open_pool
from liveweights.store.embedded import ServerError
from liveweights.store.faults import Fault, fault_of
from liveweights.store.migrate import MigrationError
from liveweights.store.partitions import ensure_ahead
from liveweights.store.place import PlaceError
from liveweights.store.tiers import UnsupportedServer, detect
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import source_files
from liveweights.weights.finding import find_apart
from liveweights.weights.gguf_base import learning_obstacle
from liveweights.weights.models import ModelAway, ModelNotFound

log = logging.getLogger(__name__)

PORT_PATIENCE = 5.0
"""Seconds for which a predecessor that was killed may still have the port."""


EXTRAS = {"openvino": "openvino", "ternary": "llvmlite"}
"""Engines that need an extra of their name, and the package in it that says that it is there."""


class CannotStart(RuntimeError):
    """The service is not started; the message says why and what to do."""


class NotYet(CannotStart):
    """It can be started later, with nothing mended."""


class CannotLearn(RuntimeError):
    """A model is to learn and cannot; the message says why and what to do."""

    def __init__(self, model: str, why: str) -> None:
        super().__init__(
            f"The model {model!r} cannot learn: {why}. It is served without learning by "
            "`liveweights serve`, and with `learn = false` in its [models.NAME] table."
        )


REFUSALS = (
    AccountError,
    AliasError,
    BadAddress,
    CannotLearn,
    CannotStart,
    CatalogueRefused,
    ConfigError,
    Held,
    MigrationError,
    ModelNotFound,
    NoBinaries,
    OidcUnavailable,
    OSError,
    PlaceError,
    PricesRefused,
    ServerError,
    UnreadableTokenizer,
    UnsupportedServer,
)
"""All that keeps a service from starting; each says why in a sentence."""


_LASTING = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EEXIST),
    *(errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
}
"""What is wrong with a file until somebody mends it."""


def passes(error: BaseException) -> bool:
    """Whether a later start may go well with nothing mended: the database or an address is not
    there yet, the machine is short of something, a server takes long."""
    if isinstance(error, psycopg.Error):
        return fault_of(error) is not Fault.REQUEST
    if isinstance(error, OSError):
        return error.errno not in _LASTING
    return isinstance(error, NotYet | ServerError | ModelAway)


def make_provider(config: Config) -> Provider | None:
    """By whose word people sign in to the console; None where there is nobody of the kind. Raises
    OidcUnavailable."""
    return Provider(config.oidc) if config.oidc.issuer else None


async def find_port(host: str, port: int) -> int:
    """The port to listen on, for 0 a free one: every process has to know the same. Raises
    CannotStart where somebody else listens there."""
    deadline = asyncio.get_running_loop().time() + PORT_PATIENCE
    while True:
        try:
            found = port
            for bound in bind(host, port):
                found = found or bound.getsockname()[1]
                bound.close()
            return found
        except PortTaken as error:
            if not error.in_use or asyncio.get_running_loop().time() > deadline:
                refusal = NotYet if error.passes else CannotStart
                raise refusal(str(error)) from error
        await asyncio.sleep(0.1)


async def check_database(dsn: str) -> None:
    """Raise NotYet where the given server cannot be reached."""
    check_dsn(dsn)
    try:
        async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=10):
            pass
    except psycopg.Error as error:
        raise NotYet(f"The database cannot be reached: {' '.join(str(error).split())}") from error


async def find_base(model: ModelSettings, cache: Path, *, learns: bool) -> Checkpoint:
    """The base that a model's settings name, once all is known to be well with it.

    ``learns`` is whether a worker here will learn from what it answers. Raises ModelNotFound,
    BrokenModel, CannotLearn, and CannotStart where the engine is not installed.
    """
    kind = model.engine.kind
    if (package := EXTRAS.get(kind)) is not None and find_spec(package) is None:
        raise CannotStart(f"The {kind} engine needs its extra: pip install 'liveweights[{kind}]'.")
    base = await find_apart(model.base, cache)
    await check_model(base, model.base, model.engine.kind, cache)
    if learns and kind == "ternary" and model.learn.updater == "full":
        raise CannotLearn(
            model.base, "learn.updater = 'full' changes weights, and ternary ones stay; 'lora' adds"
        )
    if source_files(base.folder):
        await asyncio.to_thread(_look_at_gguf, model, base.folder, learns)
    return base


def _look_at_gguf(model: ModelSettings, folder: Path, learns: bool) -> None:
    """Raise CannotLearn where nothing can be learnt on it, and should be."""
    if model.engine.precision != "auto":
        log.warning("%s has a precision of its own; engine.precision is not used", model.base)
    if not learns:
        return
    obstacle = learning_obstacle(folder)
    if model.learn.updater == "full":
        obstacle = "learn.updater = 'full' changes weights, and those in a GGUF stay; 'lora' adds"
    if obstacle is not None:
        raise CannotLearn(model.base, obstacle)


async def settle(
    dsn: str, config: Config, model: ModelSettings, base: Checkpoint, *, switch: bool
) -> str:
    """Let the model's alias stand on ``base``; what is live on it then. Raises AnotherBase,
    AliasError."""
    facts = await asyncio.to_thread(read_card, base, config.cache_folder())
    pool = await open_pool(dsn)
    try:
        async with pool.connection() as conn:
            tier = await detect(conn, embedded=config.database_url() is None)
            log.info("Postgres %s, tier %s", tier.version, tier.kind)
            for sentence in tier.lacks:
                log.warning("%s", sentence)
            await ensure_ahead(conn)
            event = Event("switch base", model.alias, {"base": base.id})
            return await stand(
                conn,
                model.alias,
                base,
                facts,
                model=model.base,
                switch=switch,
                also=partial(note, event=event),
            )
    finally:
        await pool.close()
