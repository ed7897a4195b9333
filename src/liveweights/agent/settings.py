"""What can be set about the tools that the server runs."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from liveweights import bounds
from liveweights.bounds import SECONDS

Label = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
DOCUMENTS, PYTHON, DATABASES = "documents", "python", "databases"
BUILT_IN = (DOCUMENTS, PYTHON, DATABASES)
"""Labels of the service's own sets of tools, each a switch of ``AgentSettings``."""


class ToolServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An ``[agent.servers.LABEL]`` table: a server of the Model Context Protocol."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^\s@?#]+)?$",
            description="Where it answers (streamable HTTP). This or `command`.",
        ),
    ] = ""
    command: Annotated[
        tuple[str, ...],
        Meta(description="A program and its arguments; it is started for each request (stdio)."),
    ] = ()
    key_env: Annotated[
        str,
        Meta(
            pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$",
            description="Environment variable with a key: sent as a bearer token to `url`, given "
            "under its own name to `command`. Empty: none.",
        ),
    ] = ""
    tools: Annotated[
        tuple[str, ...], Meta(description="The tools that may be called; empty: all it lists.")
    ] = ()
    tenants: Annotated[
        tuple[str, ...], Meta(description="Whose requests may use it; empty: everybody's.")
    ] = ()


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[agent]`` table: tools that the server runs for requests to /v1/responses, and how far
    one response may go with them."""

    documents: Annotated[
        bool,
        Meta(description="Whether models may search the folders of `liveweights documents add`."),
    ] = True
    python: Annotated[
        bool, Meta(description="Whether models may run Python in the sandbox (bubblewrap).")
    ] = False
    databases: Annotated[
        bool,
        Meta(
            description="Whether models may make and use databases of the tenant's own; needs the "
            "extra `mcp`."
        ),
    ] = False
    servers: Annotated[
        dict[Label, ToolServer],
        Meta(
            description="Label to a server of the Model Context Protocol that requests may name, "
            "none of `documents`, `python` and `databases`; needs the extra `mcp`."
        ),
    ] = msgspec.field(default_factory=dict[str, ToolServer])
    steps: Annotated[
        int,
        Meta(
            ge=2,
            le=1000,
            description="Most answers of the model within one response: those that call tools, and "
            "the last one, without.",
        ),
    ] = 16
    calls: Annotated[
        int, Meta(ge=1, le=10_000, description="Most calls of tools within one response.")
    ] = 64
    repeats: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="How often the same call may be made within one response.",
        ),
    ] = 3
    tokens: Annotated[
        int,
        Meta(ge=1, le=bounds.COUNT, description="Most tokens that one response may generate."),
    ] = 32_768
    cost: Annotated[
        float,
        Meta(
            ge=0,
            le=1e9,
            description="Cost, in the currency of the prices, from which on a response takes no "
            "further step; 0: no such bound.",
        ),
    ] = 0.0
    seconds: Annotated[
        float,
        Meta(
            gt=0,
            le=SECONDS,
            description="Longest time of one response with tools: no step is begun after it (one "
            "that waits for its turn may be), a call is left, and what the model is saying ends "
            "with its next token.",
        ),
    ] = 300.0
    call_seconds: Annotated[
        float, Meta(gt=0, le=SECONDS, description="Longest time of one call of a tool.")
    ] = 30.0
    responses: Annotated[
        int,
        Meta(
            ge=1,
            le=bounds.COUNT,
            description="Most responses at a time that have `databases` or servers open, which "
            "cost processes and connections. Others wait, tenants one after the other.",
        ),
    ] = 16
    programs: Annotated[
        int,
        Meta(
            ge=1,
            le=bounds.COUNT,
            description="Most programs of models that run at a time in the sandbox. Others wait, "
            "tenants one after the other; it is part of their `call_seconds`.",
        ),
    ] = 4
    characters: Annotated[
        int,
        Meta(
            ge=100,
            le=10_000_000,
            description="Characters of what a tool gives that the model reads; the rest is cut.",
        ),
    ] = 16_384

    def __post_init__(self) -> None:
        taken = [label for label in BUILT_IN if label in self.servers]
        if taken:
            raise ValueError(
                f"no server can be called {taken[0]!r}: this service's own tools are "
                f"({', '.join(BUILT_IN)}); give [agent.servers.{taken[0]}] another name"
            )
