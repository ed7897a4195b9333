from __future__ import annotations

import io
import json
import logging
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from liveweights.terminal import HIDDEN, JOINERS, Formatter, clean, escape_json

SOURCE = Path(__file__).parents[1] / "src" / "liveweights"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [/nope] ünïcode 中文", "plain [/nope] ünïcode 中文"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b2J", "\\x9b2J"),
        ("a\rb\nc\td\0", "a\\rb\\nc\\td\\x00"),
        ("\u202eexe", "\\u202eexe"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("👩\u200d🔬", "👩\u200d🔬"),
    ],
)
def test_what_a_terminal_would_act_on_is_shown(text: str, shown: str) -> None:
    assert clean(text) == shown


def is_hidden(char: str) -> bool:
    return unicodedata.category(char) in HIDDEN and char not in JOINERS


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_hidden_is_left_and_all_else_is(text: str) -> None:
    assert not any(map(is_hidden, clean(text)))
    visible = "".join(char for char in text if not is_hidden(char))
    assert clean(visible) == visible
    assert clean(text, keep="\n").count("\n") == text.count("\n")


@given(st.text(st.characters(codec="utf-8")))
@example("\x7f")
def test_json_stays_the_same_json(text: str) -> None:
    shown = escape_json(json.dumps({"a": [text]}, ensure_ascii=False, indent=2))
    assert json.loads(shown) == {"a": [text]}
    assert not any(is_hidden(char) for char in shown if char != "\n")


def test_a_line_of_the_log_moves_no_cursor() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Formatter("%(message)s"))
    record = logging.LogRecord("x", logging.INFO, "", 0, "user %s", ("\x1b[2J\x9b",), None)
    handler.emit(record)
    assert stream.getvalue() == "user \\x1b[2J\\x9b\n"


BARE = re.compile(
    r"\btyper\.s?echo\(|(?<![\w.])print\(|basicConfig\(|Console\(\)\.print|console\.print\("
)
ALLOWED = {
    "terminal.py": "where log lines are made safe",
    "cli/output.py": "where the rest is",
    "cli/context.py": "says what is wrong, cleaned",
    "cli/scorecard.py": "Markdown, cleaned",
    "app/supervisor.py": "first words of a service, cleaned",
    "cli/bom.py": "JSON in ASCII",
    "cli/exposure.py": "Markdown, cleaned",
    "cli/invoice.py": "HTML, cleaned",
    "cli/ledger.py": "JSON, escaped",
    "cli/about.py": "the operator's own settings, and the version",
    "cli/manual.py": "our own pages",
    "cli/model.py": "our own words, and a path of ours",
    "engines/llama/host.py": "its address, to the process that started it",
    "gate/suites/code.py": "a program's text",
    "replay/display.py": "cleaned",
    "replay/demo.py": "tables of figures",
    "replay/report.py": "cleaned",
    "replay/speed.py": "figures",
}


def test_nothing_else_prints() -> None:
    """What is printed goes through ``cli.output`` or ``clean``."""
    printing = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if BARE.search(path.read_text())
    }
    assert printing <= set(ALLOWED), printing - set(ALLOWED)
