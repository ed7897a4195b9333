"""The one settings file: typed, with a default for everything."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from liveweights.agentdb.settings import DatabaseSettings
from liveweights.catalog.template import TemplateSettings
from liveweights.cycle.settings import CycleSettings, WorkerSettings
from liveweights.engines.settings import EngineSettings, OpenAISettings, VllmSettings
from liveweights.gate.settings import GateSettings
from liveweights.learn.rewards import RewardMap
from liveweights.learn.settings import LearnSettings
from liveweights.meter.prices import Price
from liveweights.record.settings import RecordSettings
from liveweights.release.settings import (
    CanarySettings,
    DeploymentSettings,
    RetentionSettings,
    SigningSettings,
)
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.gateway.settings import GatewaySettings
from liveweights.weights.download import NAME

DATABASE_URL = "LIVEWEIGHTS_DATABASE_URL"


class ConfigError(ValueError):
    """The settings file is not understood; the message names the file and the key."""


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs to one model: its public name, what it began with, and how it is run."""

    alias: str
    base: str
    engine: EngineSettings
    vllm: VllmSettings
    openai: OpenAISettings
    template: TemplateSettings


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set; ``liveweights config`` prints what is in force."""

    model: Annotated[
        str,
        Meta(
            description="Packaged model's name, a checkpoint folder, or `hf://ORG/NAME@COMMIT`; "
            "without a commit that of the first download stays."
        ),
    ] = NAME
    alias: Annotated[
        str, Meta(min_length=1, max_length=128, description="The public model name.")
    ] = "code"
    database: Annotated[
        str,
        Meta(description=f"Postgres DSN; empty: ${DATABASE_URL}, else an embedded server."),
    ] = ""
    cache: Annotated[
        str, Meta(description="Where converted models are kept; empty: the user's cache folder.")
    ] = ""
    api: ApiSettings = ApiSettings()
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
    retention: RetentionSettings = RetentionSettings()
    cycle: CycleSettings = CycleSettings()
    databases: DatabaseSettings = DatabaseSettings()
    record: RecordSettings = RecordSettings()
    prices: Annotated[
        dict[str, Price],
        Meta(description="Alias to what a million tokens cost: `input` and `output`."),
    ] = msgspec.field(default_factory=dict[str, Price])

    def models(self) -> tuple[ModelSettings, ...]:
        """Every model that is served: the one that the file describes."""
        return (
            ModelSettings(
                alias=self.alias,
                base=self.model,
                engine=self.engine,
                vllm=self.vllm,
                openai=self.openai,
                template=self.template,
            ),
        )

    def find_model(self, alias: str | None = None) -> ModelSettings:
        """The model of that public name; without a name, the only one. Raises ConfigError."""
        models = self.models()
        named = [model for model in models if alias in (None, model.alias)]
        if len(named) != 1:
            listed = ", ".join(model.alias for model in models)
            raise ConfigError(f"say which model is meant: there are {listed}")
        return named[0]

    def for_worker(self, alias: str | None = None) -> WorkerSettings:
        """What the cycles of a model go by. Raises ConfigError, as ``find_model`` does."""
        model = self.find_model(alias)
        return WorkerSettings(
            alias=model.alias,
            cycle=self.cycle,
            learn=self.learn,
            rewards=self.rewards,
            gate=self.gate,
            canary=self.canary,
            retention=self.retention,
            signing=self.signing,
            engine=model.engine,
            template=model.template,
            cache=self.cache_folder(),
        )

    def with_engine(self, alias: str, engine: EngineSettings) -> Config:
        """The same, with the model of that public name run so. Raises ConfigError."""
        self.find_model(alias)
        return msgspec.structs.replace(self, engine=engine)

    def cache_folder(self) -> Path:
        if self.cache:
            return Path(self.cache).expanduser()
        root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(root).expanduser() / "liveweights"

    def database_url(self) -> str | None:
        """The given server, None for the embedded one."""
        return self.database or os.environ.get(DATABASE_URL) or None


def load_config(path: Path | None) -> Config:
    """Read a TOML file; None gives the defaults. Raises ConfigError."""
    if path is None:
        return Config()
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), Config)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no settings file {path}") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError) as error:
        raise ConfigError(
            f"{path}: {error}; `liveweights config` lists every key with its default"
        ) from error
