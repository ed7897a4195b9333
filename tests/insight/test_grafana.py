"""The dashboard's SQL runs on the views as they are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.record.rows import START, make_feedback, make_generation
from tests.record.test_window import ask, record

from liveweights.record.engine_metrics import Sample, keep_sample
from liveweights.store.database import Connection
from liveweights.store.partitions import ensure

BOARD: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "grafana" / "dashboards" / "liveweights.json").read_text()
)
BEGIN, END = int(START.timestamp()) - 3600, int(START.timestamp()) + 3600


def expand(sql: str) -> str:
    """Grafana's macros, as it documents them for Postgres."""
    between = rf"\1 between to_timestamp({BEGIN}) and to_timestamp({END})"
    sql = re.sub(r"\$__timeFilter\((\w+)\)", between, sql)
    sql = sql.replace("$__unixEpochFrom()", str(BEGIN)).replace("$__unixEpochTo()", str(END))
    return sql.replace("$alias", "'live'").replace("$tenant", "'default'")


@pytest.mark.parametrize("panel", BOARD["panels"], ids=lambda panel: panel["title"])
def test_a_panel_shows_what_is_there(database_dsn: str, panel: dict[str, Any]) -> None:
    record(database_dsn, make_generation("g", first_token_ms=20), make_feedback("f", "g"))

    async def busy(conn: Connection) -> None:
        await ensure(conn, [START.date()])
        sample = Sample(at=START, instance="i", slots=2, running=1, waiting=0, in_use={"m@1": 1})
        await keep_sample(conn, sample)

    ask(database_dsn, busy)
    with psycopg.connect(database_dsn) as conn:
        cursor = conn.execute(expand(panel["targets"][0]["rawSql"]).encode())
        rows = cursor.fetchall()
        columns = [column.name for column in cursor.description or ()]
    assert bool(rows) == (panel["title"] not in ("Swaps", "Charged per tenant"))
    assert panel["type"] == "table" or columns[0] == "time"


def test_variables_and_annotations_run(database_dsn: str) -> None:
    queries = [one["query"] for one in BOARD["templating"]["list"]]
    queries += [one["rawQuery"] for one in BOARD["annotations"]["list"]]
    with psycopg.connect(database_dsn) as conn:
        for query in queries:
            assert conn.execute(expand(query).encode()).description
