"""A card of the catalogue for people: everything that is known of one model, and since when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from liveweights.catalog.cards import Card, Score
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.filters import UNKNOWN
from liveweights.catalog.prices import ListedPrice
from liveweights.catalog.surroundings import Adoption
from liveweights.terminal import clean

if TYPE_CHECKING:
    from liveweights.catalog.recognition import Recognition
    from liveweights.catalog.similarity import Likeness

WIDTH = 14
_SIZES = ((10**12, "T"), (10**9, "B"), (10**6, "M"))


def facts(known: Catalogue, card: Card) -> dict[str, Any]:
    """The card for programs: what is not known is null, and its duties are all of them."""
    return msgspec.to_builtins(card) | {
        "duties": msgspec.to_builtins(known.all_duties(card)),
        "own": known.is_own(card),
        "overrides": {name: str(file) for name, file in known.overrides(card).items()},
    }


def card_page(known: Catalogue, card: Card, prices: Sequence[ListedPrice]) -> Iterator[str]:
    """The lines of the page."""
    over = known.overrides(card)
    yield f"{card.name}  {card.hub_id}" + ("  (yours)" if known.is_own(card) else "")
    for name, value in _basics(card):
        yours = [str(over[one]) for one in _MEMBERS.get(name, (name,)) if one in over]
        yield _line(name, value + (f"  (yours, {yours[0]})" if yours else ""))
    yield from _licence(known, card)
    yield from _section("prices", _prices(card, prices))
    yield from _section("scores", _scores(card.scores))
    yield from _section("products", _products(known, card))
    yield from _section("rules", _rules(known, card))
    used = (row for row in known.adoption if row.group == card.maker)
    yield from _section("use", use_lines(used))
    sources = msgspec.to_builtins(card.sources).items()
    yield from _section("sources", (f"{name}: {value}" for name, value in sources if value))
    yield from _section("notes", (_sourced(note.text, note.source) for note in card.notes))


def recognition_lines(found: Recognition, against: Mapping[str, Likeness]) -> Iterator[str]:
    """What a checkpoint is, in words that claim no more than was shown; ``against`` has how alike
    it is to bases by their names."""
    if found.by == "unknown":
        yield f"unknown: {found.reason}"
    else:
        families = sorted({card.family or UNKNOWN for card in found.cards})
        kin = f"family {families[0]}" if len(families) == 1 else f"families {', '.join(families)}"
        size = f", {_short(found.parameters)} parameters" if found.parameters else ""
        same = found.by == "weights"
        yield f"{'it is' if same else 'alike'} {kin}{size}: {found.reason}"
        if not same:
            yield "which of these it was made from, if from any of them, is unknown"
        for card in found.cards:
            licence = f"  licence {card.licence or UNKNOWN}" if same else ""
            yield f"  {card.hub_id}  {card.maker or UNKNOWN}{licence}"
    for name, one in against.items():
        if not one.correlations:
            yield f"its weights cannot be compared with those of {name}: they share no matrices"
        elif one.is_alike:
            yield (
                f"its weights are alike those of {name} (correlation {one.median:.3f}): one was "
                "made from the other, or both from a third"
            )
        else:
            yield (
                f"its weights show no likeness to those of {name} (correlation {one.median:.3f}), "
                "which does not prove that there is none"
            )
    for said in found.says:
        yield f"not proven: {said}"


def use_lines(rows: Iterable[Adoption]) -> Iterator[str]:
    """Figures of use, each with its source."""
    for row in rows:
        yield f"{row.group}, {row.period}: {row.measure}: {row.value:,.10g} {row.unit}"
        yield f"  {row.source}"


def align(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows as lines whose columns stand below one another, whole however long they are: so that a
    name can be copied, and lines filtered."""
    widths = [max(len(clean(cell)) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        yield "  ".join(f"{clean(cell):<{width}}" for cell, width in cells).rstrip()


def parameters(card: Card) -> str:
    """How many values it has, and how many of them each token uses."""
    if card.parameters_total is None:
        return UNKNOWN
    active = f" ({_short(card.parameters_active)} active)" if card.parameters_active else ""
    return _short(card.parameters_total) + active


def tokens(count: int | None) -> str:
    return UNKNOWN if count is None else f"{count:,}"


_MEMBERS = {
    "parameters": ("parameters_total", "parameters_active"),
    "shape": ("architecture", "layers", "hidden", "vocab", "experts"),
    "format": ("shipped_format",),
}
"""The card's members that a line shows, where it is not the one of its name."""


def _basics(card: Card) -> Iterator[tuple[str, str]]:
    shape = [card.architecture.model_type] if card.architecture else []
    for name in ("layers", "hidden", "vocab", "experts"):
        value: int | None = getattr(card, name)
        # A dense model has no experts; whether one without a shape has some is not known.
        if value is not None or name != "experts":
            shape.append(f"{name} {UNKNOWN if value is None else f'{value:,}'}")
    yield "maker", card.maker or UNKNOWN
    yield "country", card.country or UNKNOWN
    yield "family", card.family or UNKNOWN
    yield "released", str(card.released or UNKNOWN)
    if card.status:
        yield "status", card.status
    yield "base", card.base or UNKNOWN
    yield "parameters", parameters(card)
    yield "context", tokens(card.context)
    yield "modalities", ", ".join(card.modalities) or UNKNOWN
    yield "shape", ", ".join(shape)
    if card.shipped_format:
        yield "format", card.shipped_format


def _licence(known: Catalogue, card: Card) -> Iterator[str]:
    licence = known.licence(card)
    yours = known.overrides(card).get("licence")
    mark = f"  (yours, {yours})" if yours else ""
    if licence is None:
        yield _line("licence", f"{UNKNOWN}: nothing says that it may be used{mark}")
    else:
        approved = {True: ", approved by the OSI", False: ", not approved by the OSI", None: ""}
        yield _line("licence", f"{licence.id}{approved[licence.osi_approved]}{mark}")
        yield _line("", f"{licence.name}, {card.licence_url or licence.url or 'address unknown'}")
        yield _line("", f"compared with its text: {licence.verified}")
    duties = (
        f"{duty.kind}: {duty.text}" + (f" [{duty.threshold}]" if duty.threshold else "")
        for duty in known.all_duties(card)
    )
    yield from _section("duties", duties, "paraphrases, not legal advice")
    for base in known.ancestry(card):
        if base.licence != card.licence:
            yield _line("", f"its base {base.hub_id} is under {base.licence or UNKNOWN}")


def _prices(card: Card, prices: Iterable[ListedPrice]) -> Iterator[str]:
    for price in prices:
        own = price in card.prices
        version = price.version or ("the card" if own else UNKNOWN)
        since = f", since {price.since}" if price.since else ""
        yield f"{price.provider} {price.model}: {_asked(price)} USD per million tokens" + (
            f" ({version}{since})"
        )
        for hours in price.hours:
            yield f"  {hours.begin:%H:%M}-{hours.end:%H:%M} UTC: {_asked(hours)}"
        if price.tiers:
            yield f"  {price.tiers}"
    if not prices:
        yield UNKNOWN


def _asked(price: Any) -> str:
    said = (("in", price.input), ("cached", price.cached_input), ("out", price.output))
    return ", ".join(f"{name} {UNKNOWN if one is None else f'{one:g}'}" for name, one in said)


def _scores(scores: Sequence[Score]) -> Iterator[str]:
    if scores:
        yield "(as published; rows of other versions, harnesses or settings do not compare)"
    for score in sorted(scores, key=lambda one: (one.benchmark, one.version or "")):
        unit = score.unit if score.unit == "%" else f" {score.unit}"
        yield (
            f"{score.benchmark} {score.version or '(version unknown)'}: {score.value:g}{unit}, "
            f"harness {score.harness or UNKNOWN}, run by {score.run_by}"
            + "".join(f", {one}" for one in (score.setting, score.samples, score.date) if one)
        )
        yield f"  {_sourced(score.note, score.source)}" + (f" via {score.via}" if score.via else "")


def _products(known: Catalogue, card: Card) -> Iterator[str]:
    for one in known.products_on(card):
        when = f", {one.date}" if one.date else ""
        of = "" if one.hub_id == card.hub_id else f" of {one.hub_id}"
        yield f"{one.name} ({one.maker}): {one.relation}{of}, {one.confidence}{when}"
        yield f"  {_sourced(one.note, one.source)}" + (f" via {one.via}" if one.via else "")


def _rules(known: Catalogue, card: Card) -> Iterator[str]:
    for one in known.rules_on(card):
        rule = one.rule
        yield f"{rule.jurisdiction}: {rule.name} ({rule.status}; {one.because})"
        yield f"  {rule.who}: {rule.restricts}"
        yield f"  {rule.source}"


def _sourced(text: str | None, source: str | None) -> str:
    return " -- ".join(part for part in (text, source) if part)


def _section(name: str, lines: Iterable[str], note: str = "") -> Iterator[str]:
    for number, line in enumerate(lines):
        if number == 0 and note:
            yield _line(name, f"({note})")
        yield _line("" if number or note else name, line)


def _line(name: str, text: str) -> str:
    return f"{name:<{WIDTH}}{text}"


def _short(count: int) -> str:
    for size, letter in _SIZES:
        if count >= size:
            return f"{count / size:.4g}{letter}"
    return f"{count:,}"
