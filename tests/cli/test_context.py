"""What commands share: the database that one has started, and the service that comes meanwhile."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from tests.folders import make_folder

from liveweights.holder import hold_home
from liveweights.store.embedded import EmbeddedPostgres

pytestmark = pytest.mark.fault
COMMAND = [sys.executable, "-c", "from liveweights.cli import main; main()"]


@pytest.fixture
def home() -> Iterator[Path]:
    """Of a service that is down, and has run before."""
    path = make_folder()
    with EmbeddedPostgres(path / "postgres"):
        pass
    yield path
    EmbeddedPostgres(path / "postgres").destroy()
    shutil.rmtree(path)


@contextmanager
def asking(home: Path) -> Iterator[None]:
    """A command that has started the database, and ends with the block."""
    with subprocess.Popen(
        [*COMMAND, "sql", "--home", str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("select 'it', 'runs';\n")
        process.stdin.flush()
        for line in process.stdout:
            if "runs" in line:
                break
        try:
            yield
        finally:
            process.stdin.close()
            process.stdout.read()
            process.wait()


def test_a_command_ends_the_database_that_it_started(home: Path) -> None:
    look = EmbeddedPostgres(home / "postgres")
    with asking(home):
        look.start()
        assert look.is_running()
        assert not look.owned
    assert not look.is_running()


def test_a_command_leaves_the_database_to_the_service_that_came(home: Path) -> None:
    """Which ends it then, as whoever attached to what nobody owns."""
    service = EmbeddedPostgres(home / "postgres")
    with hold_home(home):
        with asking(home):
            service.start()
            assert not service.owned
            pid = service.pid
            conn = psycopg.connect(service.dsn)
        assert service.pid == pid
        assert conn.execute("select 1").fetchone() == (1,)
        conn.close()
        service.stop()
        assert not service.is_running()


def test_a_service_that_ends_first_ends_the_database_of_a_command(home: Path) -> None:
    """Else each could leave it to the other."""
    service = EmbeddedPostgres(home / "postgres")
    with hold_home(home), asking(home):
        service.start()
        service.stop(owned=True)
        assert not service.is_running()
    assert not service.is_running()
