"""Rows of the audit, for what commands change."""

from __future__ import annotations

import os
import pwd

from liveweights.access.audit import COMMAND, Do, Event, T, carry_out, write_entry
from liveweights.store.database import Connection


async def carry_out_command(conn: Connection, do: Do[T]) -> T:
    """What ``do`` gives; its change and the row of it are one transaction."""
    return await carry_out(conn, COMMAND, do, _beside())


async def note(conn: Connection, event: Event) -> None:
    """The row of a change, in its transaction."""
    await write_entry(conn, COMMAND, event, _beside())


def _beside() -> dict[str, str]:
    return {"system_user": find_user()}


def find_user() -> str:
    """Who runs the command, as the operating system has it: by name, by number without one."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
