"""The weight update: rows in, a changed policy and a report of signal out."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import torch
from torch import Tensor

from liveweights.engines.experts import Experts
from liveweights.learn import sharing
from liveweights.learn.job import Report, Step
from liveweights.learn.losses.cispo import cispo_loss
from liveweights.learn.losses.demonstration import demonstration_loss
from liveweights.learn.losses.divergence import adapt, divergence
from liveweights.learn.losses.hindsight import hindsight_advantage
from liveweights.learn.losses.kto import find_reference_point, kto_loss
from liveweights.learn.losses.policy import policy_loss
from liveweights.learn.losses.ratio import answer_ratio
from liveweights.learn.pace import Pace
from liveweights.learn.policy import Policy, steps
from liveweights.learn.reference import find_reference
from liveweights.learn.resume import Kept, Resume
from liveweights.learn.rows import Role, Row
from liveweights.learn.settings import LearnSettings
from liveweights.learn.tree import TokenRow

Progress = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The rows of an update, and what is known of them before the first step.

    By row: ``incumbent`` and ``behaviour`` log-probabilities of its answer's tokens (T,), and the
    ``hindsight`` advantages (T,) of those that teach so.
    """

    rows: Sequence[Row]
    token_rows: Sequence[TokenRow]
    incumbent: Mapping[int, Tensor]
    behaviour: Mapping[int, Tensor]
    hindsight: Mapping[int, Tensor]


@dataclass(frozen=True, slots=True)
class _Whole:
    """Rows and sampled answer tokens of a gradient step, over all processes, and the point that
    its `kto` rows are held against; None where its only pass will tell."""

    rows: int
    sampled: int
    reference_point: Tensor | None


def update(
    policy: Policy,
    rows: Sequence[Row],
    settings: LearnSettings,
    progress: Progress = lambda step: None,
    resume: Resume | None = None,
) -> Report:
    """Train the policy on ``rows`` in place; its caller then calls ``finish``.

    A gradient step is of one packed tree, or of so many that it has ``step_rows`` rows. One whose
    loss or gradient is no finite number is skipped and counted: made, it would leave no weight a
    number. So are served answers whose geometric-mean ratio leaves the band. Calls
    ``progress`` after each step. With ``resume`` it goes on from what that holds of the same
    update, and keeps its own state there.
    """
    token_rows = [TokenRow(row.prompt_ids, row.answer_ids) for row in rows]
    served = _route_as_served(policy, rows, token_rows)
    reference = find_reference(policy, rows, token_rows, settings)
    behaviour = {
        i: torch.tensor(row.behaviour) if row.behaviour else reference.logprobs[i]
        for i, row in enumerate(rows)
        if row.behaviour or i in reference.logprobs
    }
    masked = {i for i, score in reference.scored.items() if _is_off(rows[i], score, settings)}
    taught = [i for i, row in enumerate(rows) if i not in masked and row.weight != 0.0]
    prepared = _Prepared(
        rows=rows,
        token_rows=token_rows,
        incumbent=reference.logprobs,
        behaviour=behaviour,
        hindsight=_hindsight(policy, rows, reference.scored, taught, settings=settings),
    )
    optimizer = torch.optim.AdamW(
        policy.parameters(), lr=policy.updater.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
    )
    generator = torch.Generator().manual_seed(settings.seed)
    kl_weight, count, done, skipped = settings.kl_weight, 0, 0, 0
    kl = step_loss = total = 0.0
    norms: list[float] = []
    rates: list[float] = []
    pace: Pace | None = None
    fingerprint = _fingerprint([rows[i] for i in taught], settings)
    kept = resume.load(fingerprint) if resume else None
    resumed = int(kept.numbers["count"]) if kept else 0
    if kept:
        _take_up(policy, optimizer, kept)
    for _ in range(settings.epochs if taught else 0):
        passes = policy.pack([token_rows[i] for i in taught], settings.nodes)
        planned = list(steps(passes, settings.step_rows, generator))
        length = settings.epochs * len(planned)
        if pace is None:
            pace = Pace(sum(schedule(step, length) for step in range(length)), settings.kl_target)
            if kept:
                pace.state = kept.numbers["pace"]
                kl_weight, kl = kept.numbers["kl_weight"], kept.numbers["kl"]
                done, total = kept.numbers["done"], kept.numbers["total"]
                skipped = kept.numbers["skipped"]
                norms, rates = kept.numbers["norms"], kept.numbers["rates"]
        for groups in planned:
            if count < resumed:  # was made before
                count += 1
                continue
            rate = schedule(count, length)
            chosen = [taught[place] for group in groups for place in group]
            whole = _Whole(
                rows=len(chosen),
                sampled=sum(len(rows[i].answer_ids) for i in chosen if rows[i].role == "policy"),
                reference_point=(
                    _reference_point(policy, prepared, chosen, settings)
                    if len(groups) > 1 or sharing.processes() > 1
                    else None
                ),
            )
            optimizer.zero_grad(set_to_none=True)
            drift = loss = 0.0
            for group in groups:
                ours = sharing.share([taught[place] for place in group])
                # A process without a row makes the pass all the same, for its part of the weights.
                part = sharing.processes() if ours else 0
                group_loss, group_drift = _loss(
                    policy,
                    prepared,
                    ours or [taught[group[0]]],
                    whole=whole,
                    kl_weight=kl_weight,
                    settings=settings,
                )
                (part * group_loss).backward()  # pyright: ignore[reportUnknownMemberType]
                if ours:
                    drift, loss = drift + group_drift, loss + float(group_loss.detach())
            norm = sharing.settle_gradients(policy.parameters(), settings.grad_norm)
            drift, loss = sharing.total(drift), sharing.total(loss)
            count, done = count + 1, done + len(chosen)
            if all(math.isfinite(figure) for figure in (norm, drift, loss)):
                step_loss, total = loss, total + loss
                norms.append(norm)
                measured = drift if whole.sampled else None
                pace.follow(rate, measured)
                rates.append(pace.rate)
                for parameters in optimizer.param_groups:
                    parameters["lr"] = policy.updater.learning_rate * rate * pace.rate
                optimizer.step()
                if measured is not None:
                    kl = measured
                    kl_weight = adapt(kl_weight, kl, settings.kl_target)
            else:
                skipped += 1
            progress(
                Step(
                    done=done,
                    total=settings.epochs * len(taught),
                    steps=count,
                    loss=step_loss,
                    kl=kl,
                    grad_norm=norms[-1] if norms else 0.0,
                )
            )
            if resume:
                resume.keep(
                    fingerprint,
                    policy.parameters(),
                    optimizer.state_dict(),
                    {
                        "count": count,
                        "done": done,
                        "skipped": skipped,
                        "total": total,
                        "kl": kl,
                        "kl_weight": kl_weight,
                        "norms": norms,
                        "rates": rates,
                        "pace": pace.state,
                    },
                )
    optimizer.zero_grad(set_to_none=True)
    made = count - skipped
    return Report(
        signals={},
        roles=dict(Counter(rows[i].role for i in taught)),
        masks={"off_policy": len(masked)} if masked else {},
        rows=len(rows),
        taught=len(taught),
        masked=len(masked),
        steps=made,
        skipped=skipped,
        ratio=reference.ratio,
        mismatch=reference.mismatch,
        kl=kl,
        rate=sum(rates) / made if made else 1.0,
        grad_norm=sum(norms) / made if made else 0.0,
        grad_norm_max=max(norms, default=0.0),
        loss=total / made if made else 0.0,
        served_routing=sum(served),
        unfit_routing=len(served) - sum(served),
        way=policy.way,
        resumed=resumed,
        alarms=_find_alarms(reference.mismatch, skipped, count, settings),
    )


