"""What a program prints is passed on as it is, unless a line has no end."""

from __future__ import annotations

import subprocess
import sys

import pytest

from liveweights.agent import sieve


def sift(program: str, longest: int = 1000) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-I", "-S", sieve.__file__, str(longest)]
    return subprocess.run(
        [*command, sys.executable, "-c", program],
        input=b"given",
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_lines_go_in_and_come_out() -> None:
    done = sift("import sys; print(sys.stdin.read()); print('x' * 999); sys.exit(3)")
    assert (done.stdout, done.returncode) == (b"given\n" + b"x" * 999 + b"\n", 3)


@pytest.mark.parametrize("lines", [100, 20_000])
def test_many_lines_are_no_long_one(lines: int) -> None:
    done = sift(f"print('\\n'.join(['x' * 90] * {lines}))")
    assert len(done.stdout) == 91 * lines
    assert done.returncode == 0


def test_a_line_without_an_end_ends_the_program() -> None:
    done = sift("while True: print('x' * 500, end='', flush=True)")
    assert done.returncode == 1
    assert len(done.stdout) <= 1000 + sieve.CHUNK
