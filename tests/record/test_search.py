from __future__ import annotations

from datetime import timedelta

from liveweights.record.listing import Selection
from liveweights.record.search import Look, Wanted, search_answers

from .rows import START, make_feedback, make_generation
from .test_window import ask, record

HOUR = timedelta(hours=1)
HOSTILE = "<script>100%_\\</script> \u202e😀 Größe"


def test_answers_are_met_by_what_is_in_them_and_was_said_of_them(database_dsn: str) -> None:
    record(
        database_dsn,
        *(
            make_generation(f"g{n}", created_at=START + n * HOUR, total_ms=100.0 * n)
            for n in range(8)
        ),
        make_generation("words", created_at=START + 9 * HOUR, output=HOSTILE, tenant="acme"),
        make_generation("long", created_at=START + 10 * HOUR, output="x" * 1_000_000 + "needle"),
        make_feedback("1", "g1", signal="rejected"),
        make_feedback("2", "g2", signal="comment", text="far too WORDY"),
        make_feedback("3", "g2", signal="rejected"),
    )

    def look(most: int = 9, scanned: int = 99, tenant: str | None = None, **wanted: object) -> Look:
        chosen = Selection(alias="live", tenant=tenant)
        return ask(
            database_dsn,
            lambda conn: search_answers(
                conn,
                chosen,
                Wanted(**wanted),
                most,
                scanned=scanned,  # type: ignore[arg-type]
            ),
        )

    def ids(**which: object) -> list[str]:
        return [one.id for one in look(**which).answers]  # type: ignore[arg-type]

    assert ids(signal="rejected") == ["g2", "g1"]
    assert ids(signal="correction") == []
    assert ids(slower=650.0, tenant="default", text="NEEDLE") == []
    assert ids(slower=650.0, signal=None)[-1] == "g7"
    assert ids(text="wordy") == ["g2"]
    assert ids(text="NEEDLE") == ["long"]
    for part in ("100%_\\<", "GRÖSSE".replace("SS", "ß"), "😀", "<SCRIPT>", "\u202e"):
        assert ids(text=part) == ["words"], part
    assert ids(text="100x_") == []
    assert ids(text="_") == ["words"]
    assert ids(text="<script>", tenant="default") == []
    # A look that goes through three at a time comes to the end, and misses none.
    met: list[str] = []
    chosen = Selection(alias="live")
    for _ in range(9):
        part = ask(
            database_dsn,
            lambda conn, chosen=chosen: search_answers(
                conn, chosen, Wanted(signal="rejected"), 9, scanned=3
            ),
        )
        met += [one.id for one in part.answers]
        if part.reached is None:
            break
        chosen = Selection(alias="live", before=part.reached)
    assert met == ["g2", "g1"]
    assert look(most=1, signal="rejected").answers[0].id == "g2"
