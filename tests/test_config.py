from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from liveweights.config import Config, load_config, read_tables
from liveweights.engines.settings import EngineSettings
from liveweights.meter.budgets import Budget
from liveweights.model_table import ConfigError, read_table
from liveweights.serve.hosted.settings import MissingKey

THREE = """
[engine]
slots = 3
[models.code]
[models.chat]
base = "models/chat"
learn = false
engine = { kind = "torch" }
[models.small]
[models.small.learn]
rank = 4
[models.small.rewards]
accepted = 0.5
"""


def read(folder: Path, text: str) -> Config:
    file = folder / "liveweights.toml"
    file.write_text(text)
    return load_config(file)


def test_without_tables_there_is_one_model_of_the_short_form(tmp_path: Path) -> None:
    config = read(tmp_path, 'model = "models/x"\nalias = "m"\n')
    (model,) = config.list_models()
    assert (model.alias, model.base, model.learns) == ("m", "models/x", True)
    assert config.find_model() == config.find_model("m") == model


def test_a_table_says_what_is_other_than_in_the_services_own(tmp_path: Path) -> None:
    config = read(tmp_path, THREE)
    code, chat, small = config.list_models()
    assert [model.alias for model in (code, chat, small)] == ["code", "chat", "small"]
    assert [model.learns for model in (code, chat, small)] == [True, False, True]
    assert (chat.base, chat.engine) == ("models/chat", EngineSettings(kind="torch", slots=3))
    assert code.engine == EngineSettings(slots=3)
    assert small.learn == msgspec.structs.replace(config.learn, rank=4)
    assert small.rewards == msgspec.structs.replace(config.rewards, accepted=0.5)
    assert config.for_worker("small").learn == small.learn
    assert msgspec.json.decode(msgspec.json.encode(config), type=Config) == config


def test_one_of_several_has_to_be_named(tmp_path: Path) -> None:
    config = read(tmp_path, THREE)
    with pytest.raises(ConfigError, match="which model is meant: there are code, chat, small"):
        config.find_model()
    with pytest.raises(ConfigError, match="no model is called 'other': there are code, chat"):
        config.find_model("other")


