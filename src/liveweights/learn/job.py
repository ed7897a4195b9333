"""What an update's process is given, says while it computes, and leaves behind: files of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from liveweights.catalog.template import TemplateSettings
from liveweights.learn.conduct import Conduct
from liveweights.learn.rewards import RewardMap
from liveweights.learn.settings import LearnSettings
from liveweights.record.example import Example
from liveweights.weights.checkpoint import Kind

RESULT = "result.json"
"""Written last: where it is, the update has ended."""
PROGRESS = "progress.json"
RESUME = "resume.pt"
"""What a killed update goes on from; gone when it has ended."""
WEIGHTS = "weights"

T = TypeVar("T")


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """Folders of whole weights, and of the adapter on them, if there is one."""

    base: str
    adapter: str | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to learn from and from where.

    ``base`` is a folder of whole weights: the incumbent's own, or those that its adapter, which
    is in ``parent`` then, is on; ``incumbent`` is the checkpoint whose answers have the
    log-probabilities of these. With a ``candidate`` nothing is learnt: the held-back rows are
    scored under the incumbent and under that. With a ``rival`` the update does not begin with the
    incumbent, and that is what its held-back rows are compared with.
    """

    base: str
    parent: str | None
    incumbent: str
    train: list[Example]
    held_back: list[Example]
    follow_ups: dict[str, list[int]] = {}
    """Of chat answers, by generation: the prompt of the session's next request."""
    earlier: dict[str, int] = {}
    """Votes of earlier cycles, by user (`voters.name_of`)."""
    baseline_weight: dict[str, float]
    baseline_total: dict[str, float]
    rewards: RewardMap
    settings: LearnSettings
    template: TemplateSettings = TemplateSettings()
    ways: str = ""
    """Folder of the ways of computing that were found before; see `ways`."""
    candidate: Weights | None = None
    rival: Weights | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Where a running update stands: rows done and in all, and the last step's figures."""

    done: int
    total: int
    steps: int
    loss: float
    kl: float
    grad_norm: float


Stage = Literal["scoring", "comparing", "updating", "measuring", "asking"]
"""``scoring``: held-back rows under the incumbent. ``comparing``: what the server recorded with
what the trainer computes. ``measuring``: the held-back rows again, after the update. ``asking``: a
gate asks both checkpoints."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a step of a cycle stands: rows done and in all of its ``stage`` (0: not known yet), and
    the ``part`` in [0, 1] of the whole work; seconds of the stage, and of all so far. Of an update
    also the last gradient step's figures."""

    stage: Stage
    done: int
    total: int
    part: float
    stage_seconds: float
    seconds: float
    steps: int = 0
    loss: float = 0.0
    kl: float = 0.0
    grad_norm: float = 0.0

    @property
    def rows_per_second(self) -> float | None:
        """Of the stage; None before its first row."""
        return self.done / self.stage_seconds if self.done and self.stage_seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Of the whole work, if the rest of it is done as fast; None before the first row."""
        return self.seconds * (1 - self.part) / self.part if self.part > 0 else None


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A held-back answer (``text`` is "answer") or what the user wrote ("truth"), with its mean
    log-probability per token under incumbent and candidate."""

    generation: str
    text: str
    before: float
    after: float


class HeldBack(msgspec.Struct, frozen=True, kw_only=True):
    """A row that the update never saw, under candidate and incumbent.

    ``session`` is a hash of what varies together. Log-probabilities are natural; ``*_answer``
    of the served tokens, ``*_truth`` the mean over those of the text that the user took or
    wrote (None where nobody knows), ``shown`` that with which the served answer was shown, None
    where nothing could have withheld it. ``*_confidence`` is how sure either is of the served
    answer (see ``catalog.selection``), at temperature 1 whatever it was served at.
    """

    generation: str
    session: str
    reward: float | None
    temperature: float = 1.0
    candidate_answer: list[float]
    incumbent_answer: list[float]
    behaviour: list[float]
    candidate_truth: float | None = None
    incumbent_truth: float | None = None
    shown: float | None = None
    candidate_confidence: float = 0.0
    incumbent_confidence: float = 0.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a cycle learnt from, and how.

    ``signals`` counts examples by the signal that counted most in their reward, ``roles`` rows
    by what they teach, ``masks`` what teaches nothing by the reason; ``masked`` are the rows
    among these that are too far off-policy. ``outliers`` are users, or all new users of a key,
    who were left out, with their distance in standard errors. ``mismatch`` is the mean absolute
    difference in nats between the server's log-probabilities and the trainer's of the same
    weights, over a part of the incumbent's answers; ``ratio`` the mean geometric ratio of these
    and of all others' answers, None where it is beyond all numbers.

    ``kl`` is what the penalty saw on the last step's rows, to the incumbent, in nats per token;
    ``divergence`` that of the candidate as it is, on ``watched`` rows that were not trained on
    (see `drift`), or on trained ones where none was held back. ``scale`` is the part of the update
    that was kept for it (see `trust`), ``rate`` the mean factor on the step size (see `pace`).
    ``steps`` were made, ``skipped`` not, whose loss or gradient was no finite number.
    ``entropy`` is of the next token on held-back answers, in nats, before and after. ``grad_norm``
    is the mean over steps, before clipping. ``served_routing`` are the rows whose answers went
    through the experts that served them, ``unfit_routing`` those whose recorded experts are not of
    this model. ``way`` is how log-probabilities were computed. ``resumed`` are steps that a start
    which was killed had made. ``conduct`` is of the episodes that were learnt from.
    """

    signals: dict[str, int]
    roles: dict[str, int] = {}
    masks: dict[str, int] = {}
    outliers: dict[str, float] = {}
    rows: int = 0
    taught: int = 0
    masked: int = 0
    steps: int = 0
    skipped: int = 0
    mean_reward: float = 0.0
    ratio: float | None = 1.0
    mismatch: float | None = None
    kl: float = 0.0
    divergence: float | None = None
    watched: int = 0
    scale: float = 1.0
    rate: float = 1.0
    grad_norm: float = 0.0
    grad_norm_max: float = 0.0
    loss: float = 0.0
    entropy_before: float | None = None
    entropy: float | None = None
    served_routing: int = 0
    unfit_routing: int = 0
    way: str = ""
    resumed: int = 0
    moved: list[Moved] = []
    alarms: list[str] = []
    conduct: Conduct | None = None
    seconds: float = 0.0


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a job came to; without ``taught`` rows there are no weights of that ``kind``.

    ``left_out`` are the generations, held back or not, whose votes stood apart from all others'.
    ``broken`` says why there is nothing to judge: weights that compute no numbers.
    """

    report: Report
    kind: Kind = "adapter"
    held_back: list[HeldBack]
    left_out: list[str] = []
    broken: str = ""
    baseline_weight: dict[str, float]
    baseline_total: dict[str, float]


def read_job(file: Path) -> Job:
    """Raises OSError, and msgspec.MsgspecError for what is no job."""
    return msgspec.json.decode(file.read_bytes(), type=Job)


def spread(items: Sequence[T], many: int) -> list[T]:
    """So ``many`` of them, from the first on as far apart as they can be; all where there are no
    more."""
    count = len(items)
    return [items[place * count // many] for place in range(many)] if count > many else list(items)
