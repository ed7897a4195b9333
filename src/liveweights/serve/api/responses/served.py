"""The sets of tools that the server runs for one response: opened, listed, offered to the model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from liveweights.agent.calls import Outcome, make_call
from liveweights.agent.settings import DOCUMENTS, PYTHON
from liveweights.agent.tool import Agent, Described, ToolError, Toolset, UnknownTools
from liveweights.serve.api.offers import Choice, Offer, offer_function
from liveweights.serve.api.responses.tools import FlatChoice, Served, full_name, served_labels


@dataclass(frozen=True, slots=True)
class Kit:
    """One set, open. ``told`` says why it has no tools, or which were left out."""

    served: Served
    toolset: Toolset | None
    tools: Sequence[Described] = ()
    told: str | None = None

    def offers(self) -> Iterator[Offer]:
        """As the model may call them."""
        label = self.served.label
        for tool in self.tools:
            name = full_name(tool.name, label)
            function = offer_function(name, tool.description, dict(tool.parameters), None)
            yield Offer(function, tool.name, self.served.at, label, server=label)


async def open_kits(
    agent: Agent, asked: Sequence[Served], tenant: str, stack: AsyncExitStack
) -> list[Kit]:
    """Each set, which ``stack`` closes. One that is not allowed, does not answer or lists nothing
    that can be offered has no tools: the model answers without them. Where one costs processes or
    connections, all wait for their turn."""
    if any(one.label not in (DOCUMENTS, PYTHON) for one in asked):
        await stack.enter_async_context(agent.turns.hold(1, tenant=tenant, patient=True))
    return [await _open(agent, one, tenant, stack) for one in asked]


async def _open(agent: Agent, served: Served, tenant: str, stack: AsyncExitStack) -> Kit:
    seconds = agent.settings.call_seconds
    try:
        opened = agent.tools.open(served.label, tenant, url=served.url)
        toolset = await stack.enter_async_context(opened)
        async with asyncio.timeout(seconds):
            listed = await toolset.list()
    except (UnknownTools, ToolError) as error:
        return Kit(served, None, told=str(error))
    except TimeoutError:
        return Kit(served, None, told=f"it listed no tools within {seconds:.3g} seconds")
    allowed = served.allowed
    tools = [tool for tool in listed.tools if allowed is None or tool.name in allowed]
    missing = [f"{name}: not listed" for name in allowed or () if name not in _names(tools)]
    told = "; ".join([*listed.left_out, *missing])
    return Kit(served, toolset, tools, f"left out: {told}" if told else None)


def _names(tools: Sequence[Described]) -> list[str]:
    return [tool.name for tool in tools]


def choose(choice: Choice, given: str | FlatChoice | None, offers: Sequence[Offer]) -> Choice:
    """The choice, where it is of any tool of a set that the server runs."""
    labels = served_labels(given)
    names = tuple(offer.function.name for offer in offers if offer.server in labels)
    return Choice("required", names) if names else choice


async def run_call(
    kits: Sequence[Kit], offer: Offer, arguments: str, *, seconds: float, characters: int
) -> Outcome:
    """Call an offered tool; the bounds are ``make_call``'s."""
    kit = next(kit for kit in kits if kit.served.label == offer.server)
    assert kit.toolset is not None
    return await make_call(
        kit.toolset, offer.name, arguments, seconds=seconds, characters=characters
    )
