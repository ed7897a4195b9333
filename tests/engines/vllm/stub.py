"""What the vLLM engine needs of a vLLM server, by heart, to be started and killed at will."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

END = 1


def routed(ids: Sequence[int], layers: int = 3) -> NDArray[np.uint8]:
    """Two experts of eight in each layer for each token [tokens, layers, 2]."""
    rows = [[[(id + layer) % 8, (id + layer + 1) % 8] for layer in range(layers)] for id in ids]
    return np.array(rows, np.uint8)


def encode(array: NDArray[Any]) -> str:
    """As vLLM does (``numpy2base64``)."""
    with io.BytesIO() as file:
        np.save(file, array, allow_pickle=False)
        return base64.b64encode(file.getvalue()).decode()


@dataclass
class VllmStub:
    """Answers every prompt with the ids that follow its last one: 10, 11, 12, ...

    ``adapters`` is lost by ``stop``, as a process loses its memory. ``break_after`` cuts an
    answer's connection after so many tokens. With ``experts`` it is a mixture that was started
    with ``--enable-return-routed-experts``: see ``routed``; it forgets the ``missing`` last rows.
    """

    context: int = 512
    port: int = 0
    adapters: dict[str, str] = field(default_factory=dict)
    refuse: str = ""
    break_after: int | None = None
    pause: float = 0.0
    experts: bool = False
    missing: int = 0
    layers: int = 3
    may_load: asyncio.Event | None = None
    """Adapters are loaded once it is set."""
    asked_to_load: list[str] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> VllmStub:
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/load_lora_adapter", self._load)
        app.router.add_post("/v1/unload_lora_adapter", self._unload)
        app.router.add_post("/inference/v1/generate", self._generate)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        assert self._runner is not None
        self.adapters.clear()
        await self._runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _models(self, request: web.Request) -> web.Response:
        cards = [{"id": "served", "parent": None, "max_model_len": self.context}]
        cards += [{"id": name, "parent": "served"} for name in self.adapters]
        return web.json_response({"object": "list", "data": cards})

    async def _load(self, request: web.Request) -> web.Response:
        body = await request.json()
        name = body["lora_name"]
        self.asked_to_load.append(name)
        if self.may_load is not None:
            await self.may_load.wait()
        if self.refuse:
            return web.json_response({"error": {"message": self.refuse}}, status=400)
        assert name not in self.adapters, "loaded a second time under the same name"
        self.adapters[name] = body["lora_path"]
        self.loads.append(name)
        return web.Response(text="Success")

    async def _unload(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        return web.Response(status=200 if self.adapters.pop(name, None) else 404)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["model"] != "served" and body["model"] not in self.adapters:
            return web.json_response({"error": {"message": "no such model"}}, status=404)
        self.asked.append(body)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        last = body["token_ids"][-1]
        count = body["sampling_params"]["max_tokens"]
        for place in range(count):
            if place == self.break_after:
                assert request.transport is not None
                request.transport.abort()
                break
            id = last + 1 + place
            top = [{"token_id": id, "logprob": -0.5}, {"token_id": 5, "logprob": -0.9}]
            scored = {"token_id": id, "logprob": -0.5, "top_logprobs": top}
            reason = "length" if place == count - 1 else None
            choice: dict[str, Any] = {"index": 0, "finish_reason": reason, "routed_experts": None}
            choice["logprobs"] = {"content": [scored]}
            if self.experts and reason:
                start = body["sampling_params"].get("routed_experts_prompt_start", 0)
                fed = [*body["token_ids"], *range(last + 1, id)]
                experts = routed(fed[start : len(fed) - self.missing], self.layers)
                choice["routed_experts"] = encode(experts)
            await response.write(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")
            await asyncio.sleep(self.pause)
        await response.write(b"data: [DONE]\n\n")
        return response
