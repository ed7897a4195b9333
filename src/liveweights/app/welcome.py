"""What a service says of itself when it answers: where, a first request, and the next step."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from liveweights.access.links import link_of
from liveweights.config import Config

DEFAULT_HOME = Path("runs/home")
PROMPT = "def area(width, height):\n    return"
JSON = "-H 'content-type: application/json'"


def welcome(
    config: Config, home: Path, url: str, roles: Sequence[str], *, invitation: str | None = None
) -> str:
    """Lines for the terminal; each command in them can be copied as it is. ``invitation`` is the
    token of one for the console's first admin."""
    names = [model.alias for model in (*config.list_models(), *config.list_hosted())]
    place = "" if home == DEFAULT_HOME.resolve() else f" --home {shlex.quote(str(home))}"
    key = ' -H "authorization: Bearer $KEY"' if config.api.asks_for_keys else ""
    gateway = bool(config.gateway.upstream)
    lines = [
        f"answering at {url}/v1"
        + (f" for {config.gateway.upstream}" if gateway else f" as {', '.join(names)}"),
        "",
        "a first request:",
        f"  {_request(url, key, names, gateway)}",
        "what became of the answer, by its id:",
        f"  curl {url}/v1/feedback {JSON}{key} \\",
        """    -d '{"generation": "gen_...", "signal": "accepted"}'""",
    ]
    if gateway:
        lines.append("it is recorded: `liveweights sql -c views` says where to look")
    elif "worker" in roles:
        lines.append(f"what is live, and what the next cycle waits for: liveweights status{place}")
    else:
        lines.append("it serves and records; `liveweights up` learns as well")
    if not gateway and "api" in roles:
        lines.append(_console(config, url, invitation))
    return "\n".join(lines)


def _console(config: Config, url: str, invitation: str | None) -> str:
    api = config.api
    if api.operator_key:
        return f"in a browser: {url}/ (any user name; the password is [api] operator_key)"
    if invitation is None:
        return f"in a browser: {url}/ (for users of the console: `liveweights users`)"
    known = api.asks_for_keys or api.open
    looking = "" if known else " (who is on this machine may look)"
    link = link_of(url, invitation)
    return f"in a browser: {url}/{looking}\nto change things there, be its admin, once: {link}"


def _request(url: str, key: str, names: Sequence[str], gateway: bool) -> str:
    if gateway:
        body = {"model": "NAME", "messages": [{"role": "user", "content": "Hello"}]}
        return f"curl -i {url}/v1/chat/completions {JSON}{key} \\\n    -d '{json.dumps(body)}'"
    body = {"model": names[0], "prompt": PROMPT, "max_tokens": 24}
    return f"curl {url}/v1/completions {JSON}{key} \\\n    -d '{json.dumps(body)}'"
