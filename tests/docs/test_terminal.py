from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.docs.terminal import Seen, find_faults, see_on_terminal, see_piped

ID = "qwen2.5-coder@0fa1b9ef45d5"


@pytest.mark.parametrize(
    ("piped", "shown", "fault"),
    [
        (Seen(f"{ID} live", 0), Seen(f"{ID} live", 0), None),
        (Seen("", 0), Seen("live", 0), "a pipe gets nothing"),
        (Seen("live", 1), Seen("live", 1), "ended with 1"),
        (Seen("live", 0), Seen("qwen2.5-c\u2026 live", 0), "something is cut on a terminal"),
        (Seen(ID, 0), Seen("qwen2.5-coder@0fa1b9", 0), "an id is cut on a terminal"),
        (Seen("checkpoint", 0), Seen("check\npoint", 0), "words are broken"),
    ],
)
def test_what_a_reader_stumbles_over_is_found(piped: Seen, shown: Seen, fault: str | None) -> None:
    faults = find_faults(piped, shown)
    assert bool(faults) == (fault is not None)
    assert fault is None or any(fault in one for one in faults)


def test_a_terminal_is_one_and_a_pipe_is_none() -> None:
    code = "import os, sys; print(sys.stdout.isatty() and os.get_terminal_size(1).columns)"
    command = [sys.executable, "-c", code]
    assert see_piped(command, os.environ, Path()).text == "False\n"
    assert see_on_terminal(command, os.environ, Path()) == Seen("80\n", 0)
