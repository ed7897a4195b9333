"""Settings of the engines."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from liveweights import bounds
from liveweights.machine import compute_cores


class VllmSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[vllm]`` table."""

    servers: Annotated[
        list[str],
        Meta(
            description="URLs of vLLM servers that run already (docs/engines.md says with which "
            "options); empty: start `replicas` of our own."
        ),
    ] = []
    key: Annotated[str, Meta(description="API key of those servers.")] = ""
    replicas: Annotated[int, Meta(ge=1, le=64, description="Servers to start.")] = 1
    python: Annotated[
        str,
        Meta(
            description="Python of the environment that vLLM is installed in; empty: "
            ".venv-vllm/bin/python where there is one, else `python`."
        ),
    ] = ""
    arguments: Annotated[
        list[str], Meta(description="Further options of the servers that are started.")
    ] = []
    adapters: Annotated[
        int,
        Meta(ge=1, le=1024, description="Adapters that one batch may mix; at least those in use."),
    ] = 4
    lora_rank: Annotated[
        Literal[8, 16, 32, 64, 128, 256], Meta(description="Highest rank of an adapter.")
    ] = 16
    kv_cache_gib: Annotated[
        int,
        Meta(ge=1, le=2**20, description="Memory of a server's key-value cache on a CPU, in GiB."),
    ] = 2


class OpenAISettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[openai]`` table."""

    server: Annotated[
        str, Meta(description="URL of the server, with or without /v1, e.g. of SGLang.")
    ] = "http://127.0.0.1:30000"
    model: Annotated[
        str, Meta(description="The model's name there; empty: the first of its /v1/models.")
    ] = ""
    key: Annotated[str, Meta(description="API key of the server.")] = ""
    prompt: Annotated[
        Literal["ids", "text"],
        Meta(
            description="How prompts are sent. ids: exactly the tokens that are recorded; SGLang, "
            "vLLM and llama.cpp take them. text: for servers that take nothing else."
        ),
    ] = "ids"


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[engine]`` table."""

    kind: Annotated[
        Literal["llama", "openvino", "torch", "ternary", "vllm", "openai"],
        Meta(
            description="llama: llama.cpp, fast on a CPU, Llama and Qwen dense models with "
            "byte-level tokenizers, and GGUF files. openvino: OpenVINO, fastest on a CPU with AMX, "
            "needs liveweights[openvino]. torch: Transformers, any architecture. ternary: like "
            "torch, for weights of -1, 0 and 1 that `liveweights ternary` made, needs "
            "liveweights[ternary]. vllm: one or more vLLM servers, see [vllm]. openai: any "
            "OpenAI-compatible server, which serves one fixed checkpoint, see [openai]."
        ),
    ] = "llama"
    precision: Annotated[
        Literal["auto", "q8_0", "q4_0", "f16", "f32"],
        Meta(
            description="Precision of the weights that the llama engine serves. auto: the fastest "
            "that loses at most max_loss, measured once per model."
        ),
    ] = "q8_0"
    max_loss: Annotated[
        float,
        Meta(
            gt=0,
            le=bounds.WEIGHT,
            description="What precision auto may cost: nats per token by which the next token's "
            "distribution may move from that of the 16-bit weights.",
        ),
    ] = 0.01
    context_length: Annotated[
        int,
        Meta(
            ge=0,
            le=2**24,
            description="Tokens of prompt and answer together, per request. 0: what the model was "
            "made for, or less where memory does not hold that many of all requests at once; the "
            "log says which at the start.",
        ),
    ] = 0
    slots: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description="Requests that one checkpoint answers at once; each slot keeps the last "
            "prompt that it saw, so that a request which repeats it starts at once. Further "
            "requests wait for a slot.",
        ),
    ] = 4
    threads: Annotated[
        int,
        Meta(
            ge=0,
            le=1024,
            description="CPU threads that compute tokens. 0: one per core. An update takes what "
            "they leave: it runs at lower priority.",
        ),
    ] = 0
    candidates: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description="The llama engine samples from this many most likely tokens when a "
            "request gives no top_k, and from at most 64 otherwise. This is what makes the "
            "recorded probabilities exact: all candidates come back with each token.",
        ),
    ] = 40
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Meta(
            description="Precision of the weights that the torch and openvino engines serve. "
            "auto: float32, but bfloat16 of the openvino engine on a CPU that has it."
        ),
    ] = "auto"
    device: Annotated[
        str, Meta(description="Where the torch engine computes: cpu, cuda, cuda:1, mps.")
    ] = "cpu"
    guesses: Annotated[
        int,
        Meta(
            ge=0,
            le=64,
            description="Tokens that the torch and openvino engines may guess per step of an "
            "answer that is computed alone, where it repeats itself or its prompt; 0 for none. It "
            "changes what a step costs, never what is sampled.",
        ),
    ] = 8
    cache_mib: Annotated[
        int,
        Meta(
            ge=0,
            le=bounds.MIB,
            description="Memory for prompts that lost their slot, in MiB: per checkpoint of the "
            "llama and openvino engines, of all checkpoints together of the torch engine.",
        ),
    ] = 512

    def __post_init__(self) -> None:
        if 0 < self.context_length < 64:
            raise ValueError(f"context_length is {self.context_length}: say 0 or at least 64")

    def cores(self) -> int:
        """``threads``, with 0 replaced by the cores that compute."""
        return self.threads or compute_cores()
