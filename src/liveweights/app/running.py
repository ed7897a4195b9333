"""What a home knows of the service that runs on it, or ran last: its settings and its address.

Commands find them by ``--home``, so that nobody has to repeat ``--config`` or a port.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from liveweights.config import EMBEDDED, Config
from liveweights.file_modes import write_durably
from liveweights.model_table import ConfigError
from liveweights.store.database import complete_dsn

T = TypeVar("T")
FILE = "service.json"
SECRETS = (("api", "keys"), ("api", "operator_key"), ("oidc", "client_secret"))
"""Settings that no command needs: they are not written down again."""
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}
"""Addresses that a service listens on, and how this machine reaches it there."""


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """The service's settings, and the URL of its API for this machine."""

    config: Config
    url: str


class _Settings(msgspec.Struct, frozen=True):
    database: str = EMBEDDED


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What the next start goes by. ``file`` is the settings file, as a whole path; empty: there was
    none. It is understood whatever version wrote it."""

    file: str = ""
    config: _Settings = _Settings()

    @property
    def database(self) -> str | None:
        """The given server's connection string, None for the embedded one."""
        return None if self.config.database == EMBEDDED else self.config.database


def write_running(home: Path, config: Config, url: str, file: Path | None = None) -> None:
    """In a file for its owner's eyes only: the database's address may hold a password. What this
    process's environment says of it, and of the cache, is written out, since commands run in
    others. Keys are not in it, but whether one is asked for. ``file`` is the settings file that the
    settings are of, if they are of one. Raises BadAddress."""
    settings: dict[str, Any] = msgspec.to_builtins(config)
    dsn = config.database_url()
    settings["database"] = EMBEDDED if dsn is None else complete_dsn(dsn)
    settings["cache"] = str(config.cache_folder().absolute())
    for section, key in SECRETS:
        settings.get(section, {}).pop(key, None)
    settings["api"]["require_keys"] = config.api.asks_for_keys
    kept = {"config": settings, "url": url, "file": "" if file is None else str(file.absolute())}
    write_durably(home / FILE, msgspec.json.encode(kept))


def read_running(home: Path) -> Running | None:
    """None where no service has run. Raises ConfigError for what another version wrote."""
    return _read(
        home, Running, "is of another version of the service", "start it once, or say --config"
    )


def read_start(home: Path) -> Start | None:
    """None where no service has run. Raises ConfigError for a file that is broken."""
    return _read(
        home,
        Start,
        "does not say what the service was last started with",
        f"say its settings file (--config), and in that its `database` ({EMBEDDED!r}: one of its"
        " own)",
    )


def _read(home: Path, kind: type[T], wrong: str, mend: str) -> T | None:
    file = home / FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{file} {wrong} ({error}): {mend}") from error


def url_of(host: str, port: int) -> str:
    """Where this machine reaches what listens there."""
    name = ANYWHERE.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}"
