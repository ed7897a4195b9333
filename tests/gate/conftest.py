from __future__ import annotations

import asyncio

import pytest

from liveweights.gate.sandbox import Sandbox, SandboxUnavailable, open_sandbox


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    try:
        return asyncio.run(open_sandbox())
    except SandboxUnavailable as error:
        pytest.skip(str(error))
