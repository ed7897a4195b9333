"""When a candidate is to say nothing: fitted to its own drafts, within bounds that hold for them.

Candidate and incumbent draft the same recorded prompts, which neither was trained on, greedily and
as they are served. What the drafts would have earned is known where the user's wish is. The
objective is reward; how much of the incumbent's talking a candidate may drop, and how much its
silence may cost of the completions that users would have accepted, are bounds, each by the end of
its interval, and of those requests alone that may be met with silence: others would dilute them.
Where evidence is too thin for a bound, more is said. What its texts cost, which no talking mends,
is for the gate to judge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import msgspec
import numpy as np
from numpy.typing import NDArray

from liveweights.gate.forgone import BoolArray, forgone_shares
from liveweights.gate.scoring import Case, Values
from liveweights.gate.selection import Drafted, fit_selection, show_from
from liveweights.gate.settings import GateSettings
from liveweights.gate.statistics import Difference, adjusted_difference, paired_difference
from liveweights.learn.settings import LearnSettings
from liveweights.learn.shares import bound
from liveweights.weights.selection import Selection

FOLDS = 5
CURVE = 20
"""Points of a curve, from showing nothing to showing everything."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a checkpoint would say, and how sure it is (see ``catalog.selection``); NaN where its
    engine does not say how likely tokens are, so that nothing of it can be withheld."""

    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A case with both drafts."""

    case: Case
    candidate: Draft
    incumbent: Draft


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """The candidate's selection, and what it does on the drafts that it was fitted to.

    ``selection`` is None where everything is shown. ``held_by`` says what set the point: the
    reward, or the bound that made it say more. ``withheld`` is how often either says nothing,
    candidate minus incumbent; ``kept`` the accepted completions of the candidate for one of the
    incumbent's, with ``kept_low`` the lower end of the interval; ``forgone`` the most of its own
    accepted completions that its silence costs, by the upper end; all of the cases that may be met
    with silence, and None where nothing tells. The curves, of all cases, are pairs (share of the
    drafts that are shown, share of the judged cases in which an accepted one is), with the chosen
    points.
    """

    cases: int
    judged: int
    selection: Selection | None
    held_by: str
    withheld: Difference | None
    kept: float | None
    kept_low: float | None
    forgone: float | None
    candidate_curve: list[tuple[float, float]]
    incumbent_curve: list[tuple[float, float]]
    candidate_point: tuple[float, float] | None
    incumbent_point: tuple[float, float] | None


def is_right(text: str, case: Case) -> bool | None:
    """Whether the user would have taken a draft; None where nobody knows."""
    if case.truth is not None:
        return bool(text.strip()) and text.rstrip() == case.truth.rstrip()
    if case.rejected is not None and text.rstrip() == case.rejected.rstrip():
        return False
    return None


def show(draft: Draft, case: Case, selection: Selection | None) -> str:
    """What the user gets of a draft."""
    if selection is None or not case.may_be_silent or math.isnan(draft.confidence):
        return draft.text
    return draft.text if selection.shows(draft.confidence) else ""


def compare_accepted(
    candidate_B: Sequence[bool] | BoolArray,
    incumbent_B: Sequence[bool] | BoolArray,
    sessions_B: Sequence[str],
    *,
    share: float,
    confidence: float,
    weights_B: Sequence[float] | None = None,
) -> Difference:
    """How often users would have accepted an answer, less the ``share`` of the incumbent's that has
    to be left; safe where few answers differ."""
    return adjusted_difference(
        np.asarray(candidate_B, dtype=float),
        share * np.asarray(incumbent_B, dtype=float),
        sessions_B,
        confidence,
        added=1,
        weights_B=weights_B,
    )


def may_say_nothing(cases: Sequence[Case], learn: LearnSettings) -> bool:
    """Whether silence is worth anything, and welcome to anybody."""
    return learn.silence_weight > 0 and any(case.may_be_silent for case in cases)


