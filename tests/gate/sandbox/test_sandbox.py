"""Programs that try to harm the machine or to see what is not theirs."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tests.processes import list_running

from liveweights.gate.sandbox import Limits, Outcome, Sandbox, SandboxUnavailable
from liveweights.gate.sandbox.cgroups import Cgroups

MIB = 1024 * 1024
PATIENT = Limits(seconds=60)  # a busy machine is no reason to fail


def python(sandbox: Sandbox, program: str, limits: Limits = PATIENT) -> Outcome:
    command = [sandbox.python, "-I", "-"]
    return asyncio.run(sandbox.run(command, stdin=program.encode(), limits=limits))


def shell(sandbox: Sandbox, command: str, limits: Limits = PATIENT) -> Outcome:
    return asyncio.run(sandbox.run(["bash", "-c", command], limits=limits))


def leftovers(sandbox: Sandbox) -> list[Path]:
    mine = f"liveweights-{os.getpid()}-*"
    return [found for parent in sandbox.cgroups.parents.values() for found in parent.glob(mine)]


def test_output_and_exit_status_come_back(sandbox: Sandbox) -> None:
    found = shell(sandbox, "echo out; echo err >&2; exit 3")
    assert (found.ended, found.code, found.ok) == ("exit", 3, False)
    assert (found.stdout, found.stderr) == (b"out\n", b"err\n")
    assert shell(sandbox, "cat").stdout == b""
    assert python(sandbox, "print(6 * 7)").stdout == b"42\n"


def test_a_sandbox_that_cannot_be_made_is_no_fault_of_the_program(sandbox: Sandbox) -> None:
    for command, folder in [(["true"], "/proc/x"), (["no-such-program"], "/tmp")]:
        with pytest.raises(SandboxUnavailable, match="the sandbox could not be made: bwrap: "):
            asyncio.run(sandbox.run(command, writable=(folder,)))
    assert asyncio.run(sandbox.run(["bash", "-c", "kill -9 $$"])).code == 137


@pytest.mark.parametrize(
    "folders",
    [
        ("/tmp/work", "/tmp"),
        ("/tmp",),
        ("/usr/src/app", "/tmp"),
        ("/usr/src/app", "/usr/src/other/place"),
        ("/usr/local/app/src",),
        ("/usr/new",),
        ("/opt/app",),
        ("/etc/app",),
    ],
)
def test_a_folder_may_be_nearly_anywhere(sandbox: Sandbox, folders: tuple[str, ...]) -> None:
    """Also below another one, and in what is read-only, of which all else stays as it is."""
    script = """
cd "$PWD" && touch "$@" && [ "$PWD" = "$first" ] && bash -c true && ls -A /usr /usr/local
! touch /usr/x /usr/src/x /usr/local/x /usr/local/bin/x 2>/dev/null
"""
    files = [f"{folder}/made" for folder in folders]
    command = ["env", f"first={folders[0]}", "bash", "-ec", script, "bash", *files]
    found = asyncio.run(sandbox.run(command, writable=folders))
    assert found.ok, found
    listed = set(found.stdout.decode().split())
    assert {*os.listdir("/usr"), *os.listdir("/usr/local")} <= listed


def test_every_limit_is_reported_with_what_holds_it(sandbox: Sandbox) -> None:
    assert set(sandbox.enforcement) == {
        "memory",
        "processes",
        "processor",
        "disk",
        "time",
        "output",
        "system calls",
    }


def test_a_fork_bomb_stays_within_its_limit_and_nothing_of_it_is_left(sandbox: Sandbox) -> None:
    bomb = """
import os, time
made = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(1000)
        made += 1
except BlockingIOError:
    print("stopped", made, flush=True)
