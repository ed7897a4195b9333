"""What public submissions to SWE-bench Verified resolved, as files that ``scoreboard import``
reads."""

from __future__ import annotations

from pathlib import Path

import msgspec

FILE = Path(__file__).with_name("swe_bench_verified.json")


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """``resolved`` has a digit for each instance; ``published`` is the leaderboard's rate, in
    percent."""

    name: str
    published: float
    resolved: str


class Published(msgspec.Struct, frozen=True, kw_only=True):
    instances: tuple[str, ...]
    submissions: tuple[Submission, ...]
    disagreements: tuple[tuple[str, str, int, int], ...]
    by_repository: dict[str, tuple[int, ...]]


def read_published() -> Published:
    return msgspec.json.decode(FILE.read_bytes(), type=Published)


def to_results(published: Published, submission: Submission) -> str:
    """``{"ID": {"resolved": true}, ...}``, as the leaderboard has it. Raises ValueError where there
    is not a digit for each instance."""
    pairs = zip(published.instances, submission.resolved, strict=True)
    return msgspec.json.encode({id_: {"resolved": digit == "1"} for id_, digit in pairs}).decode()
