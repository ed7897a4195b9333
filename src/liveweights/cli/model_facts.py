"""What a running service says of its models, for people and for programs."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import msgspec

from liveweights.cli.context import find_url
from liveweights.cli.output import say
from liveweights.config import Config
from liveweights.release.model_facts import list_duties, list_model_facts
from liveweights.serve.api.objects import Model, ModelList
from liveweights.service_key import read_key

PATIENCE = 10.0
"""Seconds."""
# Whatever proxy leads elsewhere: the service is here.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class NoService(RuntimeError):
    """No service answers; the message says where it was looked for."""


def fetch_models(config: Config, home: Path) -> dict[str, Model]:
    """What ``GET /v1/models`` of the service in ``home`` says, by public name. Raises NoService."""
    url = f"{find_url('', config, home)}/v1/models"
    headers = {"authorization": f"Bearer {key}"} if (key := read_key(home.resolve())) else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        with _open(request, timeout=PATIENCE) as answer:
            models = msgspec.json.decode(answer.read(), type=ModelList).data
    except (OSError, msgspec.MsgspecError) as error:
        raise NoService(
            f"no service of {home} answers at {url}: {error}; start it with `liveweights up`"
        ) from error
    return {model.id: model for model in models}


def show_facts(model: Model) -> None:
    """All that is known of one."""
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