os._exit(1)
"""
    found = python(sandbox, bomb, Limits(seconds=60, processes=20))
    assert found.stdout.startswith(b"stopped")
    assert int(found.stdout.split()[1]) < 20
    if sandbox.cgroups.holds("pids"):
        assert found.ended == "processes"
    assert not leftovers(sandbox)


def test_a_memory_hog_is_ended(sandbox: Sandbox) -> None:
    hog = "pieces = []\nwhile True: pieces.append(b'x' * 2**20)"
    found = python(sandbox, hog, Limits(seconds=60, memory=64 * MIB))
    assert not found.ok
    if sandbox.cgroups.holds("memory"):
        assert (found.ended, found.code) == ("memory", None)
    else:
        assert b"MemoryError" in found.stderr
    assert not leftovers(sandbox)


def test_endless_output_is_cut(sandbox: Sandbox) -> None:
    found = shell(sandbox, "yes & yes >&2", Limits(seconds=60, output=100_000))
    assert found.ended == "output"
    assert len(found.stdout) + len(found.stderr) == 100_000


def test_time_runs_out_for_whole_families(sandbox: Sandbox) -> None:
    found = shell(sandbox, "(trap '' TERM; sleep 900) & echo on; sleep 900", Limits(seconds=15))
    assert (found.ended, found.code, found.stdout) == ("time", None, b"on\n")
    assert not leftovers(sandbox)


def test_files_fill_only_their_share_of_memory(sandbox: Sandbox) -> None:
    limits = Limits(seconds=60, disk=MIB)
    found = shell(sandbox, "for i in 1 2 3; do head -c 500000 /dev/zero > /tmp/$i; done", limits)
    assert b"No space left" in found.stderr
    assert b"too large" in shell(sandbox, "ulimit -f; trap '' XFSZ; yes > /tmp/x", limits).stderr


def test_the_hosts_files_cannot_be_seen(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o644)
    seen = shell(
        sandbox, f"ls / /etc /root /home {Path.cwd()} 2>/dev/null; cat {secret} /etc/passwd"
    )
    assert seen.code != 0
    assert b"root:" not in seen.stdout
    names = set(seen.stdout.split())
    assert not names & {b"pyproject.toml", b"home", b"root", b"var", b"boot", b"shadow", b"hosts"}


@pytest.mark.parametrize(
    "attempt",
    [
        "touch /escaped",
        "touch /usr/escaped",
        "touch /dev/escaped",
        "touch /proc/escaped",
        "chmod 600 /dev/null",
        "echo escaped > /proc/sys/kernel/core_pattern",
        "echo 1 > /proc/sysrq-trigger",
        "mount -t tmpfs none /tmp",
        "umount /proc",
        "mknod /tmp/disk b 254 0",
        "unshare --user true",
        "unshare --mount true",
        "chroot / true",
        "kill -9 1 && ! kill -0 1",  # the sandbox's own first process shields itself
        "cat /proc/1/root/etc/shadow",
        "echo 0 > /sys/fs/cgroup/pids.max",
        "setpriv --reuid 0 id",
    ],
)
def test_no_way_out(sandbox: Sandbox, attempt: str) -> None:
    core = Path("/proc/sys/kernel/core_pattern").read_text()
    found = shell(sandbox, attempt)
    assert not found.ok, found
    assert Path("/proc/sys/kernel/core_pattern").read_text() == core
    assert os.stat("/dev/null").st_mode & 0o666 == 0o666


def test_nobody_is_root_and_nothing_is_allowed(sandbox: Sandbox) -> None:
    found = shell(sandbox, "id -u; grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs)' /proc/self/status")
    uid, *rows = found.stdout.decode().split("\n")[:-1]
    assert uid != "0"
    values = dict(row.split(":\t") for row in rows)
    assert values.pop("NoNewPrivs") == "1"
    assert set(values.values()) == {"0" * 16}


def test_started_by_root_it_is_not_root_outside(sandbox: Sandbox) -> None:
    async def look() -> int:
        async with sandbox.start(["sleep", "900"], PATIENT, ("/tmp",)) as running:
            return os.stat(f"/proc/{running.process.pid}").st_uid

    uid = asyncio.run(look())
    assert uid != 0


@pytest.mark.parametrize("grouped", [True, False])
def test_killed_while_it_is_made_nothing_is_left(sandbox: Sandbox, grouped: bool) -> None:
    if not grouped:
        sandbox = replace(sandbox, cgroups=Cgroups(None, {}))
    mark = f"9{os.getpid()}"

    async def start(wait: float) -> None:
        async with asyncio.timeout(60):
            async with sandbox.start(["sleep", mark], PATIENT, ("/tmp",)):
                await asyncio.sleep(wait)

    for moment in range(40):
        asyncio.run(start(moment / 2000))
    assert list_running(mark) == []
    assert not leftovers(sandbox)


def test_the_environment_stays_outside(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    found = shell(sandbox, "env; cat /proc/1/environ /proc/*/environ")
    assert b"hunter2" not in found.stdout
    assert b"SECRET" not in found.stdout


def test_other_processes_cannot_be_seen(sandbox: Sandbox) -> None:
    found = shell(sandbox, "ls /proc | grep -c '^[0-9]'")
    assert int(found.stdout) < 10


def test_there_is_no_network(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        reached = threading.Event()

        def accept() -> None:
            server.settimeout(30)
            try:
                server.accept()
                reached.set()
            except OSError:
                pass

        thread = threading.Thread(target=accept)
        thread.start()
        port = server.getsockname()[1]
        program = f"""
import socket
for host, port in [("127.0.0.1", {port}), ("1.1.1.1", 53)]:
    try:
        socket.create_connection((host, port), timeout=3)
        print("connected", host)
    except OSError as error:
        print("refused", host)
"""
        found = python(sandbox, program)
        assert found.stdout == b"refused 127.0.0.1\nrefused 1.1.1.1\n"
        # The same program outside does reach the server: the test can fail.
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
        thread.join()
        assert reached.is_set()


def test_a_cancelled_run_leaves_nothing(sandbox: Sandbox) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(sandbox.run(["yes"], limits=Limits(output=10**12, seconds=600)))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(cancel(), 60))
    assert not leftovers(sandbox)
