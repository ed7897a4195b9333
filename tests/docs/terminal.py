"""A command as a person and a pipe see it: at 80 columns, and as plain text."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

COLUMNS, LINES = 80, 24
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
CUT = "\u2026"
"""What is put where something was cut off."""
ID = re.compile(r"\b[\w.-]+@([0-9a-f]*)")
WORD = re.compile(r"[A-Za-z]{4,}")
KEY = re.compile(r"\blw-[\w-]+|token=\S+")
"""Each run makes another."""


@dataclass(frozen=True)
class Seen:
    """What a command printed, and its exit code."""

    text: str
    code: int


def see_piped(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, timeout: float = 120
) -> Seen:
    """Both streams, as a pipe gets them, of a command that is run in ``folder``."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Seen(done.stdout, done.returncode)


def see_on_terminal(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Seen:
    """Both streams, on a terminal of 80 columns, without what moves the cursor."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environment = {**environment, "TERM": "xterm", "COLUMNS": str(COLUMNS)}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    chunks: list[bytes] = []
    with open(ours, "rb", buffering=0) as source:
        while True:
            try:
                chunk = source.read(65536)
            except OSError:  # the other end was closed
                break
            if not chunk:
                break
            chunks.append(chunk)
    text = ESCAPES.sub("", b"".join(chunks).decode(errors="replace"))
    return Seen(text, process.wait(60))


def find_faults(piped: Seen, shown: Seen, expected: frozenset[int] = frozenset({0})) -> list[str]:
    """What a reader would stumble over, in sentences."""
    faults: list[str] = []
    if piped.code not in expected:
        faults.append(f"ended with {piped.code}: {piped.text.strip()[-300:]}")
    if not piped.text.strip():
        faults.append("a pipe gets nothing")
    for name, seen in (("a pipe", piped), ("a terminal", shown)):
        if CUT in seen.text:
            line = next(line for line in seen.text.splitlines() if CUT in line)
            faults.append(f"something is cut on {name}: {line.strip()}")
        short = [found[0] for found in ID.finditer(seen.text) if len(found[1]) not in (0, 12)]
        faults += [f"an id is cut on {name}: {id_}" for id_ in short]
    # What is on the terminal is what is in the pipe: a word that is not was broken.
    words = [set(WORD.findall(KEY.sub("", seen.text))) for seen in (shown, piped)]
    broken = words[0] - words[1]
    if broken and shown.code == piped.code:
        faults.append(f"words are broken on a terminal: {', '.join(sorted(broken)[:5])}")
    return faults
