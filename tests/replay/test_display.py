from __future__ import annotations

from liveweights.replay.client import CycleStatus, Status
from liveweights.replay.display import Board, Display, verdict_line
from liveweights.replay.traffic import Tally


def test_what_was_seen_can_be_kept_as_text() -> None:
    board = Board(Tally(), phase="done", status=Status(live="m@000000000002"), released=1)
    display = Display(board, plain=True)
    display.moment("RELEASED m@000000000002 [by proof]")
    seen = display.capture(width=90)
    lines = seen.splitlines()
    assert lines[0] == "0:00  RELEASED m@000000000002 [by proof]"
    assert "releases  1" in seen
    assert "\x1b" not in seen
    assert max(map(len, lines)) <= 90
    assert all(line == line.rstrip() for line in lines)


def test_the_first_reason_of_a_verdict_is_told_whole() -> None:
    reasons = ["reward is better: " + "word " * 40 + "end", "drift is small", "likelihood is kept"]
    passed = CycleStatus(id=3, verdict={"outcome": "PASS", "reasons": reasons})
    seen = " ".join(verdict_line([passed, CycleStatus(id=4)]).split())
    assert seen == f"cycle 3 PASS: {reasons[0]}; and 2 more"
    assert verdict_line([CycleStatus(id=3, verdict={"outcome": "PASS"})]) == "cycle 3 PASS: "
    assert verdict_line([]) == "none yet"
