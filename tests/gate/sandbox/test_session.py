from __future__ import annotations

import asyncio
import io
import tarfile

import pytest

from liveweights.gate.sandbox import Limits, Sandbox, SandboxUnavailable
from liveweights.gate.sandbox.session import SessionLost, archive, open_session

LIMITS = Limits(seconds=60)
FILES = {"/app/run.sh": b"#!/bin/sh\necho ran $1\n", "/app/data/numbers.txt": b"1\n2\n3\n"}


def test_commands_share_files_and_give_back_status_and_output(sandbox: Sandbox) -> None:
    async def go() -> None:
        async with open_session(sandbox, FILES, ("/app", "/tmp"), LIMITS) as session:
            assert (await session.execute("pwd; ls", 30)).output == "/app\ndata\nrun.sh\n"
            assert (await session.execute("./run.sh far; exit 4", 30)).output == "ran far\n"
            await session.execute("wc -l < data/numbers.txt > count", 30)
            found = await session.execute("cat count missing", 30)
            assert found.code == 1
            assert found.output.startswith("3\ncat: missing")
            assert (await session.execute("cat", 30)).output == ""
            assert (await session.execute("a\0b", 30)).code == 2

    asyncio.run(go())


def test_a_command_out_of_time_or_output_does_not_end_the_session(sandbox: Sandbox) -> None:
    async def go() -> None:
        async with open_session(sandbox, {}, ("/app",), LIMITS) as session:
            assert (await session.execute("sleep 900", 2)).code == 124
            flood = await session.execute("yes | head -c 100000", 30, most=50)
            assert (flood.code, flood.output) == (0, "y\n" * 25)
            assert (await session.execute("echo still here", 30)).output == "still here\n"

    asyncio.run(go())


def test_a_folder_can_be_taken_out_up_to_a_size(sandbox: Sandbox) -> None:
    async def go() -> None:
        async with open_session(sandbox, FILES, ("/app",), LIMITS) as session:
            data = await session.export("/app", 100_000)
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                assert "./data/numbers.txt" in tar.getnames()
            with pytest.raises(SessionLost, match="more than 100 bytes"):
                await session.export("/app", 100)
            await session.execute("head -c 3000000 /dev/urandom > large", 30)
            assert len(await session.export("/app", 5_000_000)) > 3_000_000

    asyncio.run(go())


@pytest.mark.parametrize(
    "left",
    [
        "python3 -c 'import socket; socket.socket(1).bind(\"s\")'",
        "touch closed; chmod 000 closed",
        "mkdir closed; touch closed/in; chmod 000 closed",
        "while true; do echo line >> log; done >/dev/null 2>&1 &",
    ],
)
def test_what_cannot_be_taken_out_leaves_the_rest(sandbox: Sandbox, left: str) -> None:
    async def go() -> list[str]:
        async with open_session(sandbox, FILES, ("/app",), LIMITS) as session:
            await session.execute(left, 30)
            data = await session.export("/app", 8_000_000)
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                return tar.getnames()

    assert {"./run.sh", "./data/numbers.txt"} <= set(asyncio.run(go()))


def test_what_does_not_fit_on_the_disk_in_base64_is_not_cut(sandbox: Sandbox) -> None:
    async def go() -> None:
        limits = Limits(seconds=60, disk=1024 * 1024)
        async with open_session(sandbox, {}, ("/app",), limits) as session:
            await session.execute("head -c 900000 /dev/urandom > large", 30)
            with pytest.raises(SessionLost, match="cannot be exported"):
                await session.export("/app", 2_000_000)

    asyncio.run(go())


def test_a_sandbox_that_cannot_be_made_is_no_lost_session(sandbox: Sandbox) -> None:
    async def go(files: dict[str, bytes], folder: str) -> None:
        limits = Limits(seconds=60, disk=1024 * 1024)
        async with open_session(sandbox, files, (folder,), limits):
            pass

    for files, folder, words in [
        ({}, "/proc/x", "mkdir"),
        ({"/app/large": bytes(2_000_000)}, "/app", "File size limit exceeded"),
    ]:
        with pytest.raises(SandboxUnavailable, match=words):
            asyncio.run(go(files, folder))


def test_a_session_that_kills_itself_is_lost(sandbox: Sandbox) -> None:
    async def go() -> None:
        async with open_session(sandbox, {}, ("/app",), LIMITS) as session:
            with pytest.raises(SessionLost, match="ended while it ran"):
                await session.execute("kill -9 -1", 30)

    asyncio.run(go())


def test_archives_keep_paths_and_make_scripts_executable() -> None:
    with tarfile.open(fileobj=io.BytesIO(archive(FILES))) as tar:
        modes = {entry.name: entry.mode for entry in tar.getmembers()}
    assert modes == {"app/run.sh": 0o755, "app/data/numbers.txt": 0o644}
