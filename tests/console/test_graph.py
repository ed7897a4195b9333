from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from liveweights.console.graph import LETTER, Layout, Node, draw, lay_out, place_of, sort_down

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)


@st.composite
def histories(draw: st.DrawFn, acyclic: bool = True) -> tuple[list[Node], str | None]:
    """Checkpoints, newest first, each made from later ones in the list, or from nothing here."""
    ids = draw(st.lists(NAMES, unique=True, max_size=14))
    nodes: list[Node] = []
    for place, id_ in enumerate(ids):
        older = ids[place + 1 :] if acyclic else ids
        some = st.sampled_from([*older, "<elsewhere>"])
        parents = tuple(draw(st.lists(some, max_size=3)))
        nodes.append(Node(id=id_, parents=parents, note=draw(NAMES), href="/checkpoints/x"))
    tip = draw(st.sampled_from([None, *ids]))
    return nodes, tip


@given(histories())
def test_each_is_a_row_of_its_own_above_what_it_was_made_from(
    history: tuple[list[Node], str | None],
) -> None:
    nodes, tip = history
    layout = lay_out(nodes, tip)
    assert sorted(layout.nodes, key=repr) == sorted(nodes, key=repr)
    rows = {node.id: row for row, node in enumerate(layout.nodes)}
    for node in nodes:
        assert all(rows[parent] > rows[node.id] for parent in node.parents if parent in rows)
    if tip is not None:
        assert layout.lanes[rows[tip]] == 0
    assert all(0 <= lane < layout.width for lane in layout.lanes)


@given(histories())
def test_there_is_a_line_to_each_parent_and_no_other(
    history: tuple[list[Node], str | None],
) -> None:
    nodes, tip = history
    layout = lay_out(nodes, tip)
    rows = {node.id: row for row, node in enumerate(layout.nodes)}
    wanted = sorted(
        (rows[node.id], rows.get(parent, len(nodes)))
        for node in nodes
        for parent in set(node.parents)
    )
    found = [(one.start, len(nodes) if one.end is None else one.end) for one in layout.lines]
    assert sorted(found) == wanted


@given(histories())
def test_no_line_goes_through_what_it_is_not_about(history: tuple[list[Node], str | None]) -> None:
    layout = lay_out(*history)
    for line in layout.lines:
        end = len(layout.nodes) if line.end is None else line.end
        for row in range(line.start + 1, end):
            assert layout.lanes[row] != line.lane
    for row in range(len(layout.nodes)):  # and lines to others do not share a lane
        down: dict[int, int | None] = {}
        for line in layout.lines:
            if line.start < row < (len(layout.nodes) if line.end is None else line.end):
                assert line.end is None or down.setdefault(line.lane, line.end) == line.end


@given(histories(acyclic=False))
def test_what_cannot_be_is_drawn_all_the_same(history: tuple[list[Node], str | None]) -> None:
    nodes, tip = history
    layout = lay_out(nodes, tip)
    assert len(layout.nodes) == len(nodes)
    assert all(line.end is None or line.end > line.start for line in layout.lines)
    ElementTree.fromstring(draw(layout, "all"))


@given(histories(), NAMES)
def test_a_picture_has_every_word_and_nothing_outside(
    history: tuple[list[Node], str | None], label: str
) -> None:
    layout = lay_out(*history)
    svg = ElementTree.fromstring(draw(layout, label))
    assert svg.get("aria-label") == label
    words = ["".join(text.itertext()) for text in svg.iter("text")]
    assert words == [node.id + node.note for node in layout.nodes]
    assert [link.text for link in svg.iter("a")] == [node.id for node in layout.nodes]
    width, height = float(svg.get("width", "")), float(svg.get("height", ""))
    dots = [(float(one.get("cx", "")), float(one.get("cy", ""))) for one in svg.iter("circle")]
    assert dots == [place_of(row, lane) for row, lane in enumerate(layout.lanes)]
    room = LETTER * max((len(word) for word in words), default=0)
    assert all(0 < x < width - room and 0 < y < height for x, y in dots)
    assert len(list(svg.iter("path"))) == len(layout.lines)


def test_what_is_live_is_a_straight_line_beside_what_was_rejected() -> None:
    history = [
        Node(id="rejected-2", parents=("b",)),
        Node(id="c", parents=("b",)),
        Node(id="rejected-1", parents=("a",)),
        Node(id="b", parents=("a",)),
        Node(id="a"),
    ]
    layout = lay_out(history, "c")
    lanes = dict(zip([one.id for one in layout.nodes], layout.lanes, strict=True))
    assert lanes == {"rejected-2": 1, "c": 0, "rejected-1": 2, "b": 0, "a": 0}
    assert layout.width == 3


def test_many_that_were_made_from_one_share_their_lines() -> None:
    history = [*(Node(id=f"r{number}", parents=("a",)) for number in range(20)), Node(id="a")]
    assert lay_out(history, "a").width <= 3


def test_the_order_is_kept_where_it_may_be() -> None:
    nodes = [Node(id=str(number)) for number in range(5)]
    assert sort_down(nodes) == nodes
    chain = [Node(id=name, parents=(below,)) for name, below in pairwise("abcd")]
    assert sort_down(list(reversed(chain))) == chain
    assert lay_out([]) == Layout((), (), ())
