"""What was made from what, as a picture: a row for each checkpoint, the newest on top, and lines to
its parents. Pure.

Each row has one dot, in a lane. A line to a parent goes down a lane in which no other dot is
meanwhile, so that none is crossed; lines to one parent share it where they can. What is live, and
what that was made from, is the first lane.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from markupsafe import Markup

ROW, LANE, EDGE, RADIUS = 34, 20, 16, 6
"""Pixels: height of a row, width of a lane, margin, and size of a dot."""
LETTER = 8
"""Pixels that a letter of a label takes at most, on the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One thing; ``parents`` begin with what it goes on from. ``mark`` says how it looks
    (``live``, ``canary``, ``gone`` or nothing), ``href`` where more is told of it."""

    id: str
    parents: tuple[str, ...] = ()
    mark: str = ""
    note: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """From the dot of a row down ``lane``, to the dot of another row; ``end`` is None where the
    parent is not in the picture."""

    start: int
    lane: int
    end: int | None


@dataclass(frozen=True, slots=True)
class Layout:
    """``nodes`` from top to bottom, the lane of each, and the lines between them."""

    nodes: tuple[Node, ...]
    lanes: tuple[int, ...]
    lines: tuple[Line, ...]

    @property
    def width(self) -> int:
        """How many lanes there are."""
        return 1 + max((*self.lanes, *(line.lane for line in self.lines)), default=0)


def sort_down(nodes: Sequence[Node]) -> list[Node]:
    """Children before their parents, else in the given order. What cannot be so, because something
    were its own ancestor, is in the given order."""
    here = {node.id: node for node in nodes}
    children = dict.fromkeys(here, 0)
    for node in nodes:
        for parent in set(node.parents):
            if parent in children and parent != node.id:
                children[parent] += 1
    order: list[Node] = []
    waiting = list(nodes)
    while waiting:
        node = next((one for one in waiting if not children[one.id]), waiting[0])
        waiting.remove(node)
        order.append(node)
        for parent in set(node.parents):
            if parent in children and parent != node.id:
                children[parent] -= 1
    return order


def find_trunk(nodes: Sequence[Node], tip: str | None) -> list[str]:
    """``tip`` and what it goes on from, then what that does, and so on."""
    here = {node.id: node for node in nodes}
    trunk: list[str] = []
    at = tip
    while at is not None and at not in trunk:
        trunk.append(at)
        at = next(iter(here[at].parents), None) if at in here else None
    return trunk


def lay_out(nodes: Sequence[Node], tip: str | None = None) -> Layout:
    """Where each of the nodes is, whose ids differ, with the trunk of ``tip`` in the first lane.

    After Sugiyama's layers, one node each, as version control systems draw histories."""
    order = sort_down(nodes)
    rows = {node.id: row for row, node in enumerate(order)}
    trunk = find_trunk(order, tip)
    lanes: list[int] = []
    open_: dict[tuple[str, int], list[int]] = {}
    """Lines by the parent that they go to and their lane: the rows that they come from."""
    lines: list[Line] = []
    first = 1 if trunk else 0
    for row, node in enumerate(order):
        taken = {lane for _, lane in open_}
        to_here = [key for key in open_ if key[0] == node.id]
        if node.id in trunk:
            lane = 0
        else:
            lane = min((lane for _, lane in to_here), default=_free(taken, first))
        lanes.append(lane)
        for key in to_here:
            lines += [Line(start, key[1], row) for start in open_.pop(key)]
        for place, parent in enumerate(dict.fromkeys(node.parents)):
            if rows.get(parent, len(order)) <= row:
                continue  # what would go up
            _begin(open_, parent, row, own=lane if not place else None, first=first)
    for (_, lane), starts in open_.items():
        lines += [Line(start, lane, None) for start in starts]
    return Layout(tuple(order), tuple(lanes), tuple(sorted(lines, key=lambda one: one.start)))


def _begin(
    open_: dict[tuple[str, int], list[int]], parent: str, row: int, *, own: int | None, first: int
) -> None:
    """A line from ``row``: where one to the same parent is, else in the dot's ``own`` lane, else in
    a free one. The trunk's own stays in the first lane."""
    if own == 0 and first:
        open_.setdefault((parent, 0), []).append(row)
        return
    there = next((key for key in open_ if key[0] == parent), None)
    if there is None:
        taken = {lane for _, lane in open_}
        free = own if own is not None and own not in taken else _free(taken, first)
        there = (parent, free)
    open_.setdefault(there, []).append(row)


def _free(taken: Collection[int], first: int) -> int:
    lane = first
    while lane in taken:
        lane += 1
    return lane


def draw(layout: Layout, label: str) -> Markup:
    """As SVG, with a link for each node; every word in it is escaped."""
    left = 2 * EDGE + layout.width * LANE
    letters = max((len(node.id) + len(node.note) for node in layout.nodes), default=0)
    width, height = left + LETTER * (letters + 2), EDGE + max(1, len(layout.nodes)) * ROW
    parts = [
        Markup(
            '<svg class="graph" width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="group"'
        ).format(width, height),
        Markup(' aria-label="{}">').format(label),
        *(_line(line, layout) for line in layout.lines),
        *(_node(row, node, layout.lanes[row], left) for row, node in enumerate(layout.nodes)),
        Markup("</svg>"),
    ]
    return Markup("\n").join(parts)


def place_of(row: int, lane: int) -> tuple[int, int]:
    """The middle of a dot, in pixels from the upper left."""
    return EDGE + lane * LANE, EDGE + row * ROW


def _line(line: Line, layout: Layout) -> Markup:
    x, y = place_of(line.start, layout.lanes[line.start])
    down, _ = place_of(0, line.lane)
    turn = y + (0 if down == x else ROW)
    if line.end is None:
        bottom = EDGE + len(layout.nodes) * ROW
        return _path("open", x, y, down, turn, bottom, down, bottom)
    to, end = place_of(line.end, layout.lanes[line.end])
    if line.end == line.start + 1:
        return _path("made", x, y, x, y, y, to, end)
    return _path("made", x, y, down, turn, max(turn, end if to == down else end - ROW), to, end)


def _path(kind: str, x: int, y: int, down: int, turn: int, back: int, to: int, end: int) -> Markup:
    """From a dot to the lane within a row, down the lane, and to the other dot within a row."""
    between = f"C{x} {y + ROW // 2} {down} {turn - ROW // 2} {down} {turn}" if down != x else ""
    last = f"C{down} {back + ROW // 2} {to} {end - ROW // 2} {to} {end}" if to != down else ""
    return Markup('<path class="{}" d="M{} {}{}V{}{}"/>').format(kind, x, y, between, back, last)


def _node(row: int, node: Node, lane: int, left: int) -> Markup:
    x, y = place_of(row, lane)
    dot = Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>').format(node.mark, x, y, RADIUS)
    told = Markup('<tspan class="note" dx="10">{}</tspan>').format(node.note)
    name = Markup('<a href="{}">{}</a>').format(node.href, node.id) if node.href else node.id
    text = Markup('<text x="{}" y="{}">{}{}</text>').format(left, y + 5, name, told)
    return dot + text
