"""What a service says of itself when it answers: where, a first request, and the next step."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from liveweights.config import Config

DEFAULT_HOME = Path("runs/home")
PROMPT = "def area(width, height):\n    return"
JSON = "-H 'content-type: application/json'"


def welcome(config: Config, home: Path, url: str, roles: Sequence[str]) -> str:
    """Lines for the terminal; each command in them can be copied as it is."""
    names = [model.alias for model in (*config.list_models(), *config.list_hosted())]
    place = "" if home == DEFAULT_HOME.resolve() else f" --home {shlex.quote(str(home))}"
    key = ' -H "authorization: Bearer $KEY"' if config.api.keys else ""
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
    if config.api.operator_key and not gateway:
        lines.append(f"in a browser: {url}/ (any user name; the password is [api] operator_key)")
    return "\n".join(lines)


def _request(url: str, key: str, names: Sequence[str], gateway: bool) -> str:
    if gateway:
        body = {"model": "NAME", "messages": [{"role": "user", "content": "Hello"}]}
        return f"curl -i {url}/v1/chat/completions {JSON}{key} \\\n    -d '{json.dumps(body)}'"
    body = {"model": names[0], "prompt": PROMPT, "max_tokens": 24}
    return f"curl {url}/v1/completions {JSON}{key} \\\n    -d '{json.dumps(body)}'"
