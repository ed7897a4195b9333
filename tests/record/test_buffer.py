"""Whatever is done to it, nothing is lost, doubled or counted wrongly, and order is kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liveweights.record.binary import Row, encode
from liveweights.record.buffer import Buffer, Item, size_of, split
from liveweights.record.refused import unencodable

from .rows import make_generation

ROW = encode(make_generation("g"))


def make(number: int) -> Item:
    """Every third is no generation, and stays in memory."""
    g = make_generation(f"g{number}", output="x" * (100 * (number % 5)))
    return unencodable(g, ValueError("odd")) if number % 3 == 2 else encode(g)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 6)),
        st.tuples(st.just("take"), st.integers(1, 8)),
        st.tuples(st.just("halve"), st.just(0)),
        st.tuples(st.just("settle"), st.just(0)),
        st.tuples(st.just("aside"), st.integers(0, 9)),
    ),
    max_size=40,
)


@given(steps, st.integers(1, 3000))
def test_as_a_list_would(steps: list[tuple[str, int]], size: int) -> None:
    now = [0.0]
    buffer = Buffer(lambda: now[0])
    meant: list[tuple[float, Item]] = []
    made = 0
    for step, count in steps:
        now[0] += 1.0
        if step == "add":
            for _ in range(count):
                item = make(made)
                made += 1
                buffer.add(item)
                meant.append((now[0], item))
        elif step == "take" and buffer.part is None:
            taken = buffer.take(count, size)
            assert taken == (len(buffer.part.items) if buffer.part else 0) <= count
            assert bool(taken) == bool(meant)
        elif step == "halve" and buffer.part and len(buffer.part.items) > 1:
            buffer.halve()
        elif step == "settle" and buffer.part:
            settled = buffer.settle()
            assert [id(item) for item in settled] == [id(i) for _, i in meant[: len(settled)]]
            del meant[: len(settled)]
        elif step == "aside":
            rows = buffer.generations()
            assert [id(row) for row in rows] == [id(i) for _, i in meant if isinstance(i, Row)]
            gone = set(map(id, rows[:count]))
            buffer.remove(rows[:count])
            meant = [(at, item) for at, item in meant if id(item) not in gone]
        assert [id(item) for item in buffer] == [id(item) for _, item in meant]
        assert buffer.rows == len(meant)
        assert buffer.bytes == sum(size_of(item) for _, item in meant)
        if meant:
            assert buffer.age >= now[0] - meant[0][0]
        elif buffer.part is None:
            assert buffer.age == 0.0


@given(st.lists(st.integers(0, 5)), st.integers(1, 4), st.integers(1, 1500))
def test_split_keeps_order_and_bounds(sizes: list[int], most: int, size: int) -> None:
    rows = [encode(make_generation(f"g{n}", output="x" * 200 * k)) for n, k in enumerate(sizes)]
    parts = list(split(rows, most, size))
    assert [row for part in parts for row in part] == rows
    for part in parts:
        assert 1 <= len(part) <= most
        assert sum(map(size_of, part[:-1])) < size
