"""What is known of a request that was let in before its endpoint saw it."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Scope

from liveweights.meter.keys import Client
from liveweights.meter.limits import Permit

KEY = "liveweights.arrival"
"""Of an ASGI scope."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Whose request it is, what it takes of that key's allowance (closed by who let it in), until
    when it is answered (in the event loop's time), and the models that may do so, none where that
    is still to be chosen."""

    client: Client
    permit: Permit
    deadline: float
    names: tuple[str, ...] = ()


def with_arrival(scope: Scope, arrival: Arrival) -> Scope:
    return {**scope, KEY: arrival}


def arrival_of(scope: Scope) -> Arrival | None:
    """None: nobody has let it in yet."""
    return scope.get(KEY)