def _find_alarms(
    mismatch: float | None, skipped: int, steps: int, settings: LearnSettings
) -> list[str]:
    alarms: list[str] = []
    if mismatch is not None and mismatch > settings.max_mismatch:
        alarms.append(
            f"server and trainer differ by {mismatch:.3f} nats per token on the incumbent's"
            f" answers; at most {settings.max_mismatch:g}"
        )
    if skipped:
        alarms.append(
            f"{skipped} of {steps} gradient steps were skipped: their loss or gradient was no"
            " finite number"
        )
    return alarms


def _fingerprint(taught: Sequence[Row], settings: LearnSettings) -> str:
    """Of what an update's steps are made from."""
    digest = hashlib.sha256(msgspec.json.encode(settings))
    for row in taught:
        made_of = (
            *(row.role, row.weight, row.temperature, row.prompt_ids, row.answer_ids),
            *(row.behaviour, row.teacher_ids, row.fresh),
        )
        digest.update(repr(made_of).encode())
    return digest.hexdigest()


@torch.no_grad()
def _take_up(policy: Policy, optimizer: torch.optim.Optimizer, kept: Kept) -> None:
    """Make policy and optimizer what they were."""
    for parameter, value in zip(policy.parameters(), kept.parameters, strict=True):
        parameter.copy_(value)
    optimizer.load_state_dict(kept.optimizer)


def _route_as_served(
    policy: Policy, rows: Sequence[Row], token_rows: Sequence[TokenRow]
) -> list[bool]:
    """Whether each recording of experts is used; none where no routing is kept."""
    used: list[bool] = []
    for row, token_row in zip(rows, token_rows, strict=True):
        if row.experts is None or not policy.keeps_routing:
            continue
        try:
            used.append(policy.route_as_served(token_row, Experts.from_bytes(row.experts)))
        except ValueError:  # of another version
            used.append(False)
    return used


