"""One call of a tool: bounded in time and in what it gives, whatever the tool does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from liveweights.agent.tool import ToolError, Toolset
from liveweights.excerpt import shorten
from liveweights.record.clean import clean_text


@dataclass(frozen=True, slots=True)
class Outcome:
    """``output`` is what the model reads; ``failed`` says that it is why the call did not work."""

    output: str
    failed: bool


async def make_call(
    toolset: Toolset, name: str, arguments: str, *, seconds: float, characters: int
) -> Outcome:
    """Call the tool ``name`` with a JSON object, for so long at most; what it gives is cut to so
    many characters."""
    failed = True
    try:
        given = _read(arguments)
        async with asyncio.timeout(seconds):
            output = await toolset.call(name, given)
        failed = False
    except TimeoutError:
        output = f"error: the tool did not answer within {seconds:.3g} seconds"
    except ToolError as error:
        output = f"error: {error}"
    return Outcome(clean_text(shorten(output, characters)), failed)


def _read(arguments: str) -> Mapping[str, Any]:
    """Raises ToolError."""
    try:
        given: Any = msgspec.json.decode(arguments or "{}")
    except (msgspec.DecodeError, RecursionError) as error:
        raise ToolError(f"the arguments are no JSON: {error}") from None
    if not isinstance(given, dict):
        raise ToolError("the arguments have to be a JSON object")
    return cast(dict[str, Any], given)
