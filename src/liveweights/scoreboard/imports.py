"""Results per instance that others published, into the same rows.

Four shapes are read: ``{"ID": true, ...}`` with truth values, scores in [0, 1] or objects with
``resolved`` (SWE-bench Pro's ``eval_results.json``; the leaderboard's ``per_instance_details``); a
report with ``resolved_ids`` and the ids that were tried (SWE-bench's harness); the ``resolved`` ids
alone, to which all ids have to be given (``results.json`` of SWE-bench/experiments); and JSON lines
or a list of objects with an id and ``resolved`` or ``score``.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

import msgspec

from liveweights.scoreboard.instances import IDS, find_id
from liveweights.scoreboard.results import IMPORT, Conditions, Result, ScoreboardError

OUTCOMES = ("resolved", "score", "reward", "passed")
ENOUGH = ("submitted_ids", "completed_ids", "unresolved_ids")
"""Lists of a report of which one at least names what was tried and not resolved."""
TRIED = (*ENOUGH, "error_ids", "empty_patch_ids")
_REPOSITORY = re.compile(r"(?:instance_)?([\w.-]+?__[\w.-]+?)-[0-9a-f]+(?:-|$)")


def parse_results(text: str, instances: Sequence[str] = ()) -> list[Result]:
    """One per instance, by id; those of one repository (``owner__name-...``) are a group.

    ``instances`` are the ids of all; those without a result score 0. Raises ScoreboardError for a
    text that has none of the shapes, an outcome that is no score in [0, 1], an id that is there
    twice or is none of ``instances``, and, without ``instances``, for a report that names only what
    was resolved, or fewer instances than it is of.
    """
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        value = _parse_lines(text, error)
    results = _read(value, has_all=bool(instances))
    if instances:
        results += _fail_others(results, instances)
    results.sort(key=lambda one: one.case)
    if not results:
        raise ScoreboardError("there are no results in it")
    for one, other in pairwise(results):
        if one.case == other.case:
            raise ScoreboardError(f"{one.case} is there twice")
    return results


def conditions_for(
    results: Iterable[Result], *, suite: str, version: str, harness: str, source: str
) -> Conditions:
    """Of results that somebody else has: the cases stand for what was asked."""
    cases = sorted(result.case for result in results)
    return Conditions(
        suite=suite,
        version=version,
        content=hashlib.sha256("\n".join(cases).encode()).hexdigest(),
        harness=harness,
        samples=1,
        seconds=0.0,
        temperature=0.0,
        max_tokens=0,
        seed=0,
        cases=len(cases),
        runner=IMPORT,
        source=source,
    )


def _parse_lines(text: str, whole: Exception) -> list[Any]:
    # Not splitlines(): strings of JSON may hold U+2028 and others that it takes for ends of lines.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if len(lines) < 2:
        raise ScoreboardError(f"it is no JSON: {whole}") from whole
    values: list[Any] = []
    for number, line in lines:
        try:
            values.append(msgspec.json.decode(line))
        except msgspec.DecodeError as error:
            raise ScoreboardError(f"line {number} is no JSON: {error}") from error
    return values


def _read(value: object, *, has_all: bool) -> list[Result]:
    match value:
        case {"resolved_ids": list()} | {"resolved": list()}:
            return _read_report(cast(dict[str, Any], value), has_all=has_all)
        case {"per_instance_details": dict() as inner} | {"results": (dict() | list()) as inner}:
            return _read(cast(object, inner), has_all=has_all)
        case dict():
            return [_result(str(id_), one) for id_, one in cast(dict[str, Any], value).items()]
        case list():
            return [_read_item(number, one) for number, one in enumerate(cast(list[Any], value), 1)]
        case _:
            raise ScoreboardError("it is neither an object nor a list of results")


def _read_report(report: Mapping[str, Any], *, has_all: bool) -> list[Result]:
    name = "resolved_ids" if "resolved_ids" in report else "resolved"
    if not has_all and not any(isinstance(report.get(one), list) for one in ENOUGH):
        raise ScoreboardError(
            f"it names what was resolved (`{name}`), but not all that was tried, so that everything"
            " would seem solved; give the ids of all instances (--instances FILE), or a report with"
            f" one of {', '.join(ENOUGH)}"
        )
    resolved = {str(one) for one in report[name]}
    lists = [report[one] for one in TRIED if isinstance(report.get(one), list)]
    tried = {str(one) for ids in lists for one in ids} | resolved
    total = report.get("total_instances")
    if not has_all and isinstance(total, int) and len(tried) < total:
        raise ScoreboardError(
            f"it is of {total} instances (`total_instances`), but names {len(tried)} that were"
            " tried; give the ids of all that count (--instances FILE): others score 0"
        )
    return [_result(one, one in resolved) for one in tried]


def _fail_others(results: Sequence[Result], instances: Sequence[str]) -> list[Result]:
    """Results of 0 for the instances that have none."""
    there = {one.case for one in results}
    strange = sorted(there - set(instances))
    if strange:
        raise ScoreboardError(
            f"{strange[0]} is none of the {len(instances)} instances that were given"
            + (f", and {len(strange) - 1} more" if len(strange) > 1 else "")
        )
    return [_result(one, False) for one in instances if one not in there]


def _read_item(number: int, item: object) -> Result:
    if not isinstance(item, dict):
        raise ScoreboardError(f"result {number} is no object")
    values = cast(dict[str, Any], item)
    id_ = find_id(values)
    if id_ is None:
        raise ScoreboardError(f"result {number} has none of {', '.join(IDS)}")
    return _result(str(id_), values)


def _result(id_: str, outcome: object) -> Result:
    if isinstance(outcome, dict):
        values = cast(dict[str, Any], outcome)
        outcome = next((values[name] for name in OUTCOMES if name in values), None)
    if not isinstance(outcome, bool | int | float) or not _is_score(outcome):
        raise ScoreboardError(
            f"{id_}: {outcome!r} is no outcome; it is true, false or a score in [0, 1], or an"
            f" object with one of {', '.join(OUTCOMES)}"
        )
    repository = _REPOSITORY.match(id_)
    return Result(case=id_, score=float(outcome), group=repository[1] if repository else None)


def _is_score(value: float) -> bool:
    return math.isfinite(value) and 0 <= value <= 1
