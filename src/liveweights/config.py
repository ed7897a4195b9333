"""The one settings file: typed, with a default for everything."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from liveweights import bounds
from liveweights.access.oidc_settings import OidcSettings
from liveweights.agent.settings import AgentSettings
from liveweights.agentdb.settings import DatabaseSettings
from liveweights.bom.settings import BomSettings
from liveweights.catalog.template import TemplateSettings
from liveweights.cycle.settings import CycleSettings, WorkerSettings
from liveweights.engines.settings import EngineSettings, OpenAISettings, VllmSettings
from liveweights.gate.settings import GateSettings
from liveweights.learn.rewards import RewardMap
from liveweights.learn.settings import LearnSettings
from liveweights.meter.budgets import Budget, Period
from liveweights.meter.levies import BillingSettings
from liveweights.meter.money import NANOS
from liveweights.meter.prices import Price
from liveweights.meter.settings import WarningSettings
from liveweights.record.settings import RecordSettings
from liveweights.release.alias import name_branch
from liveweights.release.settings import (
    CanarySettings,
    DeploymentSettings,
    RetentionSettings,
    SigningSettings,
)
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.gateway.settings import GatewaySettings
from liveweights.serve.hosted.chains import find_circle
from liveweights.serve.hosted.dialect import Quirk
from liveweights.serve.hosted.settings import HostedSettings
from liveweights.serve.telemetry.settings import TelemetrySettings
from liveweights.terms.defaults import DEFAULTS
from liveweights.terms.needs import Ability
from liveweights.terms.roster import AUTO
from liveweights.terms.rules import Purpose, Rule, parse_rules
from liveweights.weights.download import NAME

T = TypeVar("T", bound=msgspec.Struct)
DATABASE_URL = "LIVEWEIGHTS_DATABASE_URL"


class ConfigError(ValueError):
    """The settings file is not understood; the message names the file and the key."""


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


Table = dict[str, Any]


def _own(section: str) -> str:
    return f"What is other than in the service's `[{section}]`."


def _table() -> Any:
    return msgspec.field(default_factory=dict[str, Any])


Base = Annotated[
    str,
    Meta(
        description="Packaged model's name, a checkpoint folder, a GGUF file (of a split one the "
        "first), or `hf://ORG/NAME@COMMIT`; without a commit that of the first download stays."
    ),
]


Amount = Annotated[float, Meta(gt=0, le=bounds.WEIGHT)]


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
            description="Seconds that the upstream may take to the first byte of an answer.",
        ),
    ] = 60.0
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
        hosted = ("upstream_model", "key_env", "timeout", "quirks", "budget", "capabilities")
        both = ("upstream", "fallback", "visible", "context")
        fields = msgspec.structs.fields(self)
        local = [field.name for field in fields if field.name not in (*both, *hosted)]
        empty = ModelTable()
        wrong = local if self.upstream else hosted
        return [name for name in wrong if getattr(self, name) != getattr(empty, name)]


PublicName = Annotated[str, Meta(min_length=1, max_length=128)]
Gib = Annotated[float, Meta(gt=0, le=2**20)]
MEMORY = "memory_gib"
"""The one key of ``[models]`` that is no model's name."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set; ``liveweights config`` prints what is in force."""

    model: Base = NAME
    alias: Annotated[PublicName, Meta(description="The public model name.")] = "code"
    models: Annotated[
        dict[PublicName, ModelTable | Gib],
        Meta(
            description="Models by public name, where a service has several: each a table "
            "`[models.NAME]` in place of `model` and `alias`. Its one key that is no name is "
            "`memory_gib`: memory of all local models together, in GiB, which are loaded when they "
            "are asked for. Without it all stay loaded."
        ),
    ] = msgspec.field(default_factory=dict[PublicName, ModelTable | Gib])
    database: Annotated[
        str,
        Meta(description=f"Postgres DSN; empty: ${DATABASE_URL}, else an embedded server."),
    ] = ""
    cache: Annotated[
        str, Meta(description="Where converted models are kept; empty: the user's cache folder.")
    ] = ""
    api: ApiSettings = ApiSettings()
    oidc: OidcSettings = OidcSettings()
    template: TemplateSettings = TemplateSettings()
    engine: EngineSettings = EngineSettings()
    vllm: VllmSettings = VllmSettings()
    openai: OpenAISettings = OpenAISettings()
    gateway: GatewaySettings = GatewaySettings()
    rewards: RewardMap = RewardMap()
    learn: LearnSettings = LearnSettings()
    gate: GateSettings = GateSettings()
    canary: CanarySettings = CanarySettings()
    deployment: DeploymentSettings = DeploymentSettings()
    signing: SigningSettings = SigningSettings()
    bom: BomSettings = BomSettings()
    retention: RetentionSettings = RetentionSettings()
    cycle: CycleSettings = CycleSettings()
    databases: DatabaseSettings = DatabaseSettings()
    agent: AgentSettings = AgentSettings()
    record: RecordSettings = RecordSettings()
    prices: Annotated[
        dict[str, Price],
        Meta(
            description="Alias to what it costs, from the service's start on; see docs/billing.md."
        ),
    ] = msgspec.field(default_factory=dict[str, Price])
    billing: BillingSettings = BillingSettings()
    warnings: WarningSettings = WarningSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    purposes: Annotated[
        dict[str, Purpose],
        Meta(
            description="Tenant to what it uses answers for, such as `commercial` (whoever pays), "
            "`research`, `personal` or `evaluation`; `*`: all others."
        ),
    ] = msgspec.field(default_factory=dict[str, str])
    terms: Annotated[
        tuple[Rule, ...],
        Meta(description="Rules of use, each a table `[[terms]]`; see docs/terms.md."),
    ] = ()

    def list_models(self) -> tuple[ModelSettings, ...]:
        """Every model with a base of ours. Raises ConfigError where a table says what its section
        does not take, or ``model`` and ``alias`` stand beside tables of models."""
        if self._given() and (self.model, self.alias) != (NAME, "code"):
            raise ConfigError(
                "`model` and `alias` are the short form of one [models.NAME] table; beside such "
                "tables leave them out"
            )
        return tuple(
            self._resolve(name, table)
            for name, table in self._tables().items()
            if not table.upstream
        )

    def list_hosted(self) -> tuple[HostedSettings, ...]:
        """Every model that an upstream runs."""
        return tuple(
            HostedSettings(
                alias=name,
                upstream=table.upstream,
                model=table.upstream_model or name,
                key_env=table.key_env,
                timeout=table.timeout,
                fallback=tuple(table.fallback),
                capabilities=None if table.capabilities is None else tuple(table.capabilities),
                quirks=tuple(table.quirks),
                budgets=tuple(
                    Budget(period=period, nanos=round(amount * NANOS))
                    for period, amount in table.budget.items()
                ),
                visible=table.visible,
                context=table.context,
            )
            for name, table in self._given().items()
            if table.upstream
        )

    def names(self) -> tuple[str, ...]:
        """The public name of every model, local or hosted."""
        return tuple(self._tables())

    def memory_bytes(self) -> int | None:
        """What all local models may take of memory; None: no matter how much."""
        gib = self.models.get(MEMORY)
        return int(gib * 2**30) if isinstance(gib, float | int) else None

    def with_models(self, rows: Mapping[str, ModelTable]) -> Config:
        """The same, with further models; one that has its name from the settings file stays as it
        is there."""
        tables = self._tables()
        return self._with_tables(tables | {n: row for n, row in rows.items() if n not in tables})

    def without_models(self, names: Container[str]) -> Config:
        """The same, without the models of these names; at least one has to be left."""
        return self._with_tables({n: row for n, row in self._tables().items() if n not in names})

    def check_models(self) -> None:
        """Raises ConfigError for a table that does not fit its kind of model, or the others."""
        for model in self.list_models():
            if model.learn.per_tenant and model.learn.updater != "lora":
                raise ConfigError(
                    f'learn.per_tenant of {model.alias!r} needs `updater = "lora"`: adapters of'
                    " tenants share one base in memory, whole models would not"
                )
        hosted = [one.alias for one in self.list_hosted()]
        tables = self._given()
        for name in self.models.keys() - tables.keys() - {MEMORY}:
            raise ConfigError(
                f"models.{name} is a number: a model is a table, and the one number that "
                f"`[models]` has is `{MEMORY}`"
            )
        if MEMORY in tables:
            raise ConfigError(f"no model can be called {MEMORY!r}: `models.{MEMORY}` is a number")
        if AUTO in self._tables():
            raise ConfigError(
                f"no model can be called {AUTO!r}: requests ask by that name for the cheapest that "
                "fits"
            )
        for name, table in tables.items():
            if table.learn_from and (table.learn_from not in hosted or table.learn is False):
                why = (
                    "the model does not learn (`learn = false`)"
                    if table.learn is False
                    else f"no hosted model is called {table.learn_from!r}; there are "
                    f"{', '.join(hosted) or 'none'}"
                )
                raise ConfigError(f"models.{name}.learn_from: {why}")
            if wrong := table.misplaced():
                one, other = "hosted", "local"
                if not table.upstream:
                    one, other = other, one
                listed = ", ".join(f"`{key}`" for key in wrong)
                raise ConfigError(
                    f"models.{name} is a {one} model, {'with' if table.upstream else 'without'} "
                    f"`upstream`, so that it cannot have {listed}: that is for {other} ones"
                )
            for other in table.fallback:
                if other not in tables:
                    listed = ", ".join(tables)
                    raise ConfigError(
                        f"models.{name}.fallback: no model is called {other!r}; there are {listed}"
                    )
        fallbacks = {name: table.fallback for name, table in tables.items()}
        if circle := find_circle(fallbacks):
            raise ConfigError(
                f"models.{circle[0]}.fallback: it leads in a circle, {' to '.join(circle)}; leave "
                "one of these out"
            )

    def _with_tables(self, tables: Mapping[str, ModelTable]) -> Config:
        numbers = {n: gib for n, gib in self.models.items() if not isinstance(gib, ModelTable)}
        return msgspec.structs.replace(self, model=NAME, alias="code", models={**numbers, **tables})

    def _given(self) -> dict[str, ModelTable]:
        return {n: table for n, table in self.models.items() if isinstance(table, ModelTable)}

    def _tables(self) -> dict[str, ModelTable]:
        return self._given() or {self.alias: ModelTable(base=self.model)}

    def _resolve(self, name: str, table: ModelTable) -> ModelSettings:
        overrides = table.learn if isinstance(table.learn, dict) else {}
        engine = table.engine
        if table.context is not None:
            if engine.get("context_length", table.context) != table.context:
                raise ConfigError(
                    f"models.{name}.context is {table.context}, and its engine.context_length is "
                    f"{engine['context_length']}: say one of them"
                )
            engine = {**engine, "context_length": table.context}
        return ModelSettings(
            alias=name,
            base=table.base,
            learns=table.learn is not False,
            learn_from=table.learn_from,
            engine=_override(self.engine, engine, f"models.{name}.engine"),
            vllm=_override(self.vllm, table.vllm, f"models.{name}.vllm"),
            openai=_override(self.openai, table.openai, f"models.{name}.openai"),
            template=_override(self.template, table.template, f"models.{name}.template"),
            learn=_override(self.learn, overrides, f"models.{name}.learn"),
            rewards=_override(self.rewards, table.rewards, f"models.{name}.rewards"),
            gate=_override(self.gate, table.gate, f"models.{name}.gate"),
            pinned=table.pinned,
            fallback=tuple(table.fallback),
            visible=table.visible,
        )

    def rewards_by_alias(self) -> dict[str, RewardMap]:
        return {model.alias: model.rewards for model in self.list_models()}

    def find_model(self, alias: str | None = None) -> ModelSettings:
        """The local model of that public name; without a name, the only one. A tenant's branch goes
        by the settings of its model. Raises ConfigError."""
        models = self.list_models()
        if alias in {hosted.alias for hosted in self.list_hosted()}:
            raise ConfigError(
                f"{alias!r} is hosted: it has no base, and so no cycles, gate, canary or releases"
            )
        if not models:
            raise ConfigError("all models are hosted: none has a base, cycles or releases")
        named = [model for model in models if alias in (None, model.alias)]
        if alias is not None and not named:
            model = next((m for m in models if alias.startswith(name_branch(m.alias, ""))), None)
            if model is not None:
                return msgspec.structs.replace(model, alias=alias)
        if len(named) != 1:
            listed = ", ".join(model.alias for model in models)
            what = "say which model is meant" if named else f"no model is called {alias!r}"
            raise ConfigError(f"{what}: there are {listed}")
        return named[0]

    def for_worker(self, alias: str | None = None) -> WorkerSettings:
        """What the cycles of a model, or of a tenant's branch of it, go by. Raises ConfigError, as
        ``find_model`` does."""
        model = self.find_model(alias)
        tenant = self._find_tenant(model.alias)
        cycle = self.cycle
        if tenant is not None:
            enough = min(cycle.min_feedback, model.learn.tenant_min_feedback)
            cycle = msgspec.structs.replace(cycle, min_feedback=enough)
        return WorkerSettings(
            alias=model.alias,
            tenant=tenant,
            learn_from=model.learn_from,
            cycle=cycle,
            learn=model.learn,
            rewards=model.rewards,
            gate=model.gate,
            canary=self.canary,
            retention=self.retention,
            signing=self.signing,
            engine=model.engine,
            template=model.template,
            cache=self.cache_folder(),
        )

    def _find_tenant(self, name: str) -> str | None:
        """Whose branch an alias is, by its name; None for a model's own."""
        if name in self._tables():
            return None
        begins = (name_branch(model, "") for model in self._tables())
        return next((name.removeprefix(one) for one in begins if name.startswith(one)), None)

    def with_engine(self, alias: str, engine: EngineSettings) -> Config:
        """The same, with the model of that public name run so. Raises ConfigError."""
        self.find_model(alias)
        tables = self._tables()
        own = msgspec.structs.replace(tables[alias], engine=msgspec.to_builtins(engine))
        return self._with_tables({**tables, alias: own})

    def with_base(self, alias: str, base: str) -> Config:
        """The same, with the model of that public name on another base. Raises ConfigError."""
        self.find_model(alias)
        tables = self._tables()
        own = msgspec.structs.replace(tables[alias], base=base)
        return self._with_tables({**tables, alias: own})

    def cache_folder(self) -> Path:
        if self.cache:
            return Path(self.cache).expanduser()
        root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(root).expanduser() / "liveweights"

    def database_url(self) -> str | None:
        """The given server, None for the embedded one."""
        return self.database or os.environ.get(DATABASE_URL) or None


def _override(section: T, table: Table, where: str) -> T:
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


def read_tables(config: Config, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, ModelTable]:
    """Those of the rows that are understood and name models beside those of the settings."""
    tables: dict[str, ModelTable] = {}
    for name, keys in rows.items():
        try:
            table = read_table(name, keys)
            config.with_models({name: table}).list_models()
        except ConfigError:
            continue
        if name not in config.names() and not table.misplaced():
            tables[name] = table
    return tables


def load_config(path: Path | None) -> Config:
    """Read a TOML file; None gives the defaults. Raises ConfigError."""
    if path is None:
        return Config()
    try:
        found = tomllib.loads(path.read_text())
        parse_rules(found.get("terms", ()), [rule.name for rule in DEFAULTS])
        config = msgspec.convert(found, Config)
        config.check_models()
        return config
    except FileNotFoundError as error:
        raise ConfigError(f"there is no settings file {path}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError) as error:
        raise ConfigError(
            f"{path}: {error}; `liveweights config` lists every key with its default"
        ) from error
