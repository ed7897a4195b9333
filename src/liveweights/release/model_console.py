"""The operator's pages of models: all in a table, and one for each.

``GET /models`` and ``GET /models/NAME``.
"""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from liveweights.http.authentication import Authenticator
from liveweights.http.routes import Mount, Route, Routes
from liveweights.http.wire import reply
from liveweights.release.console import GUARDED, HTML
from liveweights.release.model_facts import COLUMNS, list_duties, list_model_facts, table_row
from liveweights.release.page import render
from liveweights.serve.api.models import Listing

PREFIX = "/models"

OVERVIEW = """\
<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Models</title>
<style>{{ style | safe }}</style>
<h1>Models</h1>
<table><tr>{% for column in columns %}<th>{{ column }}{% endfor %}
{% for cells in rows -%}
<tr>{% for cell in cells %}<td>{% if loop.first %}\
<a href="/models/{{ cell | urlencode }}">{{ cell }}</a>{% else %}{{ cell }}{% endif %}{% endfor %}
{% endfor %}
</table>
</html>
"""

PAGE = """\
<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ model.id }}</title>
<style>{{ style | safe }}</style>
<nav><a href="/models">Models</a>
{% if model.owned_by != "hosted" %}<a href="/releases?model={{ model.id | urlencode }}">Releases</a>
{% endif %}</nav>
<h1>{{ model.id }}</h1>
{% for notice in model.notices -%}
<p class="verdict">{{ notice }}
{% endfor %}
{% for warning in model.warnings -%}
<p class="no">{{ warning.rule }}: {{ warning.reason }}
{% endfor %}
<table>
{% for what, value in facts -%}
<tr><th>{{ what }}<td>{{ value }}
{% endfor %}
</table>
<h2>What its licence asks for</h2>
{% if duties %}
<ul>
{% for duty in duties -%}
<li>{{ duty }}
{% endfor %}
</ul>
<p>Paraphrased; not legal advice.
{% elif model.licence %}<p>Nothing that is known.
{% else %}<p>Its licence is not known.
{% endif %}
</html>
"""


class ModelConsole:
    """Each page raises ApiError 401 without the operator's key."""

    def __init__(self, listing: Listing, authenticator: Authenticator) -> None:
        self._listing = listing
        self._authenticator = authenticator

    async def overview(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /models"""
        await self._authenticator.check_operator(scope)
        rows = [table_row(model) for model in self._listing.read()]
        page = render(OVERVIEW, escape=True, columns=COLUMNS, rows=rows)
        await reply(send, 200, page.encode(), GUARDED, content_type=HTML)

    async def model(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /models/NAME. Raises ApiError 404."""
        await self._authenticator.check_operator(scope)
        model = self._listing.find(scope["path_params"]["model"])
        page = render(
            PAGE,
            escape=True,
            model=model,
            facts=list_model_facts(model),
            duties=list_duties(model),
        )
        await reply(send, 200, page.encode(), GUARDED, content_type=HTML)


def model_routes(listing: Listing, authenticator: Authenticator) -> Routes:
    """The pages; none where there is no operator's key."""
    if not authenticator.has_operator:
        return []
    console = ModelConsole(listing, authenticator)
    return [
        Mount(PREFIX, [Route("GET", "", console.overview), Route("GET", "/{model}", console.model)])
    ]
