from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from tests.folders import make_folder
from tests.processes import is_alive

from liveweights.store import binaries, place
from liveweights.store.account import Account, AccountError
from liveweights.store.embedded import LOG_LIMIT, EmbeddedPostgres, ServerError
from liveweights.store.place import PlaceError

pytestmark = pytest.mark.fault

QUICK = {"fsync": "off"}
Make = Callable[..., EmbeddedPostgres]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")

HOLDER = """
import sys, time
from pathlib import Path
from liveweights.store.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"})
server.start()
print(server.pid, server.owned, flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's user can reach."""
    path = make_folder()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def make(folder: Path) -> Iterator[Make]:
    """Servers that are gone after the test."""
    made: list[EmbeddedPostgres] = []

    def make_one(where: Path | None = None, **options: object) -> EmbeddedPostgres:
        server = EmbeddedPostgres(where or folder / "postgres", settings=QUICK, **options)  # type: ignore[arg-type]
        made.append(server)
        return server

    yield make_one
    for server in sorted(made, key=lambda server: not server.owned):
        server.destroy()


def hold(folder: Path) -> tuple[subprocess.Popen[str], int, bool]:
    """Another process with a server on ``folder``: it, the server's id, whether it owns it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    pid, owned = process.stdout.readline().split()
    return process, int(pid), owned == "True"


def value(dsn: str, query: str) -> object:
    with psycopg.connect(dsn) as conn:
        row = conn.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def put(dsn: str, number: int) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute("create table if not exists numbers (n int)")
        conn.execute("insert into numbers values (%s)", (number,))


def total(dsn: str) -> object:
    return value(dsn, "select sum(n)::int from numbers")


def test_a_server_from_nothing(make: Make) -> None:
    server = make()
    assert not server.is_running()
    with server:
        assert server.is_running()
        assert value(server.dsn, "select current_database()") == "liveweights"
        assert value(server.dsn, "show listen_addresses") == ""
        assert value(server.dsn, "show data_checksums") == "on"
        assert value(server.dsn, "show synchronous_commit") == "on"
        assert value(server.dsn, "show server_encoding") == "UTF8"
        assert value(server.dsn, "select upper('öl')") == "ÖL"
        put(server.dsn, 1)
        pid = server.pid
        assert server.start() == server.dsn  # again
        assert server.pid == pid
    assert not server.is_running()
    with server:
        assert total(server.dsn) == 1


def test_nobody_else_may_look_or_connect(make: Make, folder: Path) -> None:
    server = make()
    dsn = server.start()
    root = folder / "postgres" / "server"
    assert root.stat().st_mode & 0o777 == 0o700
    assert (root / ".s.PGSQL.5432").stat().st_mode & 0o777 == 0o700
    with pytest.raises(psycopg.OperationalError, match=r"Peer authentication failed"):
        psycopg.connect(dsn, user="postgres")


def test_after_the_postmaster_was_killed(make: Make) -> None:
    server = make()
    dsn = server.start()
    put(dsn, 1)
    with psycopg.connect(dsn, autocommit=True) as conn:  # a worker that outlives its parent
        conn.execute("select 1")
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        server.start()
    put(dsn, 2)
    assert total(dsn) == 3


def test_after_a_worker_that_does_not_notice(make: Make) -> None:
    """A stopped worker holds the shared memory until it is killed."""
    server = make()
    dsn = server.start()
    put(dsn, 1)
    conn = psycopg.connect(dsn)
    worker = conn.info.backend_pid
    pid = server.pid
    assert pid is not None
    os.kill(worker, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    server.start()
    assert total(dsn) == 1
    assert not is_alive(worker)
    conn.close()


def test_after_it_was_told_politely_to_end(make: Make) -> None:
    """It waits for its clients and lets nobody else in: it is ended and started again."""
    server = make()
    dsn = server.start()
    put(dsn, 1)
    with psycopg.connect(dsn) as conn:
        conn.execute("select 1")
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 60
        while server.is_running():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert server.pid == pid
        with pytest.raises(psycopg.OperationalError, match="shutting down"):
            psycopg.connect(dsn)
        server.start()
        assert server.is_running()
        assert server.pid != pid
        with pytest.raises(psycopg.OperationalError):
            conn.execute("select 1")
    put(dsn, 2)
    assert total(dsn) == 3


def test_another_launcher_ends_it_too(make: Make, folder: Path) -> None:
    holder, pid, _ = hold(folder / "postgres")
    second = make()
    dsn = second.start()
    with psycopg.connect(dsn):
        os.kill(pid, signal.SIGTERM)
        while second.is_running():
            time.sleep(0.02)
        second.start()
    assert second.pid != pid
    put(dsn, 1)
    holder.kill()
    holder.wait()


def test_after_everything_was_killed(make: Make, folder: Path) -> None:
    holder, pid, owned = hold(folder / "postgres")
    assert owned
    server = make()
    put(server.start(), 1)
    os.killpg(holder.pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    holder.wait()
    server.start()
    assert server.pid != pid
    assert server.owned
    assert total(server.dsn) == 1


def test_a_second_launcher_attaches_and_lets_go(make: Make, folder: Path) -> None:
    owner = make()
    owner.start()
    holder, pid, owned = hold(folder / "postgres")
    assert (pid, owned) == (owner.pid, False)
    holder.kill()
    holder.wait()
    second = make()
    second.start()
    assert second.pid == owner.pid
    assert not second.owned
    second.stop()
    assert owner.is_running()
    with pytest.raises(ServerError, match="in use by another"):
        second.destroy()
    put(owner.dsn, 1)
    owner.stop()
    assert not second.is_running()


def test_whoever_attaches_after_the_owner_died_becomes_the_owner(make: Make, folder: Path) -> None:
    holder, pid, _ = hold(folder / "postgres")
    os.killpg(holder.pid, signal.SIGKILL)
    holder.wait()
    heir = make()
    heir.start()
    assert (heir.pid, heir.owned) == (pid, True)
    heir.stop()
    assert not heir.is_running()


def test_an_orphan_whose_folder_was_removed_is_ended_before_the_next_one(
    make: Make, folder: Path
) -> None:
    """Within a minute it would see that its lock file is gone, and remove what is then the next
    one's socket."""
    holder, orphan, _ = hold(folder / "postgres")
    os.killpg(holder.pid, signal.SIGKILL)
    holder.wait()
    shutil.rmtree(folder / "postgres")
    server = make()
    put(server.start(), 1)
    assert server.pid != orphan
    assert not is_alive(orphan)
    assert total(server.dsn) == 1


