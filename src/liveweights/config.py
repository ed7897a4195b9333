"""The one settings file: typed, with a default for everything."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

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
from liveweights.meter.levies import BillingSettings
from liveweights.meter.prices import Price
from liveweights.meter.settings import WarningSettings
from liveweights.model_checks import check_local, check_names, check_numbers, check_tables
from liveweights.model_table import (
    MEMORY,
    Base,
    ConfigError,
    Gib,
    ModelSettings,
    ModelTable,
    PublicName,
    override,
    read_table,
)
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
from liveweights.serve.hosted.settings import HostedSettings
from liveweights.serve.telemetry.settings import TelemetrySettings
from liveweights.terms.defaults import DEFAULTS
from liveweights.terms.rules import Purpose, Rule, parse_rules
from liveweights.weights.download import NAME

DATABASE_URL = "LIVEWEIGHTS_DATABASE_URL"
EMBEDDED = "embedded"
"""As ``database``: the embedded server, whatever the environment says."""


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
        Meta(
            description=f"Postgres DSN, or `{EMBEDDED}` for a server of the service's own; empty: "
            f"${DATABASE_URL}, else the embedded one."
        ),
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
        dict[str, Price] | None,
        Meta(
            description="Alias to what it costs, from the service's start on; where it is not set, "
            "prices stay as they are, and `prices = {}` withdraws all that a settings file said; "
            "see docs/billing.md."
        ),
    ] = None
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
        given = self._given().items()
        return tuple(table.to_hosted(name) for name, table in given if table.upstream)

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
        check_local(self.list_models())
        check_numbers(self.models)
        check_names(self._tables())
        check_tables(self._given())

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
            engine=override(self.engine, engine, f"models.{name}.engine"),
            vllm=override(self.vllm, table.vllm, f"models.{name}.vllm"),
            openai=override(self.openai, table.openai, f"models.{name}.openai"),
            template=override(self.template, table.template, f"models.{name}.template"),
            learn=override(self.learn, overrides, f"models.{name}.learn"),
            rewards=override(self.rewards, table.rewards, f"models.{name}.rewards"),
            gate=override(self.gate, table.gate, f"models.{name}.gate"),
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
        """The same, with the model of that public name run so. Raises ConfigError, also for a
        tenant's branch, which runs as its model."""
        tables = self._require_own(alias)
        own = msgspec.structs.replace(tables[alias], engine=msgspec.to_builtins(engine))
        return self._with_tables({**tables, alias: own})

    def with_base(self, alias: str, base: str) -> Config:
        """The same, with the model of that public name on another base. Raises ConfigError, also
        for a tenant's branch, which is on its model's."""
        tables = self._require_own(alias)
        own = msgspec.structs.replace(tables[alias], base=base)
        return self._with_tables({**tables, alias: own})

    def _require_own(self, alias: str) -> dict[str, ModelTable]:
        """The tables of all models, that one's among them. Raises ConfigError."""
        self.find_model(alias)
        if (tenant := self._find_tenant(alias)) is not None:
            model = alias.removesuffix(name_branch("", tenant))
            raise ConfigError(
                f"{alias!r} is what the tenant {tenant!r} has of the model {model!r}: base and"
                " engine are the model's"
            )
        return self._tables()

    def with_port(self, port: int) -> Config:
        """The same, with the API on that port."""
        return msgspec.structs.replace(self, api=msgspec.structs.replace(self.api, port=port))

    def cache_folder(self) -> Path:
        if self.cache:
            return Path(self.cache).expanduser()
        root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(root).expanduser() / "liveweights"

    def database_url(self) -> str | None:
        """The given server, None for the embedded one."""
        given = self.database or os.environ.get(DATABASE_URL)
        return None if given == EMBEDDED else given or None


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
