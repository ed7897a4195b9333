from __future__ import annotations

import msgspec
import pytest

from liveweights.agent.settings import BUILT_IN, AgentSettings

SERVER = {"url": "http://127.0.0.1:9/mcp", "tenants": ["acme"]}


@pytest.mark.parametrize("label", BUILT_IN)
def test_no_server_takes_the_name_of_the_services_own_tools(label: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=f"called {label!r}"):
        msgspec.convert({"servers": {label: SERVER}, label: False}, AgentSettings)


def test_every_built_in_set_has_its_switch() -> None:
    assert all(getattr(AgentSettings(), label) in (True, False) for label in BUILT_IN)
    other = msgspec.convert({"servers": {"Documents": SERVER}}, AgentSettings)
    assert other.servers["Documents"].tenants == ("acme",)
