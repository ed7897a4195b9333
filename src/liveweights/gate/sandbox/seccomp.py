"""Which system calls a sandboxed program may make: a filter that the kernel runs before each.

Namespaces decide what a program sees; some system calls reach past them. A socket of the family
VSOCK in a virtual machine is one to the host; a rare call is code of the kernel that few have
tried. So everything is denied that a program of a test or of an agent does not need:

- sockets but those of Unix and of TCP and UDP, which in a network namespace of its own is loopback;
- the calls in ``DENIED``: mounting, tracing, modules, keys, io_uring (it makes sockets of its own),
  other namespaces, and what is obsolete;
- every call that is newer than ``NEWEST``, and every call in another architecture's numbering.

``build`` gives the program in the kernel's own form (classic BPF over ``struct seccomp_data``,
Documentation/userspace-api/seccomp_filter.rst), which ``bwrap --seccomp`` takes from a descriptor.
"""

from __future__ import annotations

import errno
import platform
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NEWEST = 466
"""The newest call that has been considered (removexattrat, Linux 6.13). Numbers from 424 on are the
same everywhere."""

_MODERN: Mapping[str, int] = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "memfd_secret": 447,
    "process_mrelease": 448,
    "set_mempolicy_home_node": 450,
    "statmount": 457,
    "listmount": 458,
    "lsm_get_self_attr": 459,
    "lsm_set_self_attr": 460,
    "lsm_list_modules": 461,
}
_X86_64: Mapping[str, int] = {
    "ptrace": 101,
    "syslog": 103,
    "uselib": 134,
    "personality": 135,
    "ustat": 136,
    "sysfs": 139,
    "vhangup": 153,
    "modify_ldt": 154,
    "pivot_root": 155,
    "_sysctl": 156,
    "chroot": 161,
    "acct": 163,
    "settimeofday": 164,
    "mount": 165,
    "umount2": 166,
    "swapon": 167,
    "swapoff": 168,
    "reboot": 169,
    "sethostname": 170,
    "setdomainname": 171,
    "iopl": 172,
    "ioperm": 173,
    "create_module": 174,
    "init_module": 175,
    "delete_module": 176,
    "get_kernel_syms": 177,
    "query_module": 178,
    "quotactl": 179,
    "nfsservctl": 180,
    "getpmsg": 181,
    "putpmsg": 182,
    "afs_syscall": 183,
    "tuxcall": 184,
    "security": 185,
    "lookup_dcookie": 212,
    "remap_file_pages": 216,
    "clock_settime": 227,
    "vserver": 236,
    "mbind": 237,
    "set_mempolicy": 238,
    "kexec_load": 246,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "migrate_pages": 256,
    "unshare": 272,
    "move_pages": 279,
    "perf_event_open": 298,
    "fanotify_init": 300,
    "fanotify_mark": 301,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "clock_adjtime": 305,
    "setns": 308,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "kcmp": 312,
    "finit_module": 313,
    "kexec_file_load": 320,
    "bpf": 321,
    "userfaultfd": 323,
}
_AARCH64: Mapping[str, int] = {
    "lookup_dcookie": 18,
    "umount2": 39,
    "mount": 40,
    "pivot_root": 41,
    "nfsservctl": 42,
    "chroot": 51,
    "vhangup": 58,
    "quotactl": 60,
    "acct": 89,
    "personality": 92,
    "unshare": 97,
    "kexec_load": 104,
    "init_module": 105,
    "delete_module": 106,
    "clock_settime": 112,
    "syslog": 116,
    "ptrace": 117,
    "reboot": 142,
    "sethostname": 161,
    "setdomainname": 162,
    "settimeofday": 170,
    "add_key": 217,
    "request_key": 218,
    "keyctl": 219,
    "swapon": 224,
    "swapoff": 225,
    "remap_file_pages": 234,
    "mbind": 235,
    "set_mempolicy": 237,
    "migrate_pages": 238,
    "move_pages": 239,
    "perf_event_open": 241,
    "fanotify_init": 262,
    "fanotify_mark": 263,
    "name_to_handle_at": 264,
    "open_by_handle_at": 265,
    "clock_adjtime": 266,
    "setns": 268,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "kcmp": 272,
    "finit_module": 273,
    "bpf": 280,
    "userfaultfd": 282,
    "kexec_file_load": 294,
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """``audit`` is what the kernel calls it (linux/audit.h); then the numbers of its calls."""

    audit: int
    denied: Mapping[str, int]
    socket: int
    socketpair: int
    clone: int
    ioctl: int
    clone3: int = 435


ARCHITECTURES: Mapping[str, Architecture] = {
    "x86_64": Architecture(0xC000003E, {**_X86_64, **_MODERN}, 41, 53, 56, 16),
    "aarch64": Architecture(0xC00000B7, {**_AARCH64, **_MODERN}, 198, 199, 220, 29),
}

# Operations of classic BPF (linux/bpf_common.h), with a 32-bit word or a constant.
_LOAD, _AND = 0x20, 0x54
_EQUAL, _GREATER, _ANY_BIT = 0x15, 0x25, 0x45
_RETURN = 0x06
# Answers (linux/seccomp.h).
ALLOW = 0x7FFF0000
KILL = 0x80000000
_ERRNO = 0x00050000
# Places in struct seccomp_data; of an argument its lower half (both architectures have it first).
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

NAMESPACES = 0x7E020080
"""The flags of ``clone`` for namespaces of every kind."""
TERMINALS = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX: they type into a terminal that the sandbox was given (CVE-2017-5226)."""
_KINDS = (socket.SOCK_STREAM.value, socket.SOCK_DGRAM.value)
_PROTOCOLS = (0, socket.IPPROTO_TCP, socket.IPPROTO_UDP)
_INTERNET = (socket.AF_INET.value, socket.AF_INET6.value)

Instruction = tuple[int, int, int, int]
"""Operation, how many to skip if it holds, if not, and the constant."""


def denied(number: int) -> int:
    """The answer that gives an error."""
    return _ERRNO | number


def current() -> Architecture | None:
    """This machine's, if it is known here and the kernel filters."""
    if sys.maxsize < 2**32 or not Path("/proc/sys/kernel/seccomp/actions_avail").exists():
        return None
    return ARCHITECTURES.get(platform.machine())


def build(architecture: Architecture) -> bytes:
    """The filter as an array of ``struct sock_filter``."""
    return b"".join(struct.pack("=HBBI", *one) for one in instructions(architecture))


def instructions(architecture: Architecture) -> list[Instruction]:
    a = architecture
    program = [
        _load(_ARCHITECTURE),
        *_unless(_EQUAL, a.audit, [_answer(KILL)]),
        _load(_NUMBER),
        # Also the numbers of x32, which begin at 2^30.
        *_if(_GREATER, NEWEST, [_answer(denied(errno.ENOSYS))]),
        # Its flags are in memory, out of a filter's sight: programs then use `clone`.
        *_if(_EQUAL, a.clone3, [_answer(denied(errno.ENOSYS))]),
    ]
    for number in sorted({*a.denied.values()}):
        program += _if(_EQUAL, number, [_answer(denied(errno.EPERM))])
    program += _if(
        _EQUAL,
        a.clone,
        [
            _load(_argument(0)),
            *_if(_ANY_BIT, NAMESPACES, [_answer(denied(errno.EPERM))]),
            _answer(ALLOW),
        ],
    )
    program += _if(
        _EQUAL,
        a.ioctl,
        [_load(_argument(1)), *_refuse(TERMINALS, errno.EPERM), _answer(ALLOW)],
    )
    unix = [_load(_argument(0)), *_if(_EQUAL, socket.AF_UNIX.value, [_answer(ALLOW)])]
    program += _if(_EQUAL, a.socketpair, [*unix, _answer(denied(errno.EAFNOSUPPORT))])
    program += _if(
        _EQUAL,
        a.socket,
        [
            *unix,
            *_require(_INTERNET, errno.EAFNOSUPPORT),
            _load(_argument(1)),
            (_AND, 0, 0, 0xF),  # without SOCK_NONBLOCK and SOCK_CLOEXEC
            *_require(_KINDS, errno.EPERM),
            _load(_argument(2)),
            *_require(_PROTOCOLS, errno.EPROTONOSUPPORT),
            _answer(ALLOW),
        ],
    )
    return [*program, _answer(ALLOW)]


def _load(place: int) -> Instruction:
    return (_LOAD, 0, 0, place)


def _answer(value: int) -> Instruction:
    return (_RETURN, 0, 0, value)


def _argument(number: int) -> int:
    return _ARGUMENTS + 8 * number


def _if(test: int, value: int, then: Sequence[Instruction]) -> list[Instruction]:
    return [(test, 0, len(then), value), *then]


def _unless(test: int, value: int, then: Sequence[Instruction]) -> list[Instruction]:
    return [(test, len(then), 0, value), *then]


def _refuse(values: Sequence[int], error: int) -> list[Instruction]:
    """If what was loaded is one of these."""
    return [one for value in values for one in _if(_EQUAL, value, [_answer(denied(error))])]


def _require(values: Sequence[int], error: int) -> list[Instruction]:
    """Unless what was loaded is one of these."""
    last = len(values) - 1
    tests = [(_EQUAL, last - place + 1, 0, value) for place, value in enumerate(values)]
    return [*tests, _answer(denied(error))]
