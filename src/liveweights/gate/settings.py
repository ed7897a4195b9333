"""What a candidate must show before anyone is answered by it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from liveweights import bounds

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class GateSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Margins and bounds, fixed before the evidence is seen."""

    confidence: Annotated[
        float,
        msgspec.Meta(gt=0.5, lt=1, description="Two-sided confidence of every interval."),
    ] = 0.95
    primary: Annotated[
        Literal["reward", "either"],
        msgspec.Meta(
            description=(
                "Where the improvement must show. 'reward': in the reward of what both answer to"
                " held-back prompts, or in the likelihood where there are too few of these."
                " 'either': in one of the two, each at half the error rate (Bonferroni), with the"
                " mean reward not below its margin."
            )
        ),
    ] = "reward"
    cases: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=bounds.COUNT,
            description=(
                "Most held-back completions, of this cycle and of earlier ones, that candidate and"
                " incumbent both answer; of chats as many at most, and twice `gate.min_answers`."
            ),
        ),
    ] = 200
    silence_cases: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=bounds.COUNT,
            description=(
                "Most of these, where a candidate may learn when to say nothing: beyond 'cases', as"
                " many as it takes to find 45 accepted answers among them. Each is drafted by both"
                " once."
            ),
        ),
    ] = 1000
    min_cases: Annotated[
        int,
        msgspec.Meta(
            ge=2, le=bounds.COUNT, description="Fewest paired cases that an interval is drawn from."
        ),
    ] = 30
    min_sessions: Annotated[
        int,
        msgspec.Meta(
            ge=2, le=bounds.COUNT, description="Fewest sessions that those cases come from."
        ),
    ] = 5
    min_changed: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=bounds.COUNT,
            description=(
                "Fewest cases on which candidate and incumbent differ; below, an interval for"
                " their difference is too narrow to trust."
            ),
        ),
    ] = 10
    reward_margin: Annotated[
        float, msgspec.Meta(ge=0, le=2, description="Loss of mean reward that still is not harm.")
    ] = 0.02
    likelihood_margin: Annotated[
        float,
        msgspec.Meta(
            ge=0,
            le=bounds.WEIGHT,
            description=(
                "Loss of mean log-likelihood of what users accepted or wrote, in nats per token,"
                " that still is not harm."
            ),
        ),
    ] = 0.05
    smallest_effect: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=2,
            description="Gain in mean reward worth finding; says how many cases a verdict needs.",
        ),
    ] = 0.02
    power: Annotated[
        float, msgspec.Meta(gt=0, lt=1, description="Chance of finding that gain, if it is there.")
    ] = 0.8
    ess_floor: Annotated[
        float,
        msgspec.Meta(
            ge=2,
            le=bounds.WEIGHT,
            description="Fewest effective samples that an off-policy estimate is used from.",
        ),
    ] = 30.0
    estimator: Annotated[
        Literal["snips", "ips", "doubly_robust"],
        msgspec.Meta(
            description=(
                "Which off-policy estimate counts. 'doubly_robust' has candidate and incumbent"
                " answer the held-back prompts once more, as warm as they were served."
            )
        ),
    ] = "snips"
    ratio_clip: Annotated[
        float,
        msgspec.Meta(
            gt=1,
            le=bounds.WEIGHT,
            description="Largest weight of one answer in the off-policy estimate.",
        ),
    ] = 10.0
    max_drift: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=bounds.WEIGHT,
            description="Largest divergence from the incumbent on served answers, nats per token.",
        ),
    ] = 0.5
    min_answers: Annotated[
        int,
        msgspec.Meta(ge=1, le=bounds.COUNT, description="Fewest answers that the monitors judge."),
    ] = 30
    max_silence: Annotated[
        Share, msgspec.Meta(description="Largest share of prompts that are left unanswered.")
    ] = 0.9
    max_withheld: Annotated[
        Share,
        msgspec.Meta(
            description=(
                "Largest rise of that share in one release, by the upper end of its interval where"
                " it is decided when to say nothing: fewer suggestions, a step at a time."
            )
        ),
    ] = 0.4
    keep_accepted: Annotated[
        Share,
        msgspec.Meta(
            description=(
                "Share of what users would accept of a candidate that its silence leaves, by the"
                " end of the interval; or accepted completions that it has for one of the"
                " incumbent's. Until thirty drafts on held-back prompts are such, nothing is"
                " withheld. 0: no such bound."
            )
        ),
    ] = 0.95
    max_length_ratio: Annotated[
        float,
        msgspec.Meta(
            gt=1,
            le=bounds.WEIGHT,
            description=(
                "How many times longer or shorter the mean visible answer may become in one"
                " release."
            ),
        ),
    ] = 3.0
    max_repetition_rise: Annotated[
        Share,
        msgspec.Meta(description="Largest rise of the share of repeated 4-grams in answers."),
    ] = 0.1
    max_question_rise: Annotated[
        Share,
        msgspec.Meta(description="Largest rise of the share of answers that end in a question."),
    ] = 0.2
    max_invalid_call_rise: Annotated[
        Share,
        msgspec.Meta(
            description="Largest rise of the share of answers with a tool call that is not JSON."
        ),
    ] = 0.02
    max_refusal_rise: Annotated[
        Share,
        msgspec.Meta(
            description=(
                "Largest rise of the share of answers that decline, by how English refusals begin."
            )
        ),
    ] = 0.1
    sentinels: Annotated[
        dict[str, str],
        msgspec.Meta(
            description=(
                "Further signs of a hacked reward: a name and a regular expression that is searched"
                " in every answer, such as { apology = '(?i)sorry|apologi' }."
            )
        ),
    ] = {}
    max_sentinel_rise: Annotated[
        Share,
        msgspec.Meta(description="Largest rise of the share of answers in which one is found."),
    ] = 0.1
    suites: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            description=(
                "Suites that a candidate must not be worse on, asked where everything else"
                " passes: names of `liveweights suites`, folders, package:NAME, inspect:FILE@TASK."
            )
        ),
    ] = ()
    episodes: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            description=(
                "Suites of whole tasks with tools, asked beside those where the cycle has episodes"
                " and nothing else fails. A candidate that is worse on one is not released; being"
                " better on one is the improvement where none could be measured on held-back rows."
                " What cannot be run here is left out."
            )
        ),
    ] = ("tools", "search", "terminal")
    episode_seconds: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=bounds.SECONDS,
            description="Most seconds for these together; what was answered by then counts.",
        ),
    ] = 600.0
    better: Annotated[
        tuple[str, ...],
        msgspec.Meta(description="Those of them on which it must be better."),
    ] = ()
    margins: Annotated[
        dict[str, Annotated[float, msgspec.Meta(gt=0, lt=1)]],
        msgspec.Meta(
            description="Loss of mean score that is no harm, by suite; else the suite's card says."
        ),
    ] = {}
    suite_cases: Annotated[
        int,
        msgspec.Meta(
            ge=0, le=bounds.COUNT, description="Most cases that are asked of a suite; 0: all."
        ),
    ] = 0
    suite_concurrency: Annotated[
        int, msgspec.Meta(ge=1, le=4096, description="Cases that are asked at the same time.")
    ] = 2
    suite_seed: Annotated[
        int, msgspec.Meta(ge=0, le=bounds.COUNT, description="What the cases' seeds are made from.")
    ] = 0

    def __post_init__(self) -> None:
        for name, pattern in self.sentinels.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(
                    f"gate.sentinels.{name} is no regular expression: {error}"
                ) from error
        for key, names in (("better", self.better), ("margins", self.margins)):
            known = (*self.suites, *(self.episodes if key == "margins" else ()))
            if unknown := [name for name in names if name not in known]:
                raise ValueError(f"gate.{key} names {unknown[0]!r}, which gate.suites does not")
        for name, margin in self.margins.items():
            if not 0 < margin < 1:
                raise ValueError(f"gate.margins.{name} is {margin}; it must be between 0 and 1")
