"""Stands between us and a tool server's standard output, as a process of its own: one line that is
longer than any honest message ends the server, before anybody has it in memory.

It is run by its path, with nothing but the standard library: ``sieve.py BYTES PROGRAM ARGUMENTS``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

CHUNK = 65_536


def sift(command: Sequence[str], longest: int) -> int:
    """Run a program and pass its output on; its exit status, or 1 where a line was too long."""
    # Its input is ours: it sees at once when we are gone.
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        line = 0
        while chunk := os.read(program.stdout.fileno(), CHUNK):
            head, newline, _ = chunk.partition(b"\n")
            if line + len(head) > longest:
                program.kill()
                return 1
            line = len(chunk) - chunk.rfind(b"\n") - 1 if newline else line + len(chunk)
            try:
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                program.kill()
                return 1
        return program.wait()


if __name__ == "__main__":
    sys.exit(sift(sys.argv[2:], int(sys.argv[1])))
