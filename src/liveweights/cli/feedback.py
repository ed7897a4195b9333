"""``liveweights feedback``: one reaction from the command line."""

from __future__ import annotations

import asyncio
import uuid
from typing import Annotated

import aiohttp
import typer

from liveweights.cli.context import HOME, Home, Settings, Url, find_url, read_config, refuse
from liveweights.cli.output import say


def feedback(
    generation: Annotated[str, typer.Argument(help="Id of the answer, gen_...")],
    signal: Annotated[str, typer.Argument(help="accepted, rejected, edited, thumbs, ...")],
    value: Annotated[
        float | None, typer.Option(min=-1, max=1, help="For thumbs and reward, -1 to 1.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="For edited, comment, correction.")] = None,
    url: Url = "",
    key: Annotated[str, typer.Option(envvar="OPENAI_API_KEY", help="API key.")] = "",
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Send one reaction to a running service."""
    url = find_url(url, read_config(config, home), home)
    body = {"generation": generation, "signal": signal, "id": uuid.uuid4().hex}
    body |= {k: v for k, v in {"value": value, "text": text}.items() if v is not None}
    headers = {"authorization": f"Bearer {key}"} if key else {}

    async def send() -> tuple[int, str]:
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{url}/v1/feedback", json=body) as response,
        ):
            return response.status, await response.text()

    try:
        code, answer = asyncio.run(send())
    except aiohttp.ClientError as error:
        raise refuse(f"{url} cannot be reached: {error}") from error
    if code >= 300:
        raise refuse(answer)
    say(answer)
