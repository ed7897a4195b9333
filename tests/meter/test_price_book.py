"""Which price holds, against a search through all rows that knows nothing of timelines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from liveweights.meter import price_book
from liveweights.meter.price_book import PlanChange, PriceBook
from liveweights.meter.prices import PriceRow

DAY = datetime(2026, 10, 1, tzinfo=UTC)
hours = st.integers(0, 9).map(lambda n: DAY + timedelta(hours=n))
names = st.sampled_from(["a", "b"])


@st.composite
def books(draw: st.DrawFn) -> tuple[list[PriceRow], list[PlanChange]]:
    rows: list[PriceRow] = []
    for number in range(draw(st.integers(0, 8))):
        side = draw(st.sampled_from(["sale", "sale", "cost"]))
        whose = draw(st.sampled_from(["all", "tenant", "plan"])) if side == "sale" else "all"
        source = draw(st.sampled_from(["operator", "settings"]))
        rows.append(
            PriceRow(
                id=number + 1,
                since=draw(hours),
                side=side,
                model=draw(st.none() | names),
                tenant=draw(names) if whose == "tenant" else None,
                plan=draw(names) if whose == "plan" else None,
                source=source,
                withdrawn=source == "settings" and draw(st.booleans()),
                currency=draw(st.sampled_from(["USD", "EUR"])),
                input=draw(st.sampled_from([0, 1])),
            )
        )
    changes = draw(
        st.lists(st.builds(PlanChange, names, st.sampled_from(["", "a", "b"]), hours), max_size=3)
    )
    return rows, list({(one.tenant, one.since): one for one in changes}.values())


def search(
    rows: list[PriceRow],
    changes: list[PlanChange],
    side: str,
    tenant: str,
    model: str,
    at: datetime,
) -> PriceRow | None:
    past = sorted((c.since, c.plan) for c in changes if c.tenant == tenant and c.since <= at)
    plan = past[-1][1] if past else ""
    holding = [row for row in rows if row.side == side and row.since <= at]
    for whose in ("tenant", "plan", "all"):
        mine = {
            "tenant": [row for row in holding if row.tenant == tenant],
            "plan": [row for row in holding if row.plan == plan],
            "all": [row for row in holding if row.tenant is None and row.plan is None],
        }[whose]
        for wanted in (model, None):
            of_model = [row for row in mine if row.model == wanted]
            for source in ("operator", "settings"):
                those = [row for row in of_model if row.source == source]
                last = max(those, key=lambda row: (row.since, row.id), default=None)
                if last is not None and not last.withdrawn:
                    return last
    return None


@given(books(), names, names, st.integers(-1, 20))
def test_the_most_particular_price_holds(
    book: tuple[list[PriceRow], list[PlanChange]], tenant: str, model: str, half_hours: int
) -> None:
    rows, changes = book
    at = DAY + timedelta(minutes=30 * half_hours)
    held = PriceBook(rows, changes).find(tenant, model, at)
    assert held.price == search(rows, changes, "sale", tenant, model, at)
    assert held.cost == search(rows, changes, "cost", tenant, model, at)


def test_a_price_holds_from_its_very_instant() -> None:
    rows = [
        PriceRow(id=1, since=DAY, model="m"),
        PriceRow(id=2, since=DAY + timedelta(1), model="m"),
    ]
    book = PriceBook(rows)
    moments = [DAY - timedelta(microseconds=1), DAY, DAY + timedelta(1), DAY + timedelta(2)]
    held = [book.find("t", "m", at).price for at in moments]
    assert [None if one is None else one.id for one in held] == [None, 1, 2, 2]


def test_names_that_callers_make_up_do_not_fill_the_memory() -> None:
    book = PriceBook([PriceRow(id=1, since=DAY)])
    for number in range(3 * price_book.REMEMBERED):
        assert book.find("t", f"model-{number}", DAY).price is not None
    assert len(book._timelines) <= price_book.REMEMBERED


@given(books(), names, hours)
def test_a_price_in_another_currency(
    drawn: tuple[list[PriceRow], list[PlanChange]], tenant: str, since: datetime
) -> None:
    rows, changes = drawn
    later = [at for n in range(10) if (at := DAY + timedelta(hours=n)) >= since]
    paid = [
        search(rows, changes, "sale", tenant, model, at)
        for model in ("a", "b", "another")
        for at in later
    ]
    foreign = [one for one in paid if one and one.currency != "USD" and not one.is_nothing]
    shown = PriceBook(rows, changes).find_foreign(tenant, "USD", since)
    assert (shown is None) == (not foreign)
    assert shown is None or shown in foreign
