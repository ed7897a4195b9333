"""A customer with everything that costs a gateway work: a key of its own, limits, a budget."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

TENANT = "acme"
SETTINGS = """
[gateway]
upstream = "{upstream}"

[api]
port = {port}
require_keys = true

[prices.stub]
input = 0.15
output = 0.6
request = 0.0001
"""
COMMAND = (sys.executable, "-c", "from liveweights.cli import main; main()")


def write_settings(folder: Path, upstream: str, port: int) -> Path:
    """Prices, and that every request needs a key."""
    file = folder / "money.toml"
    file.write_text(SETTINGS.format(upstream=upstream, port=port))
    return file


def make_account(config: Path, home: Path) -> str:
    """The key of a tenant with a budget and limits so wide that nobody meets them."""
    place = ("--home", str(home), "--config", str(config))
    _run("tenants", "create", TENANT, "--budget", "month=1000000.00", *place)
    limits = ("--requests-per-minute", "10000000", "--tokens-per-minute", "1000000000")
    many = ("--concurrency", "10000", "--budget", "day=100000.00")
    return json.loads(_run("keys", "create", TENANT, *limits, *many, "--json", *place))["key"]


def read_bill(config: Path, home: Path) -> tuple[int, int]:
    """How many entries the ledger has, and their sum in nanos."""
    statement = "select count(*) as entries, coalesce(sum(nanos), 0)::bigint as nanos from charges"
    (row,) = query(config, home, statement)
    return int(row["entries"]), int(row["nanos"])


def query(config: Path, home: Path, statement: str) -> list[dict[str, Any]]:
    """Rows by column, as `liveweights sql` says them."""
    place = ("--home", str(home), "--config", str(config))
    return json.loads(_run("sql", "-c", statement, "--json", *place))


def _run(*words: str) -> str:
    return subprocess.run([*COMMAND, *words], check=True, stdout=subprocess.PIPE, text=True).stdout