def calibrate(
    asked: Sequence[Asked],
    incumbent: Selection | None,
    values: Values,
    *,
    settings: GateSettings,
    learn: LearnSettings,
) -> Calibration:
    """Fit the candidate's selection; ``incumbent`` is the other's own."""
    drafts = _Drafts(asked, incumbent, values, learn)
    selection, held_by, forgone = None, "nothing to fit", None
    if drafts.worth_it:
        fitted = drafts.fit(np.ones(len(asked), bool))
        costs = drafts.silence_costs(settings.confidence)
        selection, held_by = _within(drafts, fitted, costs, settings)
        forgone = float(costs[drafts.hidden(drafts.shown(selection))])
    shown = drafts.shown(selection)
    kept, low = drafts.kept(shown, settings.confidence)
    return Calibration(
        cases=len(asked),
        judged=int(drafts.judged.sum()),
        selection=selection,
        held_by=held_by,
        withheld=drafts.withheld(shown, settings.confidence),
        kept=kept,
        kept_low=low,
        forgone=forgone,
        candidate_curve=drafts.curve(drafts.confidence, drafts.right),
        incumbent_curve=drafts.curve(drafts.their_confidence, drafts.their_right),
        candidate_point=drafts.point(shown, drafts.right),
        incumbent_point=drafts.point(drafts.their_shown, drafts.their_right),
    )


def cross_fit(
    asked: Sequence[Asked],
    incumbent: Selection | None,
    chosen: Selection | None,
    *,
    values: Values,
    learn: LearnSettings,
) -> list[bool]:
    """Whether the candidate shows each draft, decided without the draft's own session.

    The selection is fitted again without each fifth of the sessions (Chernozhukov et al. 2018,
    "Double/debiased machine learning", definition 3.1), so that a draft does not tell what is done
    with itself; where ``chosen`` says more than the reward alone would, so do these. One that says
    less was not fitted to these drafts, and decides as it is.
    """
    drafts = _Drafts(asked, incumbent, values, learn)
    if chosen is None or not drafts.worth_it:
        return drafts.shown(chosen).tolist()
    least = chosen.threshold
    whole = drafts.fit(np.ones(len(asked), bool)).threshold
    bounded = least < whole
    if not bounded and not math.isclose(least, whole):
        return drafts.shown(chosen).tolist()
    _, session_B = np.unique([one.case.session for one in asked], return_inverse=True)
    fold_B = np.random.default_rng(0).permutation(int(session_B.max()) + 1)[session_B] % FOLDS
    shown = np.zeros(len(asked), bool)
    for fold in range(FOLDS):
        if not (mine := fold_B == fold).any():
            continue
        fitted = drafts.fit(~mine)
        if bounded:
            fitted = show_from(fitted, min(least, fitted.threshold))
        shown[mine] = drafts.shown(fitted)[mine]
    return shown.tolist()