@pytest.mark.parametrize("long", [False, True])
def test_a_server_whose_socket_was_removed_is_started_again(
    make: Make, folder: Path, long: bool
) -> None:
    where = folder / ("long" * 30) if long else folder
    server = make(where / "postgres")
    put(server.start(), 1)
    Path(psycopg.conninfo.conninfo_to_dict(server.dsn)["host"], ".s.PGSQL.5432").unlink()
    assert server.pid is not None
    assert not server.is_running()
    server.start()
    assert server.is_running()
    assert total(server.dsn) == 1


def test_many_at_once_get_one_server(make: Make, folder: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder / "postgres")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    lines = [process.stdout.readline().split() for process in processes if process.stdout]
    for process in processes:
        process.kill()
        process.wait()
    assert len({pid for pid, _ in lines}) == 1
    assert sorted(owned for _, owned in lines) == ["False", "False", "True"]
    make().start()


def test_a_recycled_process_id_is_not_taken_for_a_server(make: Make, folder: Path) -> None:
    server = make()
    put(server.start(), 1)
    root = folder / "postgres" / "server"
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    # The same user's process has the id now, as after the restart of a container.
    sleeper = Account.owner_of(root / "data").popen(["sleep", "600"])
    try:
        for path in (root / "data" / "postmaster.pid", root / ".s.PGSQL.5432.lock"):
            lines = path.read_text().splitlines()
            path.write_text("\n".join([str(sleeper.pid), *lines[1:]]) + "\n")
        server.start()
        assert total(server.dsn) == 1
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_half_made_databases_are_removed(make: Make, folder: Path) -> None:
    server = make()
    server.start()
    base = folder / "postgres" / "server" / "data" / "base"
    account = Account.owner_of(base)
    with psycopg.connect(server.dsn, autocommit=True) as conn:
        conn.execute("create database whole")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    account.run(["mkdir", base / "999999"])
    account.run(["touch", base / "999999" / "PG_VERSION"])
    time.sleep(1.1)  # the server's start has to be later, in whole seconds
    server.start()
    account.run(["mkdir", base / "999998"])  # one that is being made
    assert server.remove_strays() == 1
    assert not (base / "999999").exists()
    assert (base / "999998").exists()
    with psycopg.connect(server.dsn, dbname="whole") as conn:
        conn.execute("select count(*) from pg_class")
    assert server.remove_strays() == 0


