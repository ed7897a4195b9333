"""What depends on the operating system. The rest of the code knows neither Linux nor macOS.

What only Linux tells or does has a fallback here that says or does less. The sandbox has none: it
is made of what only Linux has (``gate/sandbox``).
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

LINUX = sys.platform == "linux"
PROC = Path("/proc/self")
CLONING_COPY = "-c" if sys.platform == "darwin" else "--reflink=always"
"""How ``cp`` is told to share blocks, or to fail."""
SPINS = "1000"
"""Looks of a waiting thread before it sleeps: some 50 microseconds."""
NICENESS = 10
"""Of what gives way: it gets a tenth of a core that another process wants whole."""
_SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)
_ORPHAN_SECONDS = 0.5
_HALTED = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP, psutil.STATUS_ZOMBIE)
_MOST_FILES = 10240  # OPEN_MAX of macOS


class ControlGroup(NamedTuple):
    """A group that this process is in, and where its tree is mounted. A group of version 2 is for
    every controller, which is empty then."""

    version: int
    controller: str
    folder: Path
    mount: Path

    def upwards(self) -> Iterator[Path]:
        """The group's folder and those it is inside of."""
        for folder in (self.folder, *self.folder.parents):
            if not folder.is_relative_to(self.mount):
                return
            yield folder


def control_groups(proc: Path = PROC) -> list[ControlGroup]:
    """The groups (cgroups(7)) that this process is in; none where there is no such thing."""
    try:
        memberships = (proc / "cgroup").read_text().splitlines()
        mounts = (proc / "mountinfo").read_text().splitlines()
    except OSError:
        return []
    own: dict[str, str] = {}
    for line in memberships:  # such as `8:pids:/a`
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), path)
    found: list[ControlGroup] = []
    for line in mounts:  # proc(5), mountinfo; a source may be empty, and two spaces are there then
        before, _, after = line.partition(" - ")
        match before.split(" "), after.split(" "):
            case [_, _, _, root, point, *_], [kind, _, options]:
                pass
            case _:
                continue
        version = {"cgroup": 1, "cgroup2": 2}.get(kind)
        for controller in options.split(",") if version == 1 else [""] if version else []:
            if version is not None and controller in own:
                inside = own[controller].removeprefix(root.rstrip("/")).lstrip("/")
                mount = Path(point)
                found.append(ControlGroup(version, controller, mount / inside, mount))
    return found


