"""A scorecard for people: Markdown, a page, and the history as a picture."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from liveweights.release.facts import COLUMNS, list_facts
from liveweights.release.scorecard import Scorecard
from liveweights.terminal import clean

MARKDOWN = """\
# {{ card.checkpoint }}

**Improved: {{ card.improved }}.** {{ card.summary }}.

| | |
|---|---|
{% for what, value in facts.about -%}
| {{ what }} | {{ value }} |
{% endfor %}
## For whom, live

{% if facts.live -%}
|{% for column in columns %} {{ column }} |{% endfor %}
|{% for column in columns %}---|{% endfor %}
{% for cells in facts.live -%}
|{% for cell in cells %} {{ cell }} |{% endfor %}
{% endfor %}
{%- else -%}
It has answered no canary traffic.
{% endif %}
## On what evidence

{% for fact in facts.evidence -%}
- {{ fact.text }}{% if fact.broken %}: **broken**{% endif %}
{% endfor %}
## At what cost

{% for fact in facts.cost -%}
- {{ fact.text }}
{% endfor %}
## History

{% for fact in facts.history -%}
- {{ fact.text }}
{% endfor %}"""

MARKUP = re.compile(r"[|`]|(?<=\])[(\[:]|<(?=[A-Za-z/!?])")

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #1b2733; background: #fff; overflow-wrap: break-word }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto }
td a { white-space: nowrap }
th, td { text-align: left; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid #dde3e8;
         vertical-align: top }
.yes { color: #0b6e4f } .no { color: #a4262c } .verdict { font-size: 1.2rem }
svg { max-width: 100%; height: auto }
@media (prefers-color-scheme: dark) { body { color: #dde3e8; background: #14191e }
  th, td { border-color: #33404b } .yes { color: #4cc38a } .no { color: #ff8b8b } }
"""

PAGE = """\
<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ card.checkpoint }}</title>
<style>{{ style | safe }}</style>
<h1>{{ card.checkpoint }}</h1>
<p class="verdict {{ card.improved }}">Improved: <b>{{ card.improved }}</b>. {{ card.summary }}.</p>
<table>
{% for what, value in facts.about -%}
<tr><th>{{ what }}<td>{{ value }}
{% endfor %}
</table>
<h2>For whom, live</h2>
{% if facts.live %}
<table><tr>{% for column in columns %}<th>{{ column }}{% endfor %}
{% for cells in facts.live -%}
<tr>{% for cell in cells %}<td{% if columns[loop.index0] == "improved" %} class="{{ cell }}"\
{% endif %}>{{ cell }}{% endfor %}
{% endfor %}
</table>
{% else %}<p>It has answered no canary traffic.</p>{% endif %}
<h2>On what evidence</h2>
<ul>
{% for fact in facts.evidence -%}
<li{% if fact.broken %} class="no"{% endif %}>{{ fact.text }}
{% endfor %}
</ul>
<h2>At what cost</h2>
<ul>
{% for fact in facts.cost -%}
<li>{{ fact.text }}
{% endfor %}
</ul>
<h2>History</h2>
<ul>
{% for fact in facts.history -%}
<li>{{ fact.text }}
{% endfor %}
</ul>
{{ picture | safe }}
</html>
"""


def to_markdown(card: Scorecard) -> str:
    """The scorecard as one Markdown document."""
    filled = render(MARKDOWN, escape=False, card=card, facts=list_facts(card), columns=COLUMNS)
    return filled.rstrip() + "\n"


def to_html(card: Scorecard, history: Sequence[Scorecard] = ()) -> str:
    """The scorecard as one page that needs nothing else; with the history's picture if given."""
    picture = draw_svg(history) if history else ""
    return render(
        PAGE, escape=True, card=card, facts=list_facts(card), columns=COLUMNS, picture=picture
    )


def draw_svg(history: Sequence[Scorecard]) -> str:
    """The history as an SVG element."""
    buffer = io.StringIO()
    _draw(history, buffer, "svg")
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def draw_history(history: Sequence[Scorecard], path: Path) -> None:
    """Write the history as a picture; the ending of the name (png, svg, pdf) says which kind."""
    _draw(history, path, None)


def _draw(history: Sequence[Scorecard], target: Any, kind: str | None) -> None:
    """Difference to the incumbent on live traffic, and the mean reward, by checkpoint."""
    from matplotlib.figure import Figure

    colours = {"promoted": "#0b7a75", "rolled_back": "#a4262c"}
    figure = Figure(figsize=(1.1 * max(5, len(history)) + 1, 6), constrained_layout=True)
    upper, lower = figure.subplots(2, 1, sharex=True)
    for place, card in enumerate(history):
        if not card.live:
            continue
        everyone = card.live[0]
        colour = colours.get(card.outcome or "", "#5b6b7b")
        if everyone.difference is not None:
            low = everyone.low if everyone.low is not None else math.nan
            high = everyone.high if everyone.high is not None else math.nan
            arms = [[everyone.difference - low], [high - everyone.difference]]
            upper.errorbar(
                [place], [everyone.difference], yerr=arms, fmt="o", color=colour, capsize=3
            )
        for side, marker, tone in (
            (everyone.candidate, "o", colour),
            (everyone.incumbent, "_", "#999999"),
        ):
            if side.reward is not None:
                lower.plot([place], [side.reward], marker, color=tone)
    upper.axhline(0, color="#999999", linewidth=0.8)
    upper.set_ylabel("difference to the incumbent")
    lower.set_ylabel("mean reward (bar: incumbent)")
    names = [f"{c.checkpoint.rpartition('@')[2][:6]}\n{_word(c)}" for c in history]
    lower.set_xticks(range(len(history)), names, fontsize=8)
    upper.set_title("Checkpoints on live traffic, with 95% intervals", fontsize=10)
    figure.savefig(target, format=kind)


def _word(card: Scorecard) -> str:
    """What became of it, as short as a tick's name has to be."""
    return "taken back" if card.withdrawn else card.outcome or "live"


def render(template: str, *, escape: bool, **values: object) -> str:
    """Fill a template in; ``style`` is the pages' own. Without ``escape`` it is Markdown."""
    environment = jinja2.Environment(
        autoescape=escape,
        undefined=jinja2.StrictUndefined,
        finalize=None if escape else _in_markdown,
    )
    return environment.from_string(template).render(style=STYLE, **values)


def _in_markdown(value: object) -> object:
    """What is filled in makes no cell, code, link or tag of its own."""
    return MARKUP.sub(r"\\\g<0>", clean(value)) if isinstance(value, str) else value
