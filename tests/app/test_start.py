"""What is seen of a model before anything is started."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psycopg
import pytest
from tests.audit import read_changes
from tests.weights.gguf_files import write_gguf

from liveweights.access.oidc_settings import OidcSettings
from liveweights.app.start import (
    REFUSALS,
    CannotLearn,
    CannotStart,
    check_database,
    find_base,
    find_port,
    make_provider,
    passes,
    settle,
)
from liveweights.config import Config
from liveweights.holder import Held
from liveweights.http.server import bind
from liveweights.model_table import ConfigError
from liveweights.release.alias import AnotherBase
from liveweights.store.embedded import ServerError
from liveweights.store.place import PlaceError
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import BrokenModel


def look(file: Path, *, learns: bool, **table: Any) -> Checkpoint:
    config = msgspec.convert({"models": {"own": {"base": str(file), **table}}}, Config)
    return asyncio.run(find_base(config.find_model(), file.parent / "cache", learns=learns))


def test_a_gguf_that_can_be_learnt_on_is_a_base(tmp_path: Path) -> None:
    base = look(write_gguf(tmp_path / "own.gguf"), learns=True)
    assert base.id.startswith("own@")


def test_a_gguf_that_cannot_be_learnt_on_is_served_where_nothing_is_learnt(tmp_path: Path) -> None:
    more = [("blk.0.attn_sinks.weight", np.zeros((4, 32), np.float32))]
    file = write_gguf(tmp_path / "own.gguf", extra=more)
    with pytest.raises(CannotLearn, match=r"attn_sinks.*`liveweights serve`.*`learn = false`"):
        look(file, learns=True)
    assert look(file, learns=False).name == "own"


@pytest.mark.parametrize(
    ("table", "error", "why"),
    [
        (
            {"engine": {"kind": "torch"}},
            BrokenModel,
            "in a GGUF file, which only the llama engine reads, not torch",
        ),
        ({"learn": {"updater": "full"}}, CannotLearn, "those in a GGUF stay"),
    ],
)
def test_what_does_not_go_with_a_gguf_is_refused(
    table: dict[str, Any], error: type[Exception], why: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=why):
        look(write_gguf(tmp_path / "own.gguf"), learns=True, **table)


def test_a_start_that_switches_an_alias_is_in_the_audit(database_dsn: str, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "own.gguf")
    base = look(file, learns=False)
    with psycopg.connect(database_dsn) as conn:
        conn.execute(
            "insert into checkpoints (id, kind, folder, card) values ('m@1', 'base', '/', '{}')"
        )
        conn.execute("insert into aliases (name, live, served_at) values ('own', 'm@1', now())")
    config = msgspec.convert({"models": {"own": {"base": str(file)}}}, Config)

    def start(*, switch: bool) -> str:
        return asyncio.run(settle(database_dsn, config, config.find_model(), base, switch=switch))

    with pytest.raises(AnotherBase):
        start(switch=False)
    assert read_changes(database_dsn) == []
    assert [start(switch=True), start(switch=True)] == [base.id, base.id]
    assert read_changes(database_dsn) == [("command", "switch base", "own")]


def test_a_provider_of_the_console_that_is_not_whole_is_refused() -> None:
    assert make_provider(Config()) is None
    half = Config(oidc=OidcSettings(issuer="https://id.acme.test"))
    with pytest.raises(REFUSALS, match=r"\[oidc\]"):
        make_provider(half)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", ""])
def test_port_0_is_one_port_that_is_free_on_every_address(host: str) -> None:
    port = asyncio.run(find_port(host, 0))
    assert port > 0
    assert asyncio.run(find_port(host, port)) == port


def test_a_port_that_is_taken_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("liveweights.app.start.PORT_PATIENCE", 0.0)
    (taken,) = bind("127.0.0.1", 0)
    with taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart, match="is in use") as raised:
            asyncio.run(find_port("127.0.0.1", port))
    assert not passes(raised.value)


def start_error(dsn: str) -> Exception:
    with pytest.raises(CannotStart) as raised:
        asyncio.run(check_database(dsn))
    return raised.value


@pytest.mark.parametrize(
    ("error", "does"),
    [
        (psycopg.OperationalError("the connection is lost"), True),
        (psycopg.errors.CannotConnectNow(), True),
        (psycopg.errors.LockNotAvailable(), True),
        (psycopg.errors.UniqueViolation(), False),
        (BlockingIOError(errno.EAGAIN, "no process can be made now"), True),
        (OSError(errno.ENOSPC, "the disk is full"), True),
        (OSError(errno.ENOMEM, "no memory"), True),
        (PermissionError(errno.EACCES, "closed"), False),
        (FileNotFoundError(errno.ENOENT, "gone"), False),
        (OSError(errno.EROFS, "read-only"), False),
        (ServerError("it did not accept connections within 120 s"), True),
        (PlaceError("cannot be kept there"), False),
        (ConfigError("no such key"), False),
        (Held("by another"), False),
        (CannotStart("the extra is missing"), False),
    ],
)
def test_what_passes_by_itself_is_told_from_what_has_to_be_mended(
    error: Exception, does: bool
) -> None:
    assert passes(error) is does


def test_a_database_that_is_not_up_yet_and_an_address_that_is_not_there_yet_pass() -> None:
    assert passes(start_error("host=127.0.0.1 port=1"))
    with pytest.raises(CannotStart, match="cannot be had") as raised:
        asyncio.run(find_port("192.0.2.1", 0))
    assert passes(raised.value)