def cores(proc: Path = PROC) -> int:
    """Cores that this process may keep busy, at least 1: of those it may run on, as many as its
    control groups leave it time for."""
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    for group in control_groups(proc):
        for folder in group.upwards():
            if group.version == 2:
                quota, _, period = _read(folder / "cpu.max").partition(" ")
            else:
                quota = _read(folder / "cpu.cfs_quota_us")
                period = _read(folder / "cpu.cfs_period_us")
            if quota.isdecimal() and period.isdecimal():  # else `max`, -1, or no such controller
                usable = min(usable, int(quota) // int(period))
    return max(1, usable)


def compute_cores() -> int:
    """Threads that compute best: of ``cores``, not two where they share one, and of Apple's only
    the fast ones. Threads that wait for each other at every step go at the pace of the slowest."""
    if sys.platform == "darwin":
        fast = _sysctl("hw.perflevel0.physicalcpu")
        return min(cores(), int(fast)) if fast.isdecimal() else cores()
    if sys.platform != "linux":
        return cores()
    return min(cores(), count_cores(os.sched_getaffinity(0)))


def count_cores(cpus: Iterable[int], system: Path = Path("/sys/devices/system/cpu")) -> int:
    """How many cores these CPUs (hardware threads) are; each is one where nothing says."""
    siblings = (_read(system / f"cpu{n}/topology/thread_siblings_list") or str(n) for n in cpus)
    return len(set(siblings))


def yielding_environment() -> dict[str, str]:
    """This process's environment, with which a child's OpenMP threads soon sleep when they wait.

    By default GNU's spin for milliseconds, most of the time that a core shared with another
    process gives to the thread that they wait for.
    """
    chosen = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys()
    return {**os.environ, **({} if chosen else {"GOMP_SPINCOUNT": SPINS})}


def give_way() -> None:
    """Let whatever else wants to compute do so first, for the rest of this process.

    Linux may weigh sessions against each other before it looks at what is in them (sched(7), the
    autogroup feature): niceness counts only between processes of one session, so that this one
    becomes a session of its own where it can, which then is as nice.
    """
    os.nice(NICENESS)
    with suppress(PermissionError):  # it leads a group already
        os.setsid()
    if sys.platform == "linux" and os.getsid(0) == os.getpid():
        with suppress(OSError):  # no such feature
            Path("/proc/self/autogroup").write_text(str(NICENESS))


def available_memory(proc: Path = PROC) -> int:
    """Bytes that can be taken without swapping: what the machine has left, and no more than this
    process's control groups leave it. What files are cached in counts as left."""
    left = int(psutil.virtual_memory().available)
    for group in control_groups(proc):
        for folder in group.upwards():
            if group.version == 2:
                limit, used = _read(folder / "memory.max"), _read(folder / "memory.current")
                cached = "inactive_file"
            else:
                limit = _read(folder / "memory.limit_in_bytes")
                used, cached = _read(folder / "memory.usage_in_bytes"), "total_inactive_file"
            if limit.isdecimal() and used.isdecimal():
                files = dict(line.split() for line in _read(folder / "memory.stat").splitlines())
                left = min(left, int(limit) - int(used) + int(files.get(cached, 0)))
    return max(0, left)


def resident_memory(pid: int) -> int:
    """Bytes of a process that are in memory; 0 where it has ended."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def mapped_memory() -> int | None:
    """Bytes of address space that this process has, where they can be limited; None elsewhere."""
    return int(psutil.Process().memory_info().vms) if sys.platform == "linux" else None


def describe_processor() -> str:
    """Its name and the cores that may be used, such as ``Apple M3, 8 cores``."""
    name = ""
    if sys.platform == "linux":
        lines = _read(Path("/proc/cpuinfo")).splitlines()
        named = (line.partition(":") for line in lines)
        name = next((value.strip() for key, _, value in named if key.startswith("model name")), "")
    elif sys.platform == "darwin":
        name = _sysctl("machdep.cpu.brand_string")
    return f"{name or platform.machine()}, {cores()} cores"


def arm_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, bool]:
    """What the kernel says of a 64-bit ARM processor's vectors and products of bytes, by LLVM's
    names of these; nothing of any other processor."""
    if platform.machine() not in ("aarch64", "arm64"):
        return {}
    if sys.platform == "darwin":
        return {"neon": True, "dotprod": _sysctl("hw.optional.arm.FEAT_DotProd") == "1"}
    lines = (line.partition(":") for line in _read(cpuinfo).splitlines())
    cores = [value.split() for key, _, value in lines if key.strip() == "Features"]
    return {"neon": True, "dotprod": bool(cores) and all("asimddp" in core for core in cores)}


def boot_id() -> str:
    """Changes whenever the machine starts; empty where nothing says."""
    if sys.platform == "linux":
        return _read(Path("/proc/sys/kernel/random/boot_id"))
    return _sysctl("kern.bootsessionuuid")


def working_folder(pid: int) -> str | None:
    """Where a process works; None if it is gone, or may not be looked at."""
    if sys.platform == "linux":
        try:
            return os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            return None
    try:
        return psutil.Process(pid).cwd()
    except psutil.Error:
        return None


def processes_in(folder: Path) -> list[int]:
    """The processes that work in ``folder``, or in one that was removed from there."""
    real = os.path.realpath(folder)
    names = {real, f"{real} (deleted)"}  # proc(5), /proc/pid/cwd
    return [pid for pid in psutil.pids() if working_folder(pid) in names]


def count_threads(uid: int) -> int:
    """Threads of all processes of a user that can be seen."""
    count = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error), process.oneshot():
            if process.uids().real == uid:
                count += process.num_threads()
    return count


def request_parent_death_signal() -> None:
    """Ask the kernel for SIGKILL when the parent ends, also of the program that this process
    becomes; without effect where it cannot: there a parent must end its children."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def end_with_parent() -> None:
    """Let SIGKILL end this process when its parent has ended."""
    if sys.platform == "linux":
        request_parent_death_signal()
    else:
        end_when_orphaned()


def end_when_orphaned() -> None:
    """Look for the parent twice a second, in a thread, and end by SIGKILL when it is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_ORPHAN_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def allow_files(needed: int) -> int:
    """Let this process have so many files open, or as many as it may; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS says that there is no limit, and takes no more than it has room for.
    for wanted in (needed, _MOST_FILES):
        if soft == resource.RLIM_INFINITY or soft >= needed:
            break
        with suppress(ValueError, OSError):
            soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return needed if soft == resource.RLIM_INFINITY else soft


def limit_memory(size: int) -> None:
    """Let this process take no more than ``size`` bytes of memory, files that it maps left out;
    without effect where the kernel counts only the heap."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


class ProcessHandle:
    """One process that can be killed for as long as the handle is open, and never another one
    that was given its id since (where the kernel has handles)."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._handle: int | None = None
        if sys.platform == "linux":
            self._handle = os.pidfd_open(pid)

    def kill(self) -> None:
        """Without effect if it has ended."""
        self._send(signal.SIGKILL)

    def halt(self) -> list[psutil.Process]:
        """Stop it, so that it starts nothing more, and return what it has started itself. Without
        effect, and nothing, if it has ended; after about a second without its stopping, such as in
        a system call that cannot be broken off, what there is then."""
        if not self._send(signal.SIGSTOP):
            return []
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self._pid)
            for _ in range(1000):
                if process.status() in _HALTED:
                    break
                time.sleep(0.001)
            return process.children()
        return []

    def _send(self, what: signal.Signals) -> bool:
        """Whether it was there."""
        try:
            if sys.platform == "linux" and self._handle is not None:
                signal.pidfd_send_signal(self._handle, what)
            else:
                os.kill(self._pid, what)
        except ProcessLookupError:
            return False
        return True

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)


def _sysctl(name: str) -> str:
    command = ["sysctl", "-n", name]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
