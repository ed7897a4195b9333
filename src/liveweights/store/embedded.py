"""The embedded Postgres server: nothing to install, by default nothing on the network."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Generator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

import psycopg
from psycopg.conninfo import make_conninfo

from liveweights import machine
from liveweights.store import binaries, place
from liveweights.store.access import Access
from liveweights.store.strays import remove_strays

DATABASE = "liveweights"
SHARED = Path("/var/lib/liveweights-postgres")
"""Not the home of the system service's user (docs/deploy.md), which is closed to others."""
LOG_LIMIT = 16 * 2**20
DYING = 5.0
"""Seconds for which a process that was killed may still be found."""
"""Bytes of the server's log, and of the piece before it that is kept."""
SETTINGS: Mapping[str, str] = {
    "shared_buffers": "128MB",
    "max_connections": "60",
    "synchronous_commit": "on",
    "max_wal_size": "1GB",
    # A segment of the log goes when it is not needed: recycled, it would keep removed rows.
    "wal_recycle": "off",
    # The server's log has no rows of anybody: neither those that a statement failed on, nor it.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "max_parallel_workers_per_gather": "0",  # containers have little /dev/shm
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class ServerError(RuntimeError):
    """The server did not start or did not stop; the message has the tail of its log."""


class EmbeddedPostgres:
    """A Postgres server in ``folder``, reached through a Unix socket.

    Only root and the user who starts it may connect (peer authentication, folder mode 0700),
    unless ``access`` says otherwise.
    As root the server runs as the user named in ``LIVEWEIGHTS_POSTGRES_USER``, else ``nobody``.

    Whoever calls ``start`` while a server is running attaches to it. The one who started it owns
    it, and ``stop`` ends it for all; in the others ``stop`` only lets go. When the owner has
    died, or has left it to others, the next to attach becomes the owner.

    ``settings`` are Postgres parameters that replace those in ``SETTINGS``. ``process_memory`` is
    the most address space of each of its processes, in bytes (Linux): one that wants more gets an
    error, where it would otherwise take the machine's memory. ``shared`` is where root puts what
    the server's user could not reach otherwise.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: Mapping[str, str] | None = None,
        access: Access | None = None,
        process_memory: int | None = None,
        shared: Path = SHARED,
        start_timeout: float = 120.0,
    ) -> None:
        self.folder = folder.absolute()
        self._settings = {**SETTINGS, **(settings or {})}
        self._access = access or Access()
        self._process_memory = process_memory
        self._shared = shared
        self._start_timeout = start_timeout
        self._place: place.Place | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ownership: IO[bytes] | None = None

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        if self._place is None:
            return None
        if self._process is not None:
            self._process.poll()  # so that a dead child does not stay a zombie
        return _running(self._place.data)

    def is_running(self) -> bool:
        """Whether it serves. One that was told to end (SIGTERM) lets nobody in any more and waits
        for its clients, for ever if they stay: it does not, nor one whose socket was removed."""
        if self._place is None or self.pid is None or _ends(self._place.data):
            return False
        return self._socket(self._place).exists()

    def trim_log(self) -> None:
        """Keep the log within ``LOG_LIMIT``; what was last in it before is then in ``log.old``."""
        if self._place is not None:
            _trim(self._place)

    @property
    def folder_on_disk(self) -> Path:
        """Where the files are. Raises ServerError before ``start``."""
        if self._place is None:
            raise ServerError(f"the server in {self.folder} was not started")
        return self._place.root

    @property
    def owned(self) -> bool:
        """Whether ``stop`` ends the server."""
        return self._ownership is not None

    @property
    def dsn(self) -> str:
        """Where to connect. Raises ServerError before ``start``."""
        if self._place is None:
            raise ServerError(f"the server in {self.folder} was not started")
        return self._dsn(self._place, DATABASE)

    @property
    def open_socket_folder(self) -> Path | None:
        """Where everybody's socket is, if there is one. Raises ServerError before ``start``."""
        if self._place is None:
            raise ServerError(f"the server in {self.folder} was not started")
        return self._place.open_folder if self._access.open_socket else None

    def clones_files(self) -> bool:
        """Whether the data's file system clones files (reflink). Raises ServerError before
        ``start``."""
        if self._place is None:
            raise ServerError(f"the server in {self.folder} was not started")
        return self._place.clones_files()

    def remove_strays(self) -> int:
        """Free the disk of databases whose creation a crash cut off; gives their number.
        Raises ServerError before ``start``."""
        if self._place is None:
            raise ServerError(f"the server in {self.folder} was not started")
        return remove_strays(self.dsn, self._place)

    def start(self) -> str:
        """Start the server, or attach to the one that runs, and return its DSN.

        Returns when the server accepts connections; after a crash that is after its recovery.
        Calling it again is harmless, and starts it again if it has died or was told to end.
        Raises ServerError, PlaceError, AccountError, NoBinaries.
        """
        if os.geteuid() == 0:
            _make_passable(self._shared)
        user = os.environ.get("LIVEWEIGHTS_POSTGRES_USER", "nobody")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(self.folder / "lock"):
            runs = _running(place.root_of(self.folder) / "data") is not None
            self._place = place.settle(self.folder, self._shared, user, runs=runs)
            self._own()
            if self.pid is not None and not self.is_running():
                self._end()
            if not self._attach(self._place):
                programs = binaries.reachable(self._place.account, self._shared)
                self._initialise(self._place, programs)
                self._launch(self._place, programs)
                self._wait(self._place)
                self._create_database(self._place)
        return self.dsn

    def _attach(self, where: place.Place) -> bool:
        """Use the server that runs; False where none does. Raises ServerError."""
        if self.pid is None or not self._wait(where):
            return False
        self._join(where)
        try:
            self._create_database(where)
        except ServerError:
            if not _until(lambda: self.pid is None, DYING):
                raise
            return False
        return True

    def stop(self, *, owned: bool = False, unless: Callable[[], bool] | None = None) -> None:
        """End the server if this object owns it, or if nobody does any more, or if it is ``owned``
        by whoever calls this, whoever started it: running transactions are rolled back. ``unless``
        somebody needs it, which is asked while nobody can start or attach: then it is left to
        those."""
        if self._place is None or not self.folder.exists():
            return
        with _locked(self.folder / "lock"):
            # Whoever started it may have left it to whoever it was attached to.
            self._own()
            if self._ownership is None and not owned:
                return
            if unless is None or not unless():
                self._end()
                _end_orphans(self._place.data)
            if self._ownership is not None:
                self._ownership.close()
                self._ownership = None

    def destroy(self) -> None:
        """Stop the server and remove its folder with all data. Raises ServerError if it is
        somebody else's."""
        self.stop()
        if not self.folder.exists():
            return
        with _locked(self.folder / "lock"):
            self._own()
            if self._ownership is None:
                raise ServerError(f"the server in {self.folder} is in use by another process")
            self._ownership.close()
            self._ownership = None
            root = place.root_of(self.folder)
            if (pid := _running(root / "data")) is not None:
                _signal(pid, signal.SIGKILL)
            _end_orphans(root / "data")
            for folder in {root, self.folder, *place.outside(root)}:
                shutil.rmtree(folder, ignore_errors=True)
        self._place = None

    def _end(self) -> None:
        for signal_number, patience in (
            (signal.SIGINT, 60.0),  # "fast": checkpoint, then end
            (signal.SIGQUIT, 10.0),  # "immediate": recovery at the next start
            (signal.SIGKILL, 10.0),
        ):
            pid = self.pid
            if pid is None:
                return
            _signal(pid, signal_number)
            _until(lambda: self.pid is None, patience)
        if self.pid is not None:
            raise ServerError(f"the server (process {self.pid}) does not end")

    def _own(self) -> None:
        """Become the owner unless another process is: the kernel ends ownership with it."""
        if self._ownership is not None:
            return
        file = (self.folder / "owner").open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            self._ownership = file

    def _socket(self, where: place.Place) -> Path:
        return where.socket_folder / f".s.PGSQL.{self._access.port}"

    def _dsn(self, where: place.Place, database: str) -> str:
        return make_conninfo(
            host=str(where.make_socket_folder()),
            port=self._access.port,
            dbname=database,
            user=DATABASE,
            password=self._access.password,
        )

    def _initialise(self, where: place.Place, programs: Path) -> None:
        if where.data.exists():
            return
        # Made under another name and renamed, so that dying half-way leaves nothing usable; a name
        # of its own each time, because an initdb may outlive whoever started it.
        for abandoned in where.root.glob("data.new-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        staging = where.root / f"data.new-{secrets.token_hex(4)}"
        secret = where.root / "password"
        if self._access.password:
            where.account.write(secret, self._access.password)
        status, output = where.account.run([
            programs / "initdb",
            f"--pgdata={staging}",
            f"--username={DATABASE}",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--data-checksums",
            "--auth=reject",
            *([f"--pwfile={secret}"] if self._access.password else []),
            *(["--no-sync"] if self._settings.get("fsync") == "off" else []),
        ])  # fmt: skip
        secret.unlink(missing_ok=True)
        if status != 0:
            raise ServerError(f"initdb failed in {where.root}:\n{_tail(output)}")
        staging.rename(where.data)

    def _launch(self, where: place.Place, programs: Path) -> None:
        _end_orphans(where.data)
        sockets = [where.make_socket_folder()]
        if self._access.open_socket:
            sockets.append(where.make_open_folder())
        # No process has them any more, but their ids may have been given to other processes,
        # which Postgres would take for a server.
        for stale in (
            where.data / "postmaster.pid",
            *(folder / f".s.PGSQL.{self._access.port}.lock" for folder in sockets),
        ):
            stale.unlink(missing_ok=True)
        self._admit(where)
        _trim(where)
        settings = {
            **self._settings,
            "listen_addresses": self._access.addresses,
            "port": str(self._access.port),
            "unix_socket_directories": ", ".join(f'"{folder}"' for folder in sockets),
            "unix_socket_permissions": "0777" if self._access.open_socket else "0700",
            "hba_file": str(where.data / "pg_hba.conf"),
        }
        # The log is opened by the server's user, not by root (see Account.write).
        limit = f"ulimit -v {self._process_memory // 1024}; " if self._process_memory else ""
        self._process = where.account.popen(
            ["/bin/sh", "-c", f'umask 077; {limit}exec "$@" >> "$0" 2>&1', where.log]
            + [programs / "postgres", "-D", where.data]
            + [f"--{name}={value}" for name, value in settings.items()]
        )

    def _admit(self, where: place.Place, others: Collection[str] = ()) -> None:
        """Let root, this process's user, the owner of the data and ``others`` connect, and whom
        ``access`` admits."""
        own = {_name_of(os.geteuid()), _name_of(where.account.uid)}
        names = {"root", *others} | {name for name in own if name}
        files = {
            "pg_hba.conf": self._access.hba(DATABASE),
            "pg_ident.conf": "".join(f'users "{name}" {DATABASE}\n' for name in sorted(names)),
        }
        for name, text in files.items():
            where.account.write(where.data / name, text)

    def _join(self, where: place.Place) -> None:
        """Let this process's user, too, connect to a server that another user has started."""
        written = (where.data / "pg_ident.conf").read_text()
        admitted = [line.split('"')[1] for line in written.splitlines() if '"' in line]
        if (pid := self.pid) is None or _name_of(os.geteuid()) in (None, *admitted):
            return
        self._admit(where, admitted)
        _signal(pid, signal.SIGHUP)
        deadline = time.monotonic() + 10.0
        while time.monotonic() < deadline:  # it reads them when it gets round to it
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self._dsn(where, "postgres")).close()
                return
            time.sleep(0.05)

    def _wait(self, where: place.Place) -> bool:
        """Until the server accepts connections. False if it was somebody else's and has ended."""
        deadline = time.monotonic() + self._start_timeout
        while not _ready(where.data):
            if self._process is None:
                if self.pid is None:
                    return False
            elif self._process.poll() is not None:
                status, self._process = self._process.returncode, None
                if self.pid is None:  # otherwise another one was quicker
                    raise ServerError(
                        f"Postgres ended with status {status} while starting in {where.root}. "
                        f"Its log ends with:\n{_log_tail(where.log)}"
                    )
            if time.monotonic() > deadline:
                raise ServerError(
                    f"Postgres in {where.root} did not accept connections within "
                    f"{self._start_timeout:g} s. Its log ends with:\n{_log_tail(where.log)}"
                )
            time.sleep(0.02)
        return True

    def _create_database(self, where: place.Place) -> None:
        try:
            with psycopg.connect(self._dsn(where, "postgres"), autocommit=True) as conn:
                query = "select 1 from pg_database where datname = %s"
                if conn.execute(query, (DATABASE,)).fetchone() is None:
                    conn.execute(f"create database {DATABASE}")
        except psycopg.OperationalError as error:
            raise ServerError(
                f"cannot connect to the server in {where.root}: {error}. Its log ends with:\n"
                f"{_log_tail(where.log)}"
            ) from error


def _name_of(uid: int) -> str | None:
    """None for a user who is not on this machine now."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _make_passable(folder: Path) -> None:
    """Make a folder that the server's user, too, can pass through, whatever the umask."""
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)


