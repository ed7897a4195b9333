"""A chat template that harms, behind the API: one request fails, with a sentence."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from liveweights.catalog.template import ChatTemplate, TemplateSettings
from liveweights.serve.api.app import create_app
from liveweights.serve.api.turns import Renderer
from liveweights.serve.models import Models, make_model
from liveweights.serve.router import Router

from .doubles import BASE, MemoryRecorder, ScriptedEngine, make_tokenizer
from .servers import answering, make_server

LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
CASES = {
    "loop": (LOOP, "computes for more than 1 s"),
    "output": ("{{ 'x' * (n * 100000000) }}", "makes 100,000,000 characters"),
    "divide": ("{{ n // 0 }}", "ZeroDivisionError"),
    "power": ("{{ (9.0 + n) ** 400 }}", "OverflowError"),
    "macro": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "calls itself"),
    "undefined": ("{{ a.b.c }}", "'a' is undefined"),
}
TEMPLATE = (
    "{% set n = messages|length %}{% if false %}"
    + "".join(f"{{% elif messages[0].content == '{k}' %}}{v}" for k, (v, _) in CASES.items())
    + "{% else %}<|im_start|>{{ messages[0].content }}{% endif %}"
)


def body(text: str) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": text}]}


def app_over(template: Renderer, tokenizer: Any) -> Any:
    router = Router()
    router.set("tiny", BASE)
    engine = ScriptedEngine(tokenizer)
    return create_app(
        Models(make_model(engine, router, tokenizer, template=template)), MemoryRecorder()
    )


def test_each_of_them_is_a_400_while_others_are_answered() -> None:
    tokenizer = make_tokenizer(template=TEMPLATE)

    async def run() -> None:
        template = ChatTemplate(tokenizer, TemplateSettings(seconds=1))
        await template.start()
        try:
            server = make_server(app_over(template, tokenizer))
            async with answering(server) as url, httpx.AsyncClient(timeout=120) as client:
                root = url.removesuffix("/v1")
                for text, (_, why) in CASES.items():
                    bad = asyncio.create_task(
                        client.post(f"{url}/chat/completions", json=body(text))
                    )
                    await asyncio.sleep(0.05)
                    assert (await client.get(f"{root}/healthz")).status_code == 200
                    good = await client.post(f"{url}/chat/completions", json=body("hi"))
                    assert good.status_code == 200, good.text
                    refused = await bad
                    error = refused.json()["error"]
                    assert (refused.status_code, error["param"]) == (400, "messages")
                    assert error["message"].startswith("The model's chat template fails at")
                    assert why in error["message"]
                # The event loop was nobody's: not even while a template counted.
                bad = asyncio.create_task(client.post(f"{url}/chat/completions", json=body("loop")))
                await asyncio.sleep(0.1)
                assert (await client.get(f"{root}/healthz")).status_code == 200
                assert not bad.done()
                await bad
        finally:
            await template.close()

    asyncio.run(run())


@pytest.mark.parametrize("empty", [True, False])
def test_many_messages_without_content_are_a_long_conversation(empty: bool) -> None:
    """They are put into turns beside the event loop, too."""
    from liveweights.serve.api.messages import Message, length
    from liveweights.serve.api.tokenization import INLINE_CHARACTERS

    messages = [Message("user", "" if empty else "x") for _ in range(70_000)]
    assert length(messages) > INLINE_CHARACTERS
    assert length(messages[:3]) < INLINE_CHARACTERS
