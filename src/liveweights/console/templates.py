"""Pages as HTML."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any, cast

import jinja2
from markupsafe import Markup

from liveweights.console.assets import address_of
from liveweights.console.navigation import list_groups
from liveweights.console.page import write_id
from liveweights.exposure.revenue import tell, tell_shares
from liveweights.meter.money import show_minor, show_money

LONG, SHORT = 20_000, 1_400
"""Bytes of a text that a page shows, where it has few of them and where it has many: a page stays
below 100 KB. Its JSON has all."""
ESCAPED = {"&": 5, "<": 4, ">": 4, '"': 5, "'": 5}
"""Bytes of what stands for a character."""


def render(template: str, **values: Any) -> str:
    """Fill a template in; everything in it is escaped."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("liveweights.console"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    cast(dict[str, Any], environment.filters).update(
        count=count,
        duration=duration,
        fit=fit,
        moment=moment,
        money=show_money,
        minor=show_minor,
        number=number,
        amounts=tell,
        percent=percent,
        shares=tell_shares,
        size=size,
        words=words,
        write_id=write_id,
    )
    cast(dict[str, Any], environment.globals).update(
        asset=address_of, list_groups=list_groups, LONG=LONG, SHORT=SHORT
    )
    return environment


def moment(at: datetime | None) -> Markup:
    """A time in UTC; the page's script shows it in the viewer's zone, with UTC on hover."""
    if at is None:
        return Markup("–")
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}" title="{} UTC">{} UTC</time>').format(
        f"{utc:%Y-%m-%dT%H:%M:%SZ}", f"{utc:%Y-%m-%d %H:%M:%S}", f"{utc:%Y-%m-%d %H:%M}"
    )


def number(value: float | None) -> str:
    """To three digits; a dash for None."""
    return "–" if value is None else f"{value:.3g}"


def percent(share: float | None) -> str:
    """A share of one; a dash for None."""
    return "–" if share is None else f"{100 * share:.3g}%"


def count(value: int | None) -> str:
    """With thin spaces between thousands; a dash for None."""
    return "–" if value is None else f"{value:,}".replace(",", "\u202f")


def duration(milliseconds: float) -> str:
    """Of an answer, in the unit that people say."""
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def fit(written: str, most: int) -> str:
    """The beginning of a text that has at most so many bytes on a page (UTF-8, escaped)."""
    size = 0
    for place, char in enumerate(written[: most + 1]):
        size += ESCAPED.get(char) or len(char.encode())
        if size > most:
            return written[:place]
    return written


def size(count: int) -> str:
    """Bytes, in the unit that people say."""
    return f"{count / 2**20:.1f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"


def words(name: str | None) -> str:
    """A name as words; a dash for None."""
    return "–" if name is None else name.replace("_", " ")
