"""How a checkpoint that passed the gate reaches users."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from liveweights import bounds


class CanarySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The live comparison of a candidate with what it would replace."""

    steps: Annotated[
        tuple[Annotated[float, msgspec.Meta(gt=0, le=1)], ...],
        msgspec.Meta(
            min_length=1,
            description="Shares of sessions that the canary answers, one after the other.",
        ),
    ] = (0.05, 0.25, 0.5)
    step_rewards: Annotated[
        int,
        msgspec.Meta(
            ge=1, le=bounds.COUNT, description="Rewards of the canary after which a step is done."
        ),
    ] = 20
    step_seconds: Annotated[
        float,
        msgspec.Meta(
            ge=0,
            le=bounds.SECONDS,
            description=(
                "Shortest step. The longest is the step's part of `max_seconds`, however few"
                " rewards came in it."
            ),
        ),
    ] = 60.0
    shadow: Annotated[
        float,
        msgspec.Meta(
            ge=0,
            le=1,
            description=(
                "Share of requests that the canary answers too, for nobody to see, before the"
                " first step. 0: the canary begins with the first step."
            ),
        ),
    ] = 0.0
    shadow_answers: Annotated[
        int, msgspec.Meta(ge=1, le=bounds.COUNT, description="Answers after which the shadow ends.")
    ] = 50
    shadow_seconds: Annotated[
        float,
        msgspec.Meta(gt=0, le=bounds.SECONDS, description="Seconds after which the shadow ends."),
    ] = 300.0
    alpha: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            lt=1,
            description=(
                "Chance of rolling back a canary that is not worse, and of promoting early one"
                " that is worse by the margin, however often the figures are looked at."
            ),
        ),
    ] = 0.05
    guard_alpha: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            lt=1,
            description=(
                "Chance of rolling back a canary whose errors, latency and habits are all within"
                " their bounds, however often the figures are looked at."
            ),
        ),
    ] = 0.01
    max_error_rise: Annotated[
        float,
        msgspec.Meta(ge=0, lt=1, description="Rise of the share of failed answers to bear."),
    ] = 0.02
    max_latency_ratio: Annotated[
        float,
        msgspec.Meta(
            ge=1,
            le=bounds.WEIGHT,
            description="How many times longer a typical answer of the canary may take.",
        ),
    ] = 1.5
    margin: Annotated[
        float,
        msgspec.Meta(
            ge=0, le=bounds.WEIGHT, description="Loss of mean reward that is not worth an alarm."
        ),
    ] = 0.05
    lowest: Annotated[
        float,
        msgspec.Meta(
            ge=-bounds.WEIGHT,
            le=bounds.WEIGHT,
            description="Lowest reward of one answer; what is lower counts as this.",
        ),
    ] = -1.0
    highest: Annotated[
        float,
        msgspec.Meta(
            ge=-bounds.WEIGHT,
            le=bounds.WEIGHT,
            description="Highest reward of one answer; what is higher counts as this.",
        ),
    ] = 1.0
    few_sessions: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=bounds.COUNT,
            description=(
                "With fewer sessions in the day before it, a canary's share is of the answers, each"
                " drawn for itself, and it begins with the first step that can bring `step_rewards`"
                " in time. 0: the share always is of sessions."
            ),
        ),
    ] = 20
    unit: Annotated[
        Literal["session", "reward"],
        msgspec.Meta(
            description=(
                "What counts as one independent case. 'session': the mean of a session's first"
                " rewards. 'reward': every reward; needs less traffic, and is right only where"
                " the rewards of one session are no more alike than those of two."
            )
        ),
    ] = "session"
    session_rewards: Annotated[
        int,
        msgspec.Meta(
            ge=1, le=bounds.COUNT, description="Rewards after which a session is counted."
        ),
    ] = 8
    session_idle: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=bounds.SECONDS,
            description="Seconds without a reward after which it is counted.",
        ),
    ] = 300.0
    min_rewards: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=bounds.COUNT,
            description="Fewest rewards of the canary without which it is not promoted.",
        ),
    ] = 20
    max_rewards: Annotated[
        int,
        msgspec.Meta(
            ge=1, le=bounds.COUNT, description="Rewards of the canary after which it is decided."
        ),
    ] = 2000
    max_seconds: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=bounds.SECONDS,
            description="Seconds after which it is decided, if `min_rewards` came by then.",
        ),
    ] = 1800.0
    longest_seconds: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=bounds.SECONDS,
            description=(
                "Seconds after which it is decided in any case: where reactions are rare, a canary"
                " goes on until `min_rewards` came, for so long at most."
            ),
        ),
    ] = 86_400.0
    at_limit: Annotated[
        Literal["promote", "abort"],
        msgspec.Meta(
            description=(
                "What happens at the limit when nothing is proven. 'promote': the gate's PASS"
                " counts, unless the canary's mean is below the live one's by more than the"
                " margin. 'abort': only proof promotes."
            )
        ),
    ] = "promote"

    def __post_init__(self) -> None:
        if not self.lowest < self.highest:
            raise ValueError(f"lowest ({self.lowest}) must be below highest ({self.highest})")
        if self.margin >= self.highest - self.lowest:
            raise ValueError("margin must be below the width of the rewards' range")
        if list(self.steps) != sorted(set(self.steps)):
            raise ValueError(f"steps must rise: {list(self.steps)}")


class DeploymentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an instance keeps in its engine."""

    max_resident: Annotated[
        int, msgspec.Meta(ge=2, le=4096, description="Most checkpoints that are resident at once.")
    ] = 4
    keep_previous: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=4096,
            description="Former live checkpoints per alias that stay resident, for rollback.",
        ),
    ] = 1
    max_tenant_adapters: Annotated[
        int,
        msgspec.Meta(
            ge=2,
            le=4096,
            description="Most checkpoints of tenants that are resident at once, beside"
            " `max_resident`, where `learn.per_tenant` is set: the one that was asked for longest"
            " ago is unloaded, once its last answer has ended. Its tenant's next request is"
            " answered by the shared checkpoint while its own is loaded again.",
        ),
    ] = 16
    load_waiting: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=bounds.COUNT,
            description="Requests that may wait for one model to be loaded, where"
            " `models.memory_gib` is given; more are refused (503).",
        ),
    ] = 64
    load_seconds: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=bounds.SECONDS,
            description="Longest time that each of them waits; then it is refused (503).",
        ),
    ] = 120.0
    interval: Annotated[
        float,
        msgspec.Meta(
            ge=bounds.LEAST_SECONDS,
            le=bounds.SECONDS,
            description="Seconds between looks at what should be resident.",
        ),
    ] = 1.0
    heartbeat: Annotated[
        float,
        msgspec.Meta(
            ge=bounds.LEAST_SECONDS,
            le=bounds.SECONDS,
            description="Seconds between signs of life in the database.",
        ),
    ] = 3.0
    max_retry: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=bounds.SECONDS,
            description="Longest pause, in seconds, before loading is retried.",
        ),
    ] = 30.0

    def most(self, *, per_tenant: bool) -> int:
        """Checkpoints that are resident at once, of tenants, too, where each has its own."""
        return self.max_resident + (self.max_tenant_adapters if per_tenant else 0)


class SigningSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who made a checkpoint; what it holds is checked before every load in any case."""

    key: Annotated[
        str,
        msgspec.Meta(
            description=(
                "Private key (PEM) that the worker signs checkpoints with; `liveweights make-key`"
                " makes one. Empty: they are not signed."
            )
        ),
    ] = ""
    public_key: Annotated[
        str,
        msgspec.Meta(
            description=(
                "Public key (PEM). With it only checkpoints that are signed by its owner are"
                " loaded; a base may be unsigned."
            )
        ),
    ] = ""


class RetentionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which checkpoints stay on disk. Whatever an alias, a canary, an open cycle, a rollback or
    another checkpoint needs stays in any case; so does every row in the database."""

    rollback_targets: Annotated[
        int,
        msgspec.Meta(
            ge=1, le=bounds.COUNT, description="Former live checkpoints per alias that stay."
        ),
    ] = 10
    released: Annotated[
        int,
        msgspec.Meta(
            ge=0, le=bounds.COUNT, description="Checkpoints that stay of those that ever were live."
        ),
    ] = 50
    days: Annotated[
        float,
        msgspec.Meta(
            ge=0, le=bounds.DAYS, description="Days for which those that never were live stay."
        ),
    ] = 7.0
    cycles: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=bounds.COUNT,
            description=("Last cycles per alias whose updates' files stay, to look into."),
        ),
    ] = 3
    free_gb: Annotated[
        float,
        msgspec.Meta(
            ge=0,
            le=bounds.WEIGHT,
            description=(
                "With less free disk than so many gigabytes, the oldest that nothing needs go"
                " first, whatever the other keys say."
            ),
        ),
    ] = 2.0
