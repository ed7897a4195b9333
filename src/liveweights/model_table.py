"""What the settings say of one model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from liveweights import bounds
from liveweights.catalog.template import TemplateSettings
from liveweights.engines.settings import EngineSettings, OpenAISettings, VllmSettings
from liveweights.gate.settings import GateSettings
from liveweights.learn.rewards import RewardMap
from liveweights.learn.settings import LearnSettings
from liveweights.meter.budgets import Budget, Period
from liveweights.meter.money import NANOS
from liveweights.serve.hosted.dialect import Quirk
from liveweights.serve.hosted.settings import HostedSettings
from liveweights.terms.needs import Ability
from liveweights.weights.download import NAME

T = TypeVar("T", bound=msgspec.Struct)


class ConfigError(ValueError):
    """The settings file is not understood; the message names the file and the key."""


Table = dict[str, Any]
Base = Annotated[
    str,
    Meta(
        description="Packaged model's name, a checkpoint folder, a GGUF file (of a split one the "
        "first), or `hf://ORG/NAME@COMMIT`; without a commit that of the first download stays."
    ),
]
Amount = Annotated[float, Meta(gt=0, le=bounds.WEIGHT)]
PublicName = Annotated[str, Meta(min_length=1, max_length=128)]
Gib = Annotated[float, Meta(gt=0, le=2**20)]
MEMORY = "memory_gib"
"""The one key of ``[models]`` that is no model's name."""


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs to one model: its public name, what it began with, how it is run, whether it
    learns, and how; ``learn_from`` is the hosted model whose answers it learns from, too, empty for
    none. ``fallback`` are the models that are asked in its place, ``visible`` is whether it is
    listed."""

    alias: str
    base: str
    learns: bool
    learn_from: str
    engine: EngineSettings
    vllm: VllmSettings
    openai: OpenAISettings
    template: TemplateSettings
    learn: LearnSettings
    rewards: RewardMap
    gate: GateSettings
    pinned: bool = False
    fallback: tuple[str, ...] = ()
    visible: bool = True

    def runs_like(self, other: ModelSettings) -> bool:
        """Whether what runs for one can go on to run for the other."""
        parts = ("alias", "base", "engine", "vllm", "openai", "template", "pinned")
        return all(getattr(self, part) == getattr(other, part) for part in parts)


def _own(section: str) -> str:
    return f"What is other than in the service's `[{section}]`."


def _table() -> Any:
    return msgspec.field(default_factory=dict[str, Any])


class ModelTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[models.NAME]`` table: what one model has of its own. With ``upstream`` it is a hosted
    one, to which only the keys below that apply; the last three are of both kinds."""

    base: Base = NAME
    learn: Annotated[
        bool | Table,
        Meta(
            description="Whether cycles of it begin; or a table: what is other than in `[learn]`."
        ),
    ] = True
    learn_from: Annotated[
        str,
        Meta(
            description="A hosted model of this service: what it answered and users took teaches "
            "this one, too, where the terms allow it. Empty: none."
        ),
    ] = ""
    engine: Annotated[Table, Meta(description=_own("engine"))] = _table()
    vllm: Annotated[Table, Meta(description=_own("vllm"))] = _table()
    openai: Annotated[Table, Meta(description=_own("openai"))] = _table()
    template: Annotated[Table, Meta(description=_own("template"))] = _table()
    rewards: Annotated[Table, Meta(description=_own("rewards"))] = _table()
    gate: Annotated[Table, Meta(description=_own("gate"))] = _table()
    pinned: Annotated[
        bool,
        Meta(description="Whether it stays loaded, where `models.memory_gib` bounds what does."),
    ] = False
    upstream: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^\s@?#]+)?$",
            description="URL of an OpenAI-compatible server that runs the model, with or without "
            "/v1. Given, none of the keys above can be.",
        ),
    ] = ""
    upstream_model: Annotated[
        str, Meta(description="The model's name at the upstream; empty: the table's name.")
    ] = ""
    key_env: Annotated[
        str,
        Meta(
            pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$",
            description="Environment variable that holds the API key for the upstream; empty: "
            "none is sent.",
        ),
    ] = ""
    timeout: Annotated[
        float,
        Meta(
            gt=0,
            le=bounds.SECONDS,
            description="Seconds that the upstream may take to the first byte of a streamed "
            "answer.",
        ),
    ] = 60.0
    answer_timeout: Annotated[
        float,
        Meta(
            gt=0,
            le=bounds.SECONDS,
            description="Seconds that it may take for an answer that is not streamed: all of it "
            "is computed before its first byte comes.",
        ),
    ] = 300.0
    quirks: Annotated[
        list[Quirk],
        Meta(description="What the upstream does otherwise than OpenAI; see docs/models.md."),
    ] = msgspec.field(default_factory=list[Quirk])
    budget: Annotated[
        dict[Period, Amount],
        Meta(
            description="What all its answers together may cost in a `day`, `week`, `month` (UTC) "
            "or in `all`, by what its upstream asks, else by its price, in the currency of that; "
            "once it is spent its fallback answers, else nobody (429)."
        ),
    ] = msgspec.field(default_factory=dict[Period, float])
    capabilities: Annotated[
        list[Ability] | None,
        Meta(
            description="All that a hosted model is able to, for requests to `auto`, as "
            "`/v1/models` shows it; not set: images by its card, all else is not known."
        ),
    ] = None
    fallback: Annotated[
        list[str],
        Meta(
            description="Models of this service that are asked one after the other where this one "
            "cannot answer, may not by the terms, or has spent its budget: an upstream that is "
            "away, answers 429 or 5xx, or takes too long; a local model that cannot be loaded."
        ),
    ] = msgspec.field(default_factory=list[str])
    visible: Annotated[
        bool,
        Meta(
            description="Whether it is listed and `auto` may choose it. If not, it still answers "
            "those who name it, and in place of others."
        ),
    ] = True
    context: Annotated[
        Annotated[int, Meta(ge=64, le=2**24)] | None,
        Meta(
            description="Tokens of prompt and answer together: of a local model short for "
            "`engine.context_length`, of a hosted one what it takes; not set: by its card."
        ),
    ] = None

    def misplaced(self) -> list[str]:
        """Keys that are given and belong to the other kind of model."""
        hosted = ("upstream_model", "key_env", "timeout", "answer_timeout", "quirks", "budget",
                  "capabilities")  # fmt: skip
        both = ("upstream", "fallback", "visible", "context")
        fields = msgspec.structs.fields(self)
        local = [field.name for field in fields if field.name not in (*both, *hosted)]
        empty = ModelTable()
        wrong = local if self.upstream else hosted
        return [name for name in wrong if getattr(self, name) != getattr(empty, name)]

    def to_hosted(self, name: str) -> HostedSettings:
        """Of a model that an upstream runs."""
        return HostedSettings(
            alias=name,
            upstream=self.upstream,
            model=self.upstream_model or name,
            key_env=self.key_env,
            timeout=self.timeout,
            answer_timeout=self.answer_timeout,
            fallback=tuple(self.fallback),
            capabilities=None if self.capabilities is None else tuple(self.capabilities),
            quirks=tuple(self.quirks),
            budgets=tuple(
                Budget(period=period, nanos=round(amount * NANOS))
                for period, amount in self.budget.items()
            ),
            visible=self.visible,
            context=self.context,
        )


def override(section: T, table: Table, where: str) -> T:
    """The section with what ``table`` says. Raises ConfigError."""
    if not table:
        return section
    try:
        return msgspec.convert({**msgspec.to_builtins(section), **table}, type(section))
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}") from error


def read_table(name: str, keys: Mapping[str, Any]) -> ModelTable:
    """The keys of one model, as a settings file would say them. Raises ConfigError, also where
    they hold a secret."""
    for section in ("vllm", "openai"):
        table = keys.get(section)
        if isinstance(table, dict) and "key" in table:
            raise ConfigError(
                f"models.{name}.{section}.key: the database keeps no secrets; say it in the "
                f"settings file, in [{section}]"
            )
    try:
        if name == MEMORY:
            raise msgspec.ValidationError("it is the name of a number of `[models]`")
        return msgspec.convert({name: keys}, dict[PublicName, ModelTable])[name]
    except msgspec.ValidationError as error:
        told = str(error).replace("`$[...]", f"`models.{name}").replace(" - at `key` in `$`", "")
        raise ConfigError(f"the model {name!r}: {told}") from error