def test_an_unfinished_initdb_is_begun_anew(make: Make, folder: Path) -> None:
    server = make()
    server.start()
    server.stop()
    data = folder / "postgres" / "server" / "data"
    data.rename(data.with_name("data.new-1234"))
    (data.with_name("data.new-1234") / "PG_VERSION").unlink()
    server.start()
    assert not data.with_name("data.new-1234").exists()


def test_a_server_that_cannot_start_shows_its_log(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "postgres", settings={"shared_buffers": "lots"})
    with pytest.raises(ServerError, match=r'(?s)log ends with.*"shared_buffers": "lots"'):
        server.start()
    server.destroy()


def test_a_folder_with_a_long_path(make: Make, folder: Path) -> None:
    where = folder / ("long" * 15) / ("longer" * 15) / "with a space, and a comma"
    where.mkdir(parents=True)
    server = make(where)
    put(server.start(), 3)
    assert total(server.dsn) == 3
    sockets = Path(psycopg.conninfo.conninfo_to_dict(server.dsn)["host"])
    assert sockets.stat().st_mode & 0o777 == 0o700
    server.destroy()
    assert not sockets.exists()


@as_root
def test_root_runs_it_as_somebody_else(make: Make) -> None:
    server = make()
    server.start()
    assert Path(f"/proc/{server.pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid


@as_root
def test_a_folder_that_the_server_cannot_reach(make: Make, folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    shared = folder / "shared"
    server = make(closed / "postgres", shared=shared)
    put(server.start(), 5)
    root = Path((closed / "postgres" / "location").read_text().strip())
    assert root.parent == shared
    assert root.stat().st_mode & 0o777 == 0o700
    assert closed.stat().st_mode & 0o777 == 0o700
    server.stop()
    again = make(closed / "postgres", shared=shared)
    assert total(again.start()) == 5
    again.stop()
    shutil.rmtree(root)
    with pytest.raises(PlaceError, match=f"{root}, which is gone"):
        again.start()


@as_root
def test_who_removes_a_folder_is_told_what_of_it_is_elsewhere(
    make: Make, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    shared = folder / "shared"
    shared.mkdir(mode=0o755)
    roots: list[Path] = []
    for name in ("postgres", "another", "postgres"):
        shutil.rmtree(closed / name, ignore_errors=True)
        (closed / name).mkdir()
        roots.append(place.settle(closed / name, shared, "nobody").root)
    (told,) = (record.getMessage() for record in caplog.records)
    assert f"{closed / 'postgres'} held is still in {roots[0]}: remove" in told
    assert all(root.is_dir() for root in roots)
    EmbeddedPostgres(closed / "postgres").destroy()
    assert [root.exists() for root in roots] == [True, True, False]


@as_root
def test_root_comes_to_a_server_that_runs_where_its_user_could_not_go_now(
    make: Make, folder: Path
) -> None:
    """As in a namespace, or below a folder that was closed since."""
    server = make()
    server.start()
    put(server.dsn, 1)
    folder.chmod(0o700)
    other = make()
    assert total(other.start()) == 1
    assert not other.owned
    server.stop()
    with pytest.raises(PlaceError, match="cannot reach the data"):
        other.start()
    folder.chmod(0o711)


@as_root
def test_programs_that_the_server_cannot_reach(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an environment below /root: they are copied to where the server can read them."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    package = binaries.find().parent.parent
    for part in (package, package.with_name(package.name + ".libs")):
        shutil.copytree(part, closed / part.name, symlinks=True)
    programs = closed / package.name / "pginstall" / "bin"
    monkeypatch.setattr(binaries, "find", lambda: programs)
    shared = folder / "shared"
    server = make(shared=shared)
    put(server.start(), 7)
    executable = os.readlink(f"/proc/{server.pid}/exe")
    assert executable.startswith(str(shared / "postgres-"))
    server.stop()
    server.start()
    assert total(server.dsn) == 7
    assert len(list(shared.glob("postgres-*"))) == 1
    assert not list(shared.glob("copying-*"))


@as_root
def test_an_unknown_user_is_an_error(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEWEIGHTS_POSTGRES_USER", "no-such-user")
    with pytest.raises(AccountError, match="no user 'no-such-user'"):
        make().start()
    monkeypatch.setenv("LIVEWEIGHTS_POSTGRES_USER", "root")
    with pytest.raises(AccountError, match="refuses to run as root"):
        make().start()


ASKS = (
    "import sys; from pathlib import Path; "
    "from liveweights.store.embedded import EmbeddedPostgres\n"
    "with EmbeddedPostgres(Path(sys.argv[1])) as s:\n"
    "    import psycopg; print(psycopg.connect(s.dsn).execute('select 41 + 1').fetchone())"
)


def make_nobody(where: Path) -> Account:
    """The user ``nobody``, whose the folder is then."""
    where.mkdir()
    account = Account.named("nobody")
    account.take(where)
    ready = account.run(["/bin/sh", "-c", '"$0" -c "import psycopg"', sys.executable])
    if ready[0] != 0:
        pytest.skip("the user nobody cannot reach this Python")
    return account


@as_root
def test_an_ordinary_user_runs_it_as_himself(folder: Path) -> None:
    """The whole launcher in a process of user ``nobody``."""
    where = folder / "own"
    account = make_nobody(where)
    status, output = account.run([sys.executable, "-c", ASKS, where / "postgres"])
    assert (status, output.strip()) == (0, "(42,)")


@as_root
@pytest.mark.parametrize("known", [True, False], ids=["known at the start", "not known then"])
def test_a_service_attaches_to_what_a_command_of_roots_has_started(
    make: Make, folder: Path, known: bool
) -> None:
    where = folder / "own"
    account = make_nobody(where)
    ask = [sys.executable, "-c", ASKS, where / "postgres"]
    assert account.run(ask)[0] == 0  # the service has run before
    server = make(where / "postgres")
    server.start()
    if not known:  # a user whom the system made later
        admitted = server.folder_on_disk / "data" / "pg_ident.conf"
        account.write(admitted, 'users "root" liveweights\n')
        assert server.pid is not None
        os.kill(server.pid, signal.SIGHUP)
    status, output = account.run(ask)
    assert (status, output.strip()) == (0, "(42,)")
    assert value(server.dsn, "select 1") == 1


def test_the_log_is_kept_small(make: Make, folder: Path) -> None:
    server = make()
    server.start()
    server.stop()
    log = folder / "postgres" / "server" / "log"
    with log.open("ab") as file:
        file.truncate(17 * 2**20)
    server.start()
    assert log.stat().st_size < 2**20
    assert log.with_suffix(".old").stat().st_size == LOG_LIMIT


def test_the_log_is_kept_small_while_the_server_runs(make: Make, folder: Path) -> None:
    server = make()
    dsn = server.start()
    log = folder / "postgres" / "server" / "log"
    with psycopg.connect(dsn, autocommit=True) as conn:
        flood = (
            "do $$ begin for i in 1..%s loop raise log '%%', repeat('x', 100000); end loop; end $$"
        )
        conn.execute((flood % 200).encode())
        assert log.stat().st_size > LOG_LIMIT
        server.trim_log()
        assert log.stat().st_size < 2**20
        conn.execute((flood % 1).encode())  # it goes on in the same file
        assert 100_000 < log.stat().st_size < 2**20
    assert log.with_suffix(".old").stat().st_size == LOG_LIMIT
    assert log.stat().st_mode & 0o777 == 0o600
    server.trim_log()
    assert log.stat().st_size > 100_000
