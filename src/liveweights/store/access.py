"""Who may connect to an embedded server, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PORT = 5432


@dataclass(frozen=True, slots=True)
class Access:
    """What is open beside the superuser's own way in. By default: nothing.

    ``addresses`` are those that the server listens on at ``port`` (``listen_addresses``). With
    ``open_socket`` there is a second Unix socket, in a folder that every user of the machine may
    enter. ``rules`` are lines of ``pg_hba.conf`` for everybody but the superuser.

    With ``password`` the superuser is asked for it (SCRAM). Without, the kernel says who connects
    (peer): wrong as soon as processes of the same user are not trusted and reach a socket.
    """

    port: int = PORT
    addresses: str = ""
    open_socket: bool = False
    password: str | None = None
    rules: Sequence[str] = ()

    def hba(self, superuser: str) -> str:
        """The content of ``pg_hba.conf``."""
        own = f"local all {superuser} scram-sha-256" if self.password else ""
        return "\n".join([own or "local all all peer map=users", *self.rules, ""])
