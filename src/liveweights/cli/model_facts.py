"""What a running service says of its models, for people and for programs."""

from __future__ import annotations

import urllib.request
from collections.abc import Sequence
from pathlib import Path

import msgspec

from liveweights.cli.context import refuse
from liveweights.cli.output import say, show_json, show_table
from liveweights.config import Config
from liveweights.release.model_facts import COLUMNS, list_duties, list_model_facts, table_row
from liveweights.serve.api.objects import Model, ModelList
from liveweights.service_key import read_key

PATIENCE = 10.0
"""Seconds."""
# Whatever proxy leads elsewhere: the service is here.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


def fetch_models(config: Config, home: Path) -> Sequence[Model]:
    """What ``GET /v1/models`` of the service in ``home`` says; ends the command where none
    answers."""
    host, port = config.api.host, config.api.port
    url = f"http://{_EVERYWHERE.get(host, host)}:{port}/v1/models"
    headers = {"authorization": f"Bearer {key}"} if (key := read_key(home.resolve())) else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        with _open(request, timeout=PATIENCE) as answer:
            return msgspec.json.decode(answer.read(), type=ModelList).data
    except (OSError, msgspec.MsgspecError) as error:
        raise refuse(
            f"no service of {home} answers at {url}: {error}; start it with `liveweights up`"
        ) from error


def show_models(models: Sequence[Model], as_json: bool) -> None:
    """A row for each, or all that is known as JSON."""
    if as_json:
        show_json(list(models))
        return
    show_table(COLUMNS, map(table_row, models))


def show_model(model: Model, as_json: bool) -> None:
    """All that is known of one."""
    if as_json:
        show_json(model)
        return
    say(model.id)
    facts = list_model_facts(model)
    width = max(len(what) for what, _ in facts)
    for what, value in facts:
        say(f"  {what:<{width}}  {value}")
    for notice in model.notices:
        say(f"  owed: {notice}")
    for warning in model.warnings:
        say(f"  {warning.rule}: {warning.reason}", fg="yellow")
    for duty in list_duties(model):
        say(f"  duty {duty}")
