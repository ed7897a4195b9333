from __future__ import annotations

import datetime

import pytest

from liveweights.adoption.snapshots import Snapshot, SnapshotError, parse_snapshots

HEAD = "model,day,downloads,derivatives,source\n"


def test_a_file_is_read_whatever_the_order_of_its_columns() -> None:
    lines = [
        "source,day,model,note,derivatives,downloads\n",
        "https://x.example,2026-11-01,Qwen/Qwen3-8B,hello,12,3400\n",
        '"a, b",2026-11-02,Qwen/Qwen3-8B,,,3500\n',
    ]
    day = datetime.date(2026, 11, 1)
    assert parse_snapshots(lines) == [
        Snapshot(
            model="Qwen/Qwen3-8B",
            day=day,
            downloads=3400,
            derivatives=12,
            source="https://x.example",
        ),
        Snapshot(
            model="Qwen/Qwen3-8B",
            day=day + datetime.timedelta(days=1),
            downloads=3500,
            source="a, b",
        ),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "line 1 does not name model, day"),
        ("model,day\n", "line 1 does not name downloads, derivatives, source"),
        (HEAD + "Qwen,2026-11-01,1,,x\n", "line 2: .*model"),
        (HEAD + "a/b,2026-11-01,1,,x\na/b,yesterday,1,,x\n", "line 3: .*day"),
        (HEAD + "a/b,2026-11-01,-1,,x\n", "line 2: .*downloads"),
        (HEAD + "a/b,2026-11-01,1,,\n", "line 2: .*source"),
        (HEAD + "a/b,2026-11-01\n", "line 2: .*downloads"),
        (HEAD + "a/b,2026-11-01,1e400,,x\n", "line 2: .*downloads"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, why: str) -> None:
    with pytest.raises(SnapshotError, match=why):
        parse_snapshots(text.splitlines(keepends=True))
