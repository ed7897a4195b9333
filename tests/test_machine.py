"""What the operating system tells, and what stands in for it elsewhere."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from tests.processes import is_alive

from liveweights import machine

SOURCES = Path(machine.__file__).parent
LINUX_ONLY = re.compile(
    r"sched_getaffinity|prctl|pidfd|/proc/(?:self|sys|\{)|[\"']/proc[\"']|/sys/|sys\.platform|"
    r"os\.uname|sysctl|memfd|inotify|epoll"
)
MADE_OF_LINUX = {SOURCES / "machine.py", *(SOURCES / "gate/sandbox").glob("*.py")}


def group(folder: Path, line: str, mount: str) -> Path:
    """A /proc/self in one control group."""
    folder.mkdir()
    (folder / "cgroup").write_text(f"{line}\n")
    root, point, kind, options = mount.split()
    (folder / "mountinfo").write_text(f"1 1 0:1 {root} {point} rw - {kind} none {options}\n")
    return folder


def test_only_one_module_knows_the_system() -> None:
    files = set(SOURCES.rglob("*.py")) - MADE_OF_LINUX
    assert len(files) > 100
    named = {
        f"{file.relative_to(SOURCES)}: {found[0]}"
        for file in files
        if (found := LINUX_ONLY.search(file.read_text()))
    }
    assert not named


def test_cores_are_at_most_those_of_the_machine() -> None:
    assert 1 <= machine.compute_cores() <= machine.cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 64), ("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1)],
)
def test_a_control_group_bounds_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    own = tmp_path / "mount" / "service"
    own.mkdir(parents=True)
    (own.parent / "cpu.max").write_text(quota)  # of the group that ours is in
    proc = group(tmp_path / "self", "0::/service", f"/ {own.parent} cgroup2 rw")
    assert machine.cores(proc) == expected


def test_the_older_control_groups_bound_the_cores_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    (tmp_path / "mount").mkdir()
    (tmp_path / "mount/cpu.cfs_quota_us").write_text("300000")
    (tmp_path / "mount/cpu.cfs_period_us").write_text("100000")
    proc = group(tmp_path / "self", "4:cpu,cpuacct:/x", f"/x {tmp_path / 'mount'} cgroup rw,cpu")
    assert machine.cores(proc) == 3
    (tmp_path / "mount/cpu.cfs_quota_us").write_text("-1")
    assert machine.cores(proc) == 64


@pytest.mark.parametrize(
    "other",
    ["2 1 0:2 / /x rw,relatime shared:5 - tmpfs  rw,size=4k", "", "2 1", "2 1 0:2 / /x rw -"],
)
def test_a_mount_that_is_not_understood_hides_no_group(tmp_path: Path, other: str) -> None:
    """That of ``mount -t tmpfs "" /x`` has an empty source."""
    proc = group(tmp_path / "self", "0::/a", f"/ {tmp_path} cgroup2 rw")
    known = (proc / "mountinfo").read_text()
    expected = machine.control_groups(proc)
    assert [found.folder for found in expected] == [tmp_path / "a"]
    (proc / "mountinfo").write_text(f"{other}\n{known}{other}\n")
    assert machine.control_groups(proc) == expected
    (proc / "mountinfo").write_text(known.replace(" none ", "  "))
    assert machine.control_groups(proc) == expected


def test_threads_that_share_a_core_count_once(tmp_path: Path) -> None:
    for cpu, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        folder = tmp_path / f"cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{siblings}\n")
    assert machine.count_cores({0, 1, 2, 3}, tmp_path) == 2
    assert machine.count_cores({0, 2}, tmp_path) == 1
    assert machine.count_cores({0, 1}, tmp_path / "nowhere") == 2


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Features\t: fp asimd asimddp"] * 2, True),
        (["Features\t: fp asimd asimddp", "Features\t: fp asimd"], False),
        ([], False),
    ],
)
def test_linux_says_whether_every_arm_core_multiplies_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str], expected: bool
) -> None:
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(sys, "platform", "linux")
    file = tmp_path / "cpuinfo"
    file.write_text("\n".join(["processor\t: 0", *lines]))
    assert machine.arm_features(file) == {"neon": True, "dotprod": expected}


def test_macos_says_whether_an_arm_processor_multiplies_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(sys, "platform", "darwin")
    known = {"hw.optional.arm.FEAT_DotProd": "1"}
    monkeypatch.setattr(machine, "_sysctl", lambda name: known.get(name, ""))
    assert machine.arm_features(tmp_path) == {"neon": True, "dotprod": True}
    known.clear()
    assert machine.arm_features(tmp_path) == {"neon": True, "dotprod": False}
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    assert machine.arm_features(tmp_path) == {}


def test_memory_that_is_left_is_real() -> None:
    assert 0 < machine.available_memory() <= psutil.virtual_memory().total


@pytest.mark.parametrize("version", [1, 2])
def test_a_control_group_bounds_the_memory(tmp_path: Path, version: int) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    for name, value in zip(names[:2], (8_000_000, 3_000_000), strict=True):
        (mount / name).write_text(f"{value}\n")
    (mount / "memory.stat").write_text(f"anon 5\n{names[2]} 1000000\n")
    line, kind = {1: ("9:memory:/", "cgroup rw,memory"), 2: ("0::/", "cgroup2 rw")}[version]
    proc = group(tmp_path / "self", line, f"/ {mount} {kind}")
    assert machine.available_memory(proc) == 6_000_000
    (mount / names[0]).write_text("max")
    assert machine.available_memory(proc) > 6_000_000


def test_without_control_groups_the_machine_counts(tmp_path: Path) -> None:
    assert machine.control_groups(tmp_path) == []
    assert machine.available_memory(tmp_path) > 0


def test_the_boot_has_an_id_that_stays() -> None:
    assert machine.boot_id()
    assert machine.boot_id() == machine.boot_id()


def test_processes_are_found_by_where_they_work(tmp_path: Path) -> None:
    link = tmp_path.with_name(f"{tmp_path.name}-link")
    link.symlink_to(tmp_path)
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as process:
        assert machine.working_folder(process.pid) == os.path.realpath(tmp_path)
        assert machine.processes_in(link) == [process.pid]
        process.kill()
    assert machine.working_folder(process.pid) is None
    assert machine.processes_in(tmp_path) == []


@pytest.mark.skipif(not machine.LINUX, reason="elsewhere a removed folder has no name")
def test_processes_are_found_in_a_folder_that_was_removed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with subprocess.Popen(["sleep", "60"], cwd=folder) as process:
        folder.rmdir()
        assert machine.processes_in(folder) == [process.pid]
        folder.mkdir()  # another one of that name
        assert machine.processes_in(folder) == [process.pid]
        process.kill()


def test_processes_are_found_without_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert machine.working_folder(os.getpid()) == os.getcwd()
    assert machine.working_folder(2**22 + 1) is None


def test_threads_of_a_user_are_counted() -> None:
    assert machine.count_threads(os.getuid()) >= threading.active_count()
    assert machine.count_threads(2**31) == 0


@pytest.mark.parametrize("how", ["end_with_parent", "end_when_orphaned"])
def test_a_process_ends_with_its_parent(how: str) -> None:
    """``end_when_orphaned`` is what systems without parent death signals do."""
    child = (
        f"import time; from liveweights.machine import {how} as go; go(); print(1, flush=True);"
        " time.sleep(600)"
    )
    parent = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}],"
        " stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert is_alive(pid)
        process.kill()
    deadline = time.monotonic() + 60
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(pid)


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_a_handle_kills_its_process(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    with subprocess.Popen(["sleep", "60"]) as process:
        handle = machine.ProcessHandle(process.pid)
        handle.kill()
        assert process.wait() == -signal.SIGKILL
        handle.kill()  # it is gone
        handle.close()


def test_what_is_halted_starts_nothing_more() -> None:
    command = ["sh", "-c", "sleep 60 & sleep 61 & echo; wait; sleep 62"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        handle = machine.ProcessHandle(process.pid)
        started = handle.halt()
        assert sorted(one.cmdline() for one in started) == [["sleep", "60"], ["sleep", "61"]]
        for one in started:
            one.kill()
        handle.kill()
        assert process.wait() == -signal.SIGKILL
        assert process.stdout.read() == b""  # nobody else holds it open
        assert handle.halt() == []  # it is gone
        handle.close()


def test_waiting_threads_sleep_soon_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert machine.yielding_environment() == {**os.environ, "GOMP_SPINCOUNT": machine.SPINS}
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert machine.yielding_environment() == dict(os.environ)


def test_files_are_allowed_as_far_as_they_may_be() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    code = (
        "import resource; from liveweights.machine import allow_files as allow;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300));"
        "print(allow(50), allow(200), allow(1000), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    assert hard == resource.RLIM_INFINITY or hard >= 300
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["100", "200", "300", "300"]
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == soft


def test_a_system_that_takes_fewer_files_than_it_says_gives_what_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [256]

    def limit(_: int, wanted: tuple[int, int]) -> None:
        if wanted[0] > 12_000:
            raise ValueError("current limit exceeds maximum limit")
        now[0] = wanted[0]

    monkeypatch.setattr(resource, "getrlimit", lambda _: (now[0], resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", limit)
    assert machine.allow_files(50_000) == 10_240
    assert machine.allow_files(11_000) == 11_000


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel counts only the heap")
def test_memory_is_limited() -> None:
    code = (
        "from liveweights.machine import limit_memory as limit; limit(1 << 30);"
        "print(len(bytes(1 << 20))); bytes(2 << 30)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == str(1 << 20)
    assert "MemoryError" in found.stderr


@pytest.mark.parametrize("leads", [False, True])
def test_a_process_that_gives_way_weighs_less(leads: bool) -> None:
    """Also against other sessions, unless it may not have one of its own: who shares its group
    is not to weigh less."""
    code = """
import os, pathlib
from liveweights import machine
machine.give_way()
group = pathlib.Path("/proc/self/autogroup")
told = group.read_text() if group.exists() else ""  # nothing is told outside of a group
print(os.nice(0), os.getsid(0) == os.getpid(), *told.split()[-1:])
"""
    nice = os.nice(0)
    said = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        process_group=0 if leads else None,
    ).stdout.split()
    assert said[0] == str(min(19, nice + machine.NICENESS))
    assert said[1] == str(not leads)
    if not leads and len(said) == 3:
        assert said[2] == str(machine.NICENESS)
