"""The operating-system user that a server runs as: Postgres refuses to run as root."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class AccountError(RuntimeError):
    """The server's user does not exist or this process may not become it."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user id with its group; ``switch`` says that it is not this process's own."""

    uid: int
    gid: int
    switch: bool

    @classmethod
    def own(cls) -> Account:
        return cls(os.geteuid(), os.getegid(), switch=False)

    @classmethod
    def named(cls, name: str) -> Account:
        """Raises AccountError if there is no such user, or if it is root."""
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise AccountError(
                f"there is no user {name!r} on this machine to run Postgres as; create it, or name "
                "another one in LIVEWEIGHTS_POSTGRES_USER"
            ) from None
        return cls._checked(entry.pw_uid, entry.pw_gid)

    @classmethod
    def owner_of(cls, path: Path) -> Account:
        status = path.stat()
        return cls._checked(status.st_uid, status.st_gid)

    @classmethod
    def _checked(cls, uid: int, gid: int) -> Account:
        if uid == 0:
            raise AccountError("Postgres refuses to run as root; name another user")
        return cls(uid, gid, switch=uid != os.geteuid())

    def popen(
        self, command: Sequence[str | Path], output: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start ``command`` as this user, in a session of its own, from ``/``.

        The environment is a small fixed one: what is set in the caller's (``PGDATA``, a locale)
        must not change what the server does.
        """
        uid, gid, groups = (self.uid, self.gid, ()) if self.switch else (None, None, None)
        try:
            return subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                start_new_session=True,
                user=uid,
                group=gid,
                extra_groups=groups,
            )
        except (PermissionError, subprocess.SubprocessError) as error:
            raise AccountError(
                f"could not start {command[0]} as user id {self.uid}: {error}. If this process "
                "may not change its user, run it as an ordinary user instead of root"
            ) from error

    def run(self, command: Sequence[str | Path]) -> tuple[int, str]:
        """Exit status and output of ``command``."""
        process = self.popen(command, subprocess.PIPE)
        output, _ = process.communicate()
        return process.returncode, output.decode(errors="replace")

    def write(self, path: Path, text: str) -> None:
        """Replace the content of a file of this user's.

        Root must not write into folders that belong to somebody else: a link could lead it
        anywhere. So the writing, too, is done as this user.
        """
        script = 'umask 077 && printf %s "$2" > "$1"'
        status, output = self.run(["/bin/sh", "-c", script, "sh", path, text])
        if status != 0:
            raise AccountError(f"user id {self.uid} cannot write {path}: {output.strip()}")

    def can_enter(self, folder: Path) -> bool:
        """Whether this user reaches ``folder`` through all of its parents (tried, not guessed)."""
        if not self.switch:
            return os.access(folder, os.X_OK)
        return self.run(["/bin/sh", "-c", 'cd "$1"', "sh", folder])[0] == 0

    def can_run(self, program: Path) -> bool:
        if not self.switch:
            return os.access(program, os.X_OK)
        return self.run(["/bin/sh", "-c", '"$1" --version', "sh", program])[0] == 0

    def take(self, path: Path) -> None:
        """Make ``path`` this user's own and nobody else's."""
        if self.switch:
            os.chown(path, self.uid, self.gid)
        path.chmod(0o700)