def test_the_engine_that_a_start_settled_on_is_that_models(tmp_path: Path) -> None:
    settled = EngineSettings(kind="torch", context_length=64)
    for config in (Config(alias="code"), Config(alias="m"), read(tmp_path, THREE)):
        name = config.list_models()[0].alias
        after = config.with_engine(name, settled)
        assert after.find_model(name).engine == settled
        others = [model for model in config.list_models() if model.alias != name]
        assert [model for model in after.list_models() if model.alias != name] == others


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('model = "x"\n[models.a]\n', "`model` and `alias` are the short form of one"),
        ('[models.a]\nengine = { kindd = "torch" }\n', "models.a.engine: .* unknown field `kindd`"),
        ("[models.a.learn]\nrank = -4\n", "models.a.learn: Expected `int` >= 1"),
        ('[models.a]\nbasee = "x"\n', "unknown field `basee`"),
        ('[models.""]\nbase = "x"\n', "length >= 1"),
        ("[models.a.gate]\ncases = -1\n", "models.a.gate: "),
        ("[models]\nmemory_gib = 0\n", "> 0"),
        ("[models]\nmemory_gib = 1e9\n", "<="),
        ("[models]\nmemory = 3\n", "models.memory is a number: .* is `memory_gib`"),
        ("[models.memory_gib]\n", "no model can be called 'memory_gib'"),
    ],
)
def test_what_is_wrong_in_a_table_names_it(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        read(tmp_path, text)
    assert str(refused.value).startswith(str(tmp_path / "liveweights.toml"))


HOSTED = """
[models.code]
[models.big]
upstream = "https://api.example.com/v1"
upstream_model = "org/big-70b"
key_env = "BIG_KEY"
timeout = 5
fallback = ["far", "code"]
[models.far]
upstream = "http://10.0.0.2:8000"
"""


def test_hosted_models_stand_beside_local_ones(tmp_path: Path) -> None:
    config = read(tmp_path, HOSTED)
    assert [model.alias for model in config.list_models()] == ["code"]
    big, far = config.list_hosted()
    assert (big.alias, big.model, big.timeout, big.fallback) == (
        *("big", "org/big-70b", 5.0, ("far", "code")),
    )
    assert (far.model, far.timeout, far.read_key()) == ("far", 60.0, "")
    assert config.find_model().alias == "code"
    assert config.rewards_by_alias().keys() == {"code"}
    with pytest.raises(ConfigError, match="'big' is hosted: it has no base"):
        config.find_model("big")
    after = config.with_engine("code", EngineSettings(kind="torch"))
    assert after.list_hosted() == config.list_hosted()
    again = msgspec.json.decode(msgspec.json.encode(config), type=Config)
    assert again.list_hosted() == config.list_hosted()


def test_all_may_be_hosted(tmp_path: Path) -> None:
    config = read(tmp_path, '[models.big]\nupstream = "http://h"\n')
    assert config.list_models() == ()
    with pytest.raises(ConfigError, match="all models are hosted"):
        config.find_model()


def test_a_key_is_read_where_the_service_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big, _ = read(tmp_path, HOSTED).list_hosted()
    monkeypatch.delenv("BIG_KEY", raising=False)
    with pytest.raises(MissingKey, match=r"models.big.key_env: the environment variable BIG_KEY"):
        big.read_key()
    monkeypatch.setenv("BIG_KEY", "sk-1\n")
    assert big.read_key() == "sk-1"


def test_the_memory_of_all_models_stands_beside_their_tables(tmp_path: Path) -> None:
    assert read(tmp_path, THREE).memory_bytes() is None
    config = read(tmp_path, f"[models]\nmemory_gib = 3\n{THREE}")
    assert config.memory_bytes() == 3 * 2**30
    assert config.names() == ("code", "chat", "small")
    assert config.with_engine("code", EngineSettings()).memory_bytes() == 3 * 2**30
    again = msgspec.json.decode(msgspec.json.encode(config), type=Config)
    assert (again.names(), again.memory_bytes()) == (config.names(), 3 * 2**30)
    short = read(tmp_path, 'alias = "m"\n[models]\nmemory_gib = 0.5\n')
    assert (short.names(), short.memory_bytes()) == (("m",), 2**29)


def test_rows_come_after_the_settings_files_models_and_change_none(tmp_path: Path) -> None:
    rows = {
        "far": read_table("far", {"upstream": "http://h", "fallback": ["code"]}),
        "chat": read_table("chat", {"base": "elsewhere"}),
    }
    config = read(tmp_path, f"[models]\nmemory_gib = 3\n{THREE}").with_models(rows)
    assert config.names() == ("code", "chat", "small", "far")
    assert config.find_model("chat").base == "models/chat"
    assert config.memory_bytes() == 3 * 2**30
    config.check_models()
    short = read(tmp_path, 'alias = "m"\n').with_models(rows)
    assert short.names() == ("m", "far", "chat")


AT = 'upstream = "http://h"\n'


def test_a_model_may_learn_from_a_hosted_one(tmp_path: Path) -> None:
    config = read(tmp_path, f'[models.code]\nlearn_from = "big"\n[models.big]\n{AT}')
    assert config.for_worker("code").learn_from == "big"
    assert read(tmp_path, "").for_worker().learn_from == ""


def test_rows_that_are_understood_are_read() -> None:
    config = Config(alias="code")
    rows: dict[str, dict[str, Any]] = {
        "more": {"learn": False},
        "code": {},
        "odd": {"bass": 1},
        "wrong": {"engine": {"slots": 0}},
        "both": {"upstream": "http://h", "base": "x"},
    }
    assert [*read_tables(config, rows)] == ["more"]


def test_models_are_left_out() -> None:
    config = msgspec.convert({"models": {"memory_gib": 1, "a": {}, "b": {}}}, Config)
    left = config.without_models({"a": None})
    assert left.names() == ("b",)
    assert left.memory_bytes() == 2**30
    assert Config(alias="m").without_models(()).names() == ("m",)


BOTH = f"""
[models.code]
context = 512
visible = false
fallback = ["big"]
[models.big]
{AT}
context = 32768
visible = false
quirks = ["max_tokens"]
budget = {{ day = 2.5, all = 100 }}
"""


def test_some_keys_are_of_both_kinds(tmp_path: Path) -> None:
    config = read(tmp_path, BOTH)
    code, big = config.find_model("code"), config.list_hosted()[0]
    assert (code.fallback, code.visible, code.engine.context_length) == (("big",), False, 512)
    assert (big.context, big.visible, big.quirks) == (32768, False, ("max_tokens",))
    assert big.budgets == (
        Budget(period="day", nanos=2_500_000_000), Budget(period="all", nanos=100_000_000_000)
    )  # fmt: skip
    again = msgspec.json.decode(msgspec.json.encode(config), type=Config)
    assert (again.list_models(), again.list_hosted()) == (config.list_models(), (big,))
    # Whom it leaves answering to and who sees it load nothing anew.
    assert code.runs_like(msgspec.structs.replace(code, fallback=(), visible=True))


def test_a_tenants_branch_goes_by_the_settings_of_its_model(tmp_path: Path) -> None:
    config = read(
        tmp_path, "[models.code]\n[models.code.learn]\nper_tenant = true\n[models.chat]\n"
    )
    own, shared = config.for_worker("code:acme"), config.for_worker("code")
    assert (own.alias, own.model, own.tenant) == ("code:acme", "code", "acme")
    assert (shared.alias, shared.model, shared.tenant) == ("code", "code", None)
    assert own.learn == shared.learn
    assert (own.cycle.min_feedback, shared.cycle.min_feedback) == (200, 1000)
    with pytest.raises(ConfigError, match="no model is called 'other:acme'"):
        config.find_model("other:acme")
    with pytest.raises(ConfigError, match="has of the model 'code': base and engine"):
        config.with_base("code:acme", "another")
    with pytest.raises(ConfigError, match="has of the model 'code'"):
        config.with_engine("code:acme", EngineSettings())


def test_a_model_that_is_called_like_a_branch_is_a_model(tmp_path: Path) -> None:
    config = read(tmp_path, '[models.code]\n[models."code:acme"]\n')
    assert config.for_worker("code:acme").tenant is None