def schedule(step: int, steps: int) -> float:
    """Factor on the step size: up over the first tenth, then linearly down to a tenth.

    AdamW's first steps have no averages to go by yet, and its last ones should not undo each
    other: a cycle has few.
    """
    warm = max(1, steps // 10)
    rest = (steps - step) / max(1, steps - warm)
    return min((step + 1) / warm, max(0.1, min(1.0, rest)))


def _hindsight(
    policy: Policy,
    rows: Sequence[Row],
    incumbent: Mapping[int, Tensor],
    taught: Sequence[int],
    *,
    settings: LearnSettings,
) -> dict[int, Tensor]:
    """Each hindsight row's advantages, under the weights that the update starts from."""
    places = [i for i in taught if rows[i].role == "hindsight"]
    scores = policy.score(
        [TokenRow(rows[i].teacher_ids, rows[i].answer_ids) for i in places],
        [rows[i].temperature for i in places],
        settings.nodes,
    )
    return {
        i: rows[i].weight * hindsight_advantage(score, incumbent[i])
        for i, score in zip(places, scores, strict=True)
    }


def _reference_point(
    policy: Policy, prepared: _Prepared, chosen: Sequence[int], settings: LearnSettings
) -> Tensor | None:
    """Of a step of several passes, before the first; None where nothing is learnt so."""
    places = [i for i in chosen if prepared.rows[i].role == "preference"]
    if not places:
        return None
    now = policy.score(
        [prepared.token_rows[i] for i in places],
        [prepared.rows[i].temperature for i in places],
        settings.nodes,
        follow_routes=True,
    )
    return find_reference_point(now, [prepared.incumbent[i] for i in places])


def _is_off(row: Row, logprobs_T: Tensor, settings: LearnSettings) -> bool:
    if not row.behaviour:
        return False
    ratio = answer_ratio(logprobs_T, torch.tensor(row.behaviour))
    return not 1.0 / settings.ratio_band <= ratio <= settings.ratio_band


def _loss(
    policy: Policy,
    prepared: _Prepared,
    chosen: Sequence[int],
    *,
    whole: _Whole,
    kl_weight: float,
    settings: LearnSettings,
) -> tuple[Tensor, float]:
    """What ``chosen`` add to the step's loss, which is the mean over rows of their summed token
    losses, and to its divergence in nats per token."""
    rows, incumbent, behaviour = prepared.rows, prepared.incumbent, prepared.behaviour
    temperature_B = torch.tensor([rows[i].temperature for i in chosen])
    logprobs_T, row_T = policy.logprobs([prepared.token_rows[i] for i in chosen], temperature_B)
    now = logprobs_T.detach().split([len(rows[i].answer_ids) for i in chosen])
    incumbent_T = torch.cat([incumbent.get(i, part) for i, part in zip(chosen, now, strict=True)])
    weight_B = torch.tensor([rows[i].weight for i in chosen])
    behaviour_T = torch.cat([behaviour.get(i, part) for i, part in zip(chosen, now, strict=True)])

    def of(role: Role) -> Tensor:
        return torch.tensor([rows[i].role == role for i in chosen])[row_T]

    sampled_T = of("policy")
    kl_T = divergence(logprobs_T, incumbent_T)
    drift = (kl_T * sampled_T).sum() / max(1, whole.sampled)
    loss_T = torch.zeros_like(logprobs_T)
    present: set[Role] = {rows[i].role for i in chosen}
    for role in present:
        match role:
            case "policy":
                values_T = policy_loss(
                    logprobs_T,
                    behaviour_T,
                    weight_B,
                    row_T,
                    name=settings.loss,
                    ratio_max=settings.ratio_max,
                    sequence_clip=settings.sequence_clip,
                    reject_alpha=settings.reject_alpha,
                )
            case "preference":
                own = [
                    (n, incumbent[i])
                    for i, n in zip(chosen, now, strict=True)
                    if rows[i].role == role
                ]
                values_T = kto_loss(
                    logprobs_T,
                    incumbent_T,
                    weight_B,
                    row_T,
                    reference_point=(
                        find_reference_point([n for n, _ in own], [was for _, was in own])
                        if whole.reference_point is None
                        else whole.reference_point
                    ),
                    beta=settings.kto_beta,
                )
            case "correction":
                values_T = demonstration_loss(logprobs_T, weight_B[row_T])
            case "hindsight":
                advantage_T = torch.cat(
                    [
                        prepared.hindsight.get(i, torch.zeros(len(rows[i].answer_ids)))
                        for i in chosen
                    ]
                )
                values_T = cispo_loss(
                    logprobs_T, behaviour_T, advantage_T, ratio_max=settings.ratio_max
                )
        loss_T = torch.where(of(role), values_T, loss_T)
    return loss_T.sum() / whole.rows + kl_weight * drift, float(drift.detach())