class _Drafts:
    """Columns of the cases, and what follows from showing some of the candidate's drafts.

    ``judged`` are the cases of which it is known whether either's draft is right.
    """

    def __init__(
        self,
        asked: Sequence[Asked],
        incumbent: Selection | None,
        values: Values,
        learn: LearnSettings,
    ) -> None:
        self._asked = asked
        self._learn = learn
        self.gain = values.accepted - values.silence
        self.cost = learn.silence_weight * (values.silence - values.rejected)
        self.sessions = [one.case.session for one in asked]
        ours = [is_right(one.candidate.text, one.case) for one in asked]
        theirs = [is_right(one.incumbent.text, one.case) for one in asked]
        self.known = np.array([right is not None for right in ours], bool)
        self.right = np.array([right is True for right in ours], bool)
        self.their_right = np.array([right is True for right in theirs], bool)
        self.judged = self.known & np.array([right is not None for right in theirs], bool)
        self.confidence = np.array([one.candidate.confidence for one in asked], float)
        self.their_confidence = np.array([one.incumbent.confidence for one in asked], float)
        self.blank = np.array([not one.candidate.text.strip() for one in asked], bool)
        self.may = np.array([one.case.may_be_silent for one in asked], bool)
        self.their_shown = np.array(
            [bool(show(one.incumbent, one.case, incumbent).strip()) for one in asked], bool
        )
        self.selectable = self.may & ~self.blank & ~np.isnan(self.confidence)

    @property
    def worth_it(self) -> bool:
        """Whether there is anything to decide, and a reason to."""
        return self.gain > 0 and self.cost > 0 and bool((self.selectable & self.known).any())

    def fit(self, among: BoolArray) -> Selection:
        """To those of these drafts of which it is known what they would have earned; nobody's
        reactions count for more than in an update."""
        drafted = [
            Drafted(
                confidence=one.candidate.confidence,
                weight=-self.gain if right else self.cost,
                voter=one.case.voter,
            )
            for one, right, chosen in zip(
                self._asked, self.right, among & self.selectable & self.known, strict=True
            )
            if chosen
        ]
        return fit_selection(bound(drafted, self._learn), self.gain, self.cost)

    def _sessions_of(self, among: BoolArray) -> list[str]:
        return [one for one, chosen in zip(self.sessions, among, strict=True) if chosen]

    def shown(self, selection: Selection | None) -> BoolArray:
        return np.array(
            [bool(show(one.candidate, one.case, selection).strip()) for one in self._asked], bool
        )

    def withheld(self, shown: BoolArray, confidence: float) -> Difference | None:
        if not self.may.any():
            return None
        return paired_difference(
            (~shown)[self.may].astype(float),
            (~self.their_shown)[self.may].astype(float),
            self._sessions_of(self.may),
            confidence,
        )

    def kept(self, shown: BoolArray, confidence: float) -> tuple[float | None, float | None]:
        """Accepted completions for one of the incumbent's, and the lower end of the interval: the
        share at which it would no longer be clear that as many are left (Fieller 1954)."""
        of = self.judged & self.may
        theirs = int((self.their_right & self.their_shown & of).sum())
        if not theirs:
            return None, None
        ours = int((self.right & shown & of).sum())
        low, high = 0.0, 1.0
        for _ in range(20):
            middle = (low + high) / 2
            if self.keeps(shown, middle, confidence):
                low = middle
            else:
                high = middle
        return ours / theirs, low

    def keeps(self, shown: BoolArray, share: float, confidence: float) -> bool:
        """Whether at least this share of the incumbent's accepted completions is left for sure."""
        if share <= 0.0:
            return True
        of = self.judged & self.may
        if not of.any():
            return False
        difference = compare_accepted(
            (self.right & shown)[of],
            (self.their_right & self.their_shown)[of],
            self._sessions_of(of),
            share=share,
            confidence=confidence,
        )
        return difference.low is not None and difference.low >= 0.0

    def silence_costs(self, confidence: float) -> NDArray[np.float64]:
        """At place k the most, by the upper end of the interval, of its own right drafts that are
        not shown where the k least sure are not."""
        among = self.selectable & self.known
        return forgone_shares(
            self.confidence[among],
            self.right[among],
            self._sessions_of(among),
            confidence=confidence,
            always=int((self.right & self.known & self.may & ~among).sum()),
        )

    def hidden(self, shown: BoolArray) -> int:
        """How many drafts are not shown, of those that `silence_costs` is told of."""
        return int((self.selectable & self.known & ~shown).sum())

    def curve(self, confidence: NDArray[np.float64], right: BoolArray) -> list[tuple[float, float]]:
        """Of drafts that are shown from a falling confidence on."""
        if np.isnan(confidence).any() or not len(confidence):
            return []
        order = np.argsort(-confidence, kind="stable")
        flags: list[bool] = (right & self.judged)[order].tolist()
        accepted = list(accumulate(map(int, flags)))
        judged = max(1, int(self.judged.sum()))
        counts = sorted({len(order) * part // CURVE for part in range(CURVE + 1)})
        return [(n / len(order), accepted[n - 1] / judged if n else 0.0) for n in counts]

    def point(self, shown: BoolArray, right: BoolArray) -> tuple[float, float] | None:
        if not len(shown):
            return None
        judged = max(1, int(self.judged.sum()))
        return float(shown.mean()), float((shown & right & self.judged).sum() / judged)


def _within(
    drafts: _Drafts, fitted: Selection, costs: NDArray[np.float64], settings: GateSettings
) -> tuple[Selection | None, str]:
    """The fitted selection, or the nearest that says more and is within the bounds; None where
    only showing everything is. ``costs`` are those of ``silence_costs``."""
    least = fitted.threshold
    sure = np.unique(drafts.confidence[drafts.selectable])[::-1]
    below = sure[sure < least]
    # Between two drafts, so that neither stands on the edge.
    edges = (below + np.append(below[1:], -np.inf)) / 2
    held_by = "reward"
    for place, edge in enumerate([least, *edges.tolist()]):
        selection = None
        if not place:
            selection = fitted
        elif math.isfinite(edge):
            selection = show_from(fitted, edge)
        shown = drafts.shown(selection)
        withheld = drafts.withheld(shown, settings.confidence)
        if withheld is None or withheld.high is None:
            held_by = "too few sessions"
        elif withheld.high > settings.max_withheld:
            held_by = "withheld"
        elif not (
            costs[drafts.hidden(shown)] <= 1.0 - settings.keep_accepted
            or drafts.keeps(shown, settings.keep_accepted, settings.confidence)
        ):
            held_by = "accepted"
        else:
            return selection, held_by
    return None, held_by
