from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.engines.lines import LONGEST_OUTPUT, cut_lines, read_lines, read_output
from liveweights.engines.protocol import EngineError


async def come(chunks: Sequence[bytes]) -> AsyncGenerator[bytes]:
    for chunk in chunks:
        yield chunk


def cut(chunks: Sequence[bytes], longest: int) -> list[bytes]:
    async def go() -> list[bytes]:
        return [line async for line in cut_lines(come(chunks), longest)]

    return asyncio.run(go())


@given(st.lists(st.text("ab\n", max_size=6).map(str.encode), max_size=8), st.integers(1, 5))
def test_lines_are_those_of_the_whole_and_no_piece_is_longer(
    chunks: list[bytes], longest: int
) -> None:
    whole = b"".join(chunks)
    assert cut(chunks, 100) == whole.splitlines(keepends=True)
    pieces = cut(chunks, longest)
    assert b"".join(pieces) == whole
    assert all(0 < len(piece) <= longest for piece in pieces)
    assert all(b"\n" not in piece[:-1] for piece in pieces)
    assert all(
        len(piece) == longest or piece.endswith(b"\n") or place == len(pieces) - 1
        for place, piece in enumerate(pieces)
    )


def test_an_event_beyond_all_bounds_is_an_error() -> None:
    async def go() -> list[bytes]:
        return [line async for line in read_lines(come([b"12\n123", b"\n1234"]), 4)]

    assert asyncio.run(go()) == [b"12\n", b"123\n", b"1234"]

    async def go_on() -> list[bytes]:
        return [line async for line in read_lines(come([b"12\n123", b"4\n"]), 4)]

    with pytest.raises(EngineError, match="more than 4 bytes"):
        asyncio.run(go_on())


SAYS = "import sys; print('x' * 200_000); print('y\\n' * 100_000, end='')"


def test_a_child_that_prints_a_long_line_is_read_to_its_end() -> None:
    async def go() -> list[str]:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SAYS, stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        said = [line async for line in read_output(child.stdout)]
        assert await child.wait() == 0
        return said

    said = asyncio.run(go())
    assert said.count("y") == 100_000
    assert "".join(said).count("x") == 200_000
    assert max(map(len, said)) <= LONGEST_OUTPUT
