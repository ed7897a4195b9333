"""What this start takes from the one before it, so that a home's service does not forget its keys,
prices, rules and database."""

from __future__ import annotations

from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from liveweights.app.running import Start, read_start
from liveweights.cli.context import refuse, refuse_closed
from liveweights.cli.output import say
from liveweights.config import DATABASE_URL, EMBEDDED, Config
from liveweights.model_table import ConfigError


def find_file(given: Path | None, home: Path) -> Path | None:
    """The settings file of this start: without a ``given`` one that of the start before, which is
    said. Ends the command where that is gone."""
    if given is not None:
        return given
    start = _read_start(home)
    if start is None or not start.file:
        return None
    file = Path(start.file)
    try:
        is_there = file.exists()
    except PermissionError as error:
        raise refuse_closed(error) from error
    if not is_there:
        raise refuse(
            f"the service of {home} was last started with the settings file {file}, which is gone:"
            " say where it is now (--config FILE), or --config /dev/null for the defaults"
        )
    say(f"with the settings of {file}, as the last time; --config says others")
    return file


def require_database(config: Config, home: Path) -> None:
    """Ends the command where the service would leave its database for an empty one, and nobody said
    so."""
    if config.database_url() is not None or config.database == EMBEDDED:
        return
    start = _read_start(home)
    if start is None or start.database is None:
        return
    place = {**conninfo_to_dict(start.database)}
    place.pop("password", None)
    raise refuse(
        f"the service of {home} was last on the database {make_conninfo('', **place)!r}, and"
        f" nothing names one now: set `database` in the settings file, or ${DATABASE_URL}, as"
        f' then; `database = "{EMBEDDED}"` begins anew, on a server of its own'
    )


def _read_start(home: Path) -> Start | None:
    try:
        return read_start(home.resolve())
    except ConfigError as error:
        raise refuse(str(error)) from error
    except PermissionError as error:
        raise refuse_closed(error) from error
