"""Bubblewrap's command line: what a sandboxed program sees, and who it is."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from liveweights.gate.sandbox.limits import Limits
from liveweights.machine import LINUX

OLDEST = (0, 8)
ROOT = ("bin", "sbin", "lib", "lib32", "lib64")
PATH = "/usr/local/bin:/usr/bin:/bin"
OWN = tuple(
    PurePosixPath(folder)
    for folder in (
        *(f"{root}{name}" for root in ("/", "/usr/", "/usr/local/") for name in ROOT),
        *("/usr/libexec", "/etc/alternatives", "/proc", "/dev", "/sys"),
    )
)
"""Folders that hold the programs of a sandbox, or what it is made with."""
NOBODY = 65534


class SandboxUnavailable(RuntimeError):
    """Programs cannot be run safely here; the message says what to do about it."""


def find_bubblewrap() -> str:
    """Path of a new enough ``bwrap``. Raises SandboxUnavailable."""
    if not LINUX:
        raise SandboxUnavailable(
            "no program may be run here: the sandbox is made of Linux namespaces, so suites that"
            " run programs need Linux (or a Linux container or virtual machine)"
        )
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxUnavailable(
            "bubblewrap is not installed, so no program may be run: `apt-get install bubblewrap`"
            " (Debian, Ubuntu), `dnf install bubblewrap` (Fedora), `apk add bubblewrap` (Alpine)"
        )
    output = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=True
    ).stdout
    version = tuple(int(number) for number in re.findall(r"\d+", output)[:2])
    if version < OLDEST:
        raise SandboxUnavailable(
            f"bubblewrap {'.'.join(map(str, version))} at {program} is too old; at least 0.8 is"
            " needed, which forbids new user namespaces inside"
        )
    return program


def find_prlimit() -> str:
    """Path of util-linux's ``prlimit``. Raises SandboxUnavailable."""
    program = shutil.which("prlimit")
    if program is None:
        raise SandboxUnavailable("prlimit is not installed: `apt-get install util-linux`")
    return program


def identity() -> int | None:
    """The user that a sandbox is started as; None: our own.

    Root never is: inside a user namespace its processes still own what root owns outside, such as
    /proc/sys and the device nodes.
    """
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        return NOBODY


def find_python() -> str:
    """A Python that the sandbox's user may read. Raises SandboxUnavailable."""
    candidates = [Path(sys.base_prefix) / "bin" / "python3"]
    candidates += [Path(folder) / "python3" for folder in PATH.split(":")]
    for candidate in candidates:
        if candidate.is_file() and (identity() is None or _is_open(candidate)):
            return str(candidate)
    raise SandboxUnavailable(
        f"no Python in {', '.join(map(str, candidates))} that an unprivileged user may run:"
        " `apt-get install python3`"
    )


def bubblewrap(
    program: str,
    command: Sequence[str],
    writable: Sequence[str],
    limits: Limits,
    *,
    filter_from: int | None = None,
    status_to: int | None = None,
) -> list[str]:
    """The whole command line; the first of the ``writable`` folders is where it starts.

    Nothing of the host is there but /usr (and the Python that runs us, if it is elsewhere), all
    read-only. No network, no other processes, no capabilities, no environment, no new user
    namespaces. Everything writable is memory, of a limited size, in place of what the host has
    there. ``filter_from`` is an open descriptor with the filter of system calls, ``status_to`` one
    to which bubblewrap writes what became of the sandbox, in JSON.
    """
    arguments = [program, "--unshare-all", "--unshare-user", "--disable-userns"]
    arguments += ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    if filter_from is not None:
        arguments += ["--seccomp", str(filter_from)]
    if status_to is not None:
        arguments += ["--json-status-fd", str(status_to)]
    arguments += ["--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "sandbox"]
    arguments += ["--clearenv", "--setenv", "PATH", PATH, "--setenv", "LANG", "C.UTF-8"]
    arguments += ["--setenv", "HOME", writable[0], "--ro-bind", "/usr", "/usr"]
    for name in ROOT:
        host = Path("/", name)
        if host.is_symlink():
            arguments += ["--symlink", os.readlink(host), f"/{name}"]
        elif host.is_dir():
            arguments += ["--ro-bind", str(host), f"/{name}"]
    for path in ("/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime"):
        arguments += ["--ro-bind-try", path, path]
    prefix = Path(sys.base_prefix)
    if not prefix.is_relative_to("/usr") and (identity() is None or _is_open(prefix)):
        arguments += ["--ro-bind", str(prefix), str(prefix)]
    arguments += ["--proc", "/proc", "--dev", "/dev"]
    room: list[str] = []
    # What is mounted on a folder hides what was mounted in it before.
    folders = sorted({"/dev/shm", *writable}, key=lambda folder: len(Path(folder).parts))
    for folder in folders:
        if (within := _find_closed(folder)) is not None and str(within) not in room:
            room.append(str(within))
            arguments += _hold_again(within)
        arguments += ["--size", str(limits.disk), "--tmpfs", folder]
    for folder in ("/proc", "/dev", *room, "/"):
        arguments += ["--remount-ro", folder]
    return [*arguments, "--chdir", writable[0], "--", *command]


def _find_closed(folder: str) -> Path | None:
    """The folder of the host's, mounted read-only, in which ``folder`` would have to be made; None
    where it can be."""
    place = Path(folder)
    if not place.is_relative_to("/usr") or place.exists():
        return None
    return next(parent for parent in place.parents if parent.exists())


def _hold_again(folder: Path) -> list[str]:
    """What mounts memory on ``folder``, in which there is room, and in it what it held."""
    arguments = ["--tmpfs", str(folder)]
    for one in sorted(folder.iterdir()):
        if one.is_symlink():
            arguments += ["--symlink", os.readlink(one), str(one)]
        else:
            arguments += ["--ro-bind", str(one), str(one)]
    return arguments


def _is_open(path: Path) -> bool:
    """Whether any user may follow the path and read what is there."""
    whole = path.resolve()
    return all(step.stat().st_mode & 0o005 == 0o005 for step in (whole, *whole.parents))
