from __future__ import annotations

import asyncio
import errno
import socket
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.gate.sandbox import Limits, Sandbox
from liveweights.gate.sandbox.seccomp import (
    ALLOW,
    ARCHITECTURES,
    KILL,
    NAMESPACES,
    NEWEST,
    Architecture,
    build,
    denied,
)

BOTH = pytest.mark.parametrize("machine", sorted(ARCHITECTURES))
EVERY = st.sampled_from(sorted(ARCHITECTURES))


def decide(a: Architecture, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the kernel would do with the program that it is given."""
    data = struct.pack(
        "=iIQ6Q",
        number - (1 << 32) if number >= 1 << 31 else number,
        a.audit if audit is None else audit,
        0,
        *(value % (1 << 64) for value in (*arguments, 0, 0, 0, 0, 0, 0)[:6]),
    )
    program = list(struct.iter_unpack("=HBBI", build(a)))
    assert len(program) < 4096
    loaded = place = 0
    while True:
        code, yes, no, value = program[place]
        place += 1
        if code == 0x20:
            (loaded,) = struct.unpack_from("=I", data, value)
        elif code == 0x54:
            loaded &= value
        elif code == 0x06:
            return value
        else:
            holds = {0x15: loaded == value, 0x25: loaded > value, 0x45: bool(loaded & value)}[code]
            place += yes if holds else no


@BOTH
def test_what_is_rare_is_denied_and_nothing_else(machine: str) -> None:
    a = ARCHITECTURES[machine]
    special = {a.socket, a.socketpair, a.clone, a.clone3, a.ioctl}
    for number in range(NEWEST + 1):
        if number in a.denied.values():
            assert decide(a, number) == denied(errno.EPERM)
        elif number not in special:
            assert decide(a, number) == ALLOW
    assert decide(a, a.clone3) == denied(errno.ENOSYS)


@given(EVERY, st.integers(NEWEST + 1, 2**32 - 1))
def test_what_is_newer_is_unknown(machine: str, number: int) -> None:
    """Also the numbers of x32, which begin at 2^30."""
    assert decide(ARCHITECTURES[machine], number) == denied(errno.ENOSYS)


@given(EVERY, st.integers(0, 500), st.integers(0, 2**32 - 1))
def test_another_architectures_numbers_are_none(machine: str, number: int, audit: int) -> None:
    a = ARCHITECTURES[machine]
    if audit != a.audit:
        assert decide(a, number, audit=audit) == KILL
    i386 = 0x40000003
    assert decide(a, number, audit=i386) == KILL


@given(EVERY, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_sockets_are_of_unix_tcp_and_udp(machine: str, family: int, kind: int, way: int) -> None:
    a = ARCHITECTURES[machine]
    internet = (
        family in (socket.AF_INET, socket.AF_INET6) and kind & 0xF in (1, 2) and way in (0, 6, 17)
    )
    unix = family == socket.AF_UNIX
    assert (decide(a, a.socket, family, kind, way) == ALLOW) == (unix or internet)
    assert (decide(a, a.socketpair, family, kind, way) == ALLOW) == unix


@BOTH
def test_no_family_but_these_can_be_made(machine: str) -> None:
    a = ARCHITECTURES[machine]
    stream = socket.SOCK_STREAM
    allowed = {family for family in range(256) if decide(a, a.socket, family, stream) == ALLOW}
    assert allowed == {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6}
    flags = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    assert decide(a, a.socket, socket.AF_INET, flags, 6) == ALLOW
    sctp, raw = 132, socket.SOCK_RAW
    assert decide(a, a.socket, socket.AF_INET, stream, sctp) == denied(errno.EPROTONOSUPPORT)
    assert decide(a, a.socket, socket.AF_INET, raw, 6) == denied(errno.EPERM)
    assert decide(a, a.socket, 40, stream) == denied(errno.EAFNOSUPPORT)  # VSOCK


@given(EVERY, st.integers(0, 2**32 - 1))
def test_processes_are_made_but_no_namespaces(machine: str, flags: int) -> None:
    a = ARCHITECTURES[machine]
    assert (decide(a, a.clone, flags) == ALLOW) == (flags & NAMESPACES == 0)


@BOTH
def test_nothing_is_typed_into_a_terminal(machine: str) -> None:
    a = ARCHITECTURES[machine]
    for request in (0x5412, 0x541C):  # TIOCSTI, TIOCLINUX
        assert decide(a, a.ioctl, 0, request) == denied(errno.EPERM)
    assert decide(a, a.ioctl, 0, 0x5401) == ALLOW


# In a sandbox.

TRY = """
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    failed = libc.syscall(number, *arguments) < 0
    return errno.errorcode.get(ctypes.get_errno()) if failed else "done"
def make(family, kind=socket.SOCK_STREAM, protocol=0):
    try:
        socket.socket(family, kind, protocol).close()
        return "made"
    except OSError as error:
        return errno.errorcode[error.errno]
"""


def python(sandbox: Sandbox, program: str) -> list[str]:
    found = asyncio.run(
        sandbox.run(
            [sandbox.python, "-I", "-"], stdin=(TRY + program).encode(), limits=Limits(seconds=60)
        )
    )
    assert found.ok, found
    return found.stdout.decode().split()


@pytest.fixture
def filtered(sandbox: Sandbox) -> Sandbox:
    if sandbox.filter is None:
        pytest.skip(sandbox.enforcement["system calls"])
    return sandbox


def test_the_filter_is_active(filtered: Sandbox) -> None:
    assert filtered.enforcement["system calls"] == "seccomp"
    status = "print(*[row for row in open('/proc/self/status') if row.startswith('Seccomp:')])"
    assert python(filtered, status) == ["Seccomp:", "2"]


def test_a_program_cannot_reach_the_host_by_a_family_of_its_own(filtered: Sandbox) -> None:
    families = [family for family in range(46) if family not in (1, 2, 10)]
    assert set(python(filtered, f"print(*[make(family) for family in {families}])")) == {
        "EAFNOSUPPORT"
    }
    raw = "print(make(2, socket.SOCK_RAW, 1), make(2, socket.SOCK_STREAM, 132))"
    assert python(filtered, raw) == ["EPERM", "EPROTONOSUPPORT"]


def test_loopback_and_unix_work(filtered: Sandbox) -> None:
    talk = """
for family, address in ((socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_UNIX, "/tmp/socket")):
    with socket.socket(family) as server:
        server.bind(address)
        server.listen()
        with socket.socket(family) as client:
            client.connect(server.getsockname())
            served, _ = server.accept()
            with served:
                client.sendall(b"heard")
                print(served.recv(5).decode())
"""
    assert python(filtered, talk) == ["heard", "heard"]


@pytest.mark.skipif(sys.platform != "linux", reason="system calls of Linux")
def test_rare_calls_are_refused(filtered: Sandbox) -> None:
    from liveweights.gate.sandbox.seccomp import current

    a = current()
    assert a is not None
    numbers = [number for name, number in a.denied.items() if name not in ("vhangup", "reboot")]
    assert set(python(filtered, f"print(*[call(number) for number in {numbers}])")) == {"EPERM"}
    assert python(filtered, f"print(call({a.clone3}), call(467), call(2 ** 30))") == ["ENOSYS"] * 3
    assert python(filtered, f"print(call({a.clone}, 0x10000000))") == ["EPERM"]  # a user namespace


def test_ordinary_programs_notice_nothing(filtered: Sandbox) -> None:
    work = """
import subprocess, threading, tempfile, multiprocessing, asyncio, mmap, select
threads = [threading.Thread(target=print, args=("thread",)) for _ in range(2)]
for thread in threads: thread.start(); thread.join()
print(subprocess.run(["sh", "-c", "echo child | cat"], capture_output=True, text=True).stdout)
asyncio.run(asyncio.sleep(0))
with tempfile.TemporaryFile() as file:
    file.write(b"x" * 4096); file.flush(); mmap.mmap(file.fileno(), 4096).close()
a, b = socket.socketpair()
a.sendall(b"pair"); print(b.recv(4).decode())
"""
    assert python(filtered, work) == ["thread", "thread", "child", "pair"]