def port_in_use(folder: Path) -> int | None:
    """The port of the server that runs in ``folder``, if one does."""
    data = place.root_of(folder.absolute()) / "data"
    lines = _pid_file(data)
    return int(lines[3]) if len(lines) > 3 and _running(data) is not None else None


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    """An exclusive lock between processes."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _pid_file(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _running(data: Path) -> int | None:
    """The process id of the server on ``data``; a recycled id is told by its working folder."""
    lines = _pid_file(data)
    if not lines or not lines[0].strip().isdecimal():
        return None
    pid = int(lines[0])
    return pid if machine.working_folder(pid) == os.path.realpath(data) else None


def _ready(data: Path) -> bool:
    return _running(data) is not None and _status(data) == "ready"


def _ends(data: Path) -> bool:
    return _status(data) == "stopping"


def _status(data: Path) -> str:
    """What the server says of itself: starting, ready or stopping."""
    lines = _pid_file(data)
    return lines[7].strip() if len(lines) >= 8 else ""


def _trim(where: place.Place) -> None:
    """Emptied in place: the server appends to it, and would go on in a file that was renamed."""
    if not where.log.exists() or where.log.lstat().st_size <= LOG_LIMIT:
        return
    script = 'umask 077; tail -c "$3" "$1" > "$2"; : > "$1"'
    where.account.run(
        ["/bin/sh", "-c", script, "sh", where.log, where.log.with_suffix(".old"), str(LOG_LIMIT)]
    )


def _end_orphans(data: Path, patience: float = 5.0) -> None:
    """Wait for, then kill, server processes whose parent or whose folder is gone.

    They hold the shared memory, and with it the data: a new server must not start before the
    last one is gone, which would remove the new one's socket as its own. They end by themselves
    unless they are deep in a query.
    """
    if _until(lambda: not machine.processes_in(data), patience):
        return
    for pid in machine.processes_in(data):
        _signal(pid, signal.SIGKILL)
    if not _until(lambda: not machine.processes_in(data), patience):
        left = machine.processes_in(data)
        raise ServerError(f"processes {left} of an earlier server in {data} do not end")


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _until(condition: Callable[[], bool], patience: float) -> bool:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _tail(text: str, lines: int = 20) -> str:
    return "\n".join(text.splitlines()[-lines:])


def _log_tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        return _tail(file.read().decode(errors="replace"))
