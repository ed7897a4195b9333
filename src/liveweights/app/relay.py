"""Who may call without a key: whoever is on this machine, or whoever was meant."""

from __future__ import annotations

from collections.abc import Iterator

from liveweights.config import Config
from liveweights.http.hosts import is_loopback
from liveweights.meter.keys import NOBODY
from liveweights.model_table import ConfigError
from liveweights.serve.gateway.settings import UPSTREAM_KEY


def check_relay(config: Config) -> None:
    """Raises ConfigError where whoever reaches the port would be answered, from another machine or
    at the expense of a secret of the operator's (an open relay), and nobody said that this is
    meant."""
    secret = _secret(config)
    api = config.api
    here = is_loopback(api.host)
    if api.asks_for_keys or (api.open and (here or not secret)) or (here and not secret):
        return
    if not secret:
        raise ConfigError(
            f"api.host is {api.host!r} and api.keys is not set: whoever reaches port {api.port} "
            "from another machine would use the service. Give callers keys "
            '(`[api] keys = { "KEY" = "tenant" }`, or `require_keys = true` and `liveweights keys '
            "create`); for this machine alone, leave host out; where "
            "everybody is meant, as behind a proxy that asks for keys, set `[api] open = true`."
        )
    passed_on = (
        f"leave {secret} out, and each caller's own Authorization header is passed on; "
        if config.gateway.upstream
        else ""
    )
    meant = (
        f"`[api] open = true` holds on a loopback address only, and {api.host!r} is none"
        if api.open
        else "for yourself alone, set `[api] open = true`, with a loopback address as `host`"
    )
    raise ConfigError(
        f"{secret} is set and api.keys is not: whoever reaches {api.host}:{api.port} would use "
        f"the server behind it with your key. Give callers keys of their own "
        f'(`[api] keys = {{ "KEY" = "tenant" }}`); {passed_on}{meant}.'
    )


def _secret(config: Config) -> str:
    """Where the secret is set, or named, that callers would be served with; empty for none."""
    gateway = config.gateway
    if gateway.upstream:
        if gateway.key:
            return "gateway.key"
        return f"${UPSTREAM_KEY}" if gateway.upstream_key() else ""
    return next(_list_secrets(config), "")


def _list_secrets(config: Config) -> Iterator[str]:
    for hosted in config.list_hosted():
        if hosted.key_env:
            yield f"models.{hosted.alias}.key_env"
    for model in config.list_models():
        kind = model.engine.kind
        sections = {"openai": (model.openai, config.openai), "vllm": (model.vllm, config.vllm)}
        if kind in sections:
            own, shared = sections[kind]
            if own.key:
                yield f"{kind}.key" if own.key == shared.key else f"models.{model.alias}.{kind}.key"
    for label, server in config.agent.servers.items():
        if server.key_env and (not server.tenants or NOBODY in server.tenants):
            yield f"agent.servers.{label}.key_env"
