from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from liveweights.record.listing import EXCERPT, Listed, Selection, list_answers
from liveweights.record.names import read_model
from liveweights.record.search import Wanted, search_answers
from liveweights.release import aliases
from liveweights.store.database import Connection
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import register

from .rows import START, make_feedback, make_generation
from .test_window import ask, record

HOUR = timedelta(hours=1)
BASE, CHILD = "m@aaaaaaaaaaaa", "m@bbbbbbbbbbbb"


def test_answers_page_by_page_with_what_was_made_of_them(database_dsn: str) -> None:
    record(
        database_dsn,
        *(
            make_generation(f"g{n}", created_at=START + n * HOUR, user=f"u{n % 2}")
            for n in range(4)
        ),
        # Two of one moment: the page that ends between them goes on with the other.
        *(make_generation(f"h{n}", created_at=START + 9 * HOUR, session="s") for n in range(2)),
        make_generation("long", created_at=START + 10 * HOUR, output="x" * 1000, checkpoint="m@2"),
        make_generation("other", alias="other"),
        make_feedback("1", "g1"),
        make_feedback("2", "g1", signal="rejected"),
        make_feedback("3", "g2", signal="comment", text="so"),
    )

    def page(count: int, **which: object) -> list[Listed]:
        chosen = Selection(alias="live", **which)  # type: ignore[arg-type]
        return ask(database_dsn, lambda conn: list_answers(conn, chosen, count))

    seen: list[Listed] = []
    before = None
    while some := page(2, before=before):
        seen += some
        before = (some[-1].created_at, some[-1].id)
    assert [one.id for one in seen] == ["long", "h1", "h0", "g3", "g2", "g1", "g0"]
    by_id = {one.id: one for one in seen}
    assert (by_id["long"].excerpt, by_id["long"].characters) == ("x" * EXCERPT, 1000)
    assert (by_id["g1"].rejected, by_id["g1"].decided_by, by_id["g1"].feedback) == (
        *(True, "rejected", 2),
    )
    assert (by_id["g2"].feedback, by_id["g2"].decided_by) == (1, None)
    assert (by_id["g0"].feedback, by_id["g0"].output_tokens) == (0, 2)
    assert [one.id for one in page(9, user="u1")] == ["g3", "g1"]
    assert [one.id for one in page(9, session="s")] == ["h1", "h0"]
    assert [one.id for one in page(9, checkpoint="m@2", tenant="default")] == ["long"]
    assert page(9, tenant="nobody") == []


def test_what_was_asked_by_a_checkpoints_id_is_listed_under_its_model(database_dsn: str) -> None:
    record(
        database_dsn,
        make_generation("g0", created_at=START, checkpoint=BASE),
        make_generation("by-id", created_at=START + HOUR, alias=CHILD, checkpoint=CHILD),
        make_generation("g2", created_at=START + 2 * HOUR, checkpoint=CHILD),
        make_generation("others", created_at=START + HOUR, alias="x@1", checkpoint="x@1"),
        make_feedback("1", "by-id", signal="rejected"),
    )

    async def look(conn: Connection) -> None:
        await register(conn, Checkpoint(BASE, "base", Path("/")), {})
        await register(conn, Checkpoint(CHILD, "adapter", Path("/"), BASE, BASE), {})
        await aliases.create(conn, "live", BASE)
        chosen = Selection(alias="live")
        assert [one.id for one in await list_answers(conn, chosen, 9)] == ["g2", "by-id", "g0"]
        assert [one.id for one in await list_answers(conn, chosen, 2)] == ["g2", "by-id"]
        last = replace(chosen, before=(START + 2 * HOUR, "g2"))
        assert [one.id for one in await list_answers(conn, last, 1)] == ["by-id"]
        met = await search_answers(conn, chosen, Wanted(signal="rejected"), 9)
        assert [one.id for one in met.answers] == ["by-id"]
        assert [await read_model(conn, name) for name in (CHILD, BASE, "live", "x@1")] == [
            *("live", "live", "live", "x@1")
        ]

    ask(database_dsn, look)
