"""Which suites there are, and how one is opened by its name."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from liveweights.gate.sandbox import open_sandbox
from liveweights.gate.suites import (
    code,
    competition,
    heldback,
    instructions,
    knowledge,
    mathematics,
    polyglot,
    search,
    terminal,
    tools,
)
from liveweights.gate.suites.bfcl import open_bfcl
from liveweights.gate.suites.code import Code
from liveweights.gate.suites.folder import find_package, open_questions, read_description
from liveweights.gate.suites.inspect import open_inspect
from liveweights.gate.suites.polyglot import Polyglot
from liveweights.gate.suites.suite import Card, Case, Suite, SuiteError
from liveweights.gate.suites.terminal import open_terminal


def _no_sandbox() -> str | None:
    return None if shutil.which("bwrap") else "`apt-get install bubblewrap`"


def _nothing() -> str | None:
    return None


BUILT_IN: dict[str, tuple[Card, Callable[[], str | None]]] = {
    "code": (code.CARD, lambda: code.missing() or _no_sandbox()),
    "mathematics": (mathematics.CARD, mathematics.missing),
    "competition": (competition.CARD, _nothing),
    "knowledge": (knowledge.CARD, _nothing),
    "instructions": (instructions.CARD, _nothing),
    "polyglot": (polyglot.CARD, lambda: polyglot.missing() or _no_sandbox()),
    "search": (search.CARD, _nothing),
    "tools": (tools.CARD, _nothing),
    "terminal": (terminal.CARD, _no_sandbox),
    "held-back": (heldback.CARD, _nothing),
}
"""By name: the card, and what is lacking here to run it."""


@asynccontextmanager
async def open_suite(name: str, held_back: Sequence[Case] = ()) -> AsyncGenerator[Suite]:
    """A built-in suite, a folder's path, ``package:NAME``, ``inspect:TASK`` or ``bfcl:CATEGORY``.

    ``held_back`` are the cases of the suite of that name. Raises SuiteError, SandboxUnavailable.
    """
    suite = await _open(name, held_back)
    try:
        yield suite
    finally:
        await suite.close()


async def _open(name: str, held_back: Sequence[Case]) -> Suite:
    match name:
        case "code":
            cases = code.read_cases()
            return Code(await open_sandbox(), cases)
        case "mathematics":
            return mathematics.open_mathematics()
        case "competition":
            return competition.open_competition()
        case "polyglot":
            return Polyglot(await open_sandbox(), polyglot.read_cases())
        case "search":
            return search.open_search()
        case "tools":
            return tools.open_tools()
        case "knowledge":
            return knowledge.open_knowledge()
        case "instructions":
            return instructions.open_instructions()
        case "terminal":
            return open_terminal(await open_sandbox())
        case "held-back":
            return heldback.open_heldback(held_back)
        case _:
            return await _open_other(name)


async def _open_other(name: str) -> Suite:
    kind, _, rest = name.partition(":")
    if kind == "inspect" and rest:
        return open_inspect(rest)
    if kind == "bfcl" and rest:
        return open_bfcl(rest)
    folder = find_package(rest) if kind == "package" and rest else Path(name)
    if not folder.is_dir():
        known = ", ".join(BUILT_IN)
        raise SuiteError(
            f"there is no suite {name!r}; it is one of {known}, a folder, package:NAME,"
            " inspect:FILE@TASK, or bfcl:CATEGORY"
        )
    description = read_description(folder)
    if description.card.harness == "terminal":
        return open_terminal(await open_sandbox(), folder, description.card)
    return open_questions(folder, description)
