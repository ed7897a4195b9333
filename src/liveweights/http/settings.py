"""What can be set about the server."""

from __future__ import annotations

from typing import Annotated

import msgspec

from liveweights import bounds


class ConnectionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client may do before anybody knows who it is."""

    max: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=bounds.COUNT,
            description="Connections at once. Above it the one whose client has kept the server "
            "waiting for the longest is closed; where no client does, new ones get a 503.",
        ),
    ] = 2048
    header_bytes: Annotated[
        int,
        msgspec.Meta(
            ge=4096,
            le=2**20,
            description="All headers of a request together, each counted with 32 bytes more than "
            "its text (RFC 9113, section 6.5.2); more are refused with 431.",
        ),
    ] = 64 * 1024
    header_seconds: Annotated[
        float, msgspec.Meta(gt=0, le=3600, description="Longest wait for a request's headers.")
    ] = 10.0
    body_seconds: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=3600,
            description="Longest wait for a request's body; each 4 KiB of it that have come give "
            "one second more.",
        ),
    ] = 30.0
    keep_seconds: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=3600,
            description="How long a connection stays open for its client's next request. Clients "
            "and proxies close theirs after 4 to 60 seconds: a server that closes first may do so "
            "while a request is on its way.",
        ),
    ] = 75
    send_seconds: Annotated[
        float,
        msgspec.Meta(
            gt=0, le=3600, description="Longest wait for a client that takes nothing of its answer."
        ),
    ] = 60.0


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the server listens, under which names, and what its clients may do."""

    host: Annotated[str, msgspec.Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535, description="Port; 0 takes a free one.")] = (
        8090
    )
    hosts: Annotated[
        list[Annotated[str, msgspec.Meta(pattern=r"^(\*|(\*\.)?[A-Za-z0-9._-]{1,253})$")]],
        msgspec.Meta(
            description="Names that the service is reached under, besides addresses, names "
            "without a dot, and those of a machine, local network or cluster: its public name "
            "behind a proxy. '*.example.com': all below; '*': any. Others are refused with 421."
        ),
    ] = msgspec.field(default_factory=list[str])
    connections: ConnectionSettings = ConnectionSettings()
