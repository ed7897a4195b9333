"""How many users meet a bad candidate before the canary stops it, and how often a good one passes.

Simulated users (one new session of six answers per second) are routed as the API routes them and
judged with the product's own state machine, tests and default settings; nothing is a model of it.
The gate is taken to have been passed: what is simulated here shows only live.
"""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass

import msgspec

from _report import arguments, finish, table
from liveweights.gate.settings import GateSettings
from liveweights.release.canary import Reward, compare_arms
from liveweights.release.decision import Look, decide
from liveweights.release.guards import Answer, Answers, watch_answers
from liveweights.release.rollout import apply, begin, shares
from liveweights.release.settings import CanarySettings
from liveweights.serve.router import position

ANSWERS = 6
EVERY = 15.0
"""Seconds between looks."""


@dataclass(frozen=True)
class Habit:
    """How a checkpoint answers; rewards are 0.75, -0.25 and 0 (silence)."""

    accepted: float = 0.3
    failed: float = 0.0
    silent: float = 0.3
    seconds: float = 0.3
    text: str = "return self.total"


CANDIDATES = {
    "equal": Habit(),
    "better: accepts 30% -> 40%": Habit(accepted=0.4),
    "worse: accepts 30% -> 15%": Habit(accepted=0.15),
    "wrong sign: accepts nothing": Habit(accepted=0.0),
    "fails every other request": Habit(failed=0.5),
    "three times as slow": Habit(seconds=0.9),
    "learned to stay silent": Habit(silent=1.0),
    "collapsed into repetition": Habit(accepted=0.0, text="x = x = x = x = x = " * 8),
}


@dataclass(frozen=True)
class Ending:
    """How one rollout ended."""

    promoted: bool
    exposed: int
    users: int
    seconds: float


def simulate(habit: Habit, settings: CanarySettings, seed: int) -> Ending:
    draw = random.Random(seed)
    rollout, gate = begin(settings), GateSettings()
    answers = Answers()
    rewards: list[Reward] = []
    arms: dict[str, bool] = {}
    now = stepped = 0.0
    live = Habit()
    while True:
        share, _ = shares(rollout, settings)
        for number in range(int(EVERY)):
            at, session = now + number, f"{seed}-{now + number}"
            canary = position("code", f"candidate-{seed}", session) < share
            arms[session] = canary
            how = habit if canary else live
            for turn in range(ANSWERS):
                failed = draw.random() < how.failed
                silent = failed or draw.random() < how.silent
                taken = draw.random() < how.accepted
                arm = "canary" if canary else "live"
                when, took = at + turn / 10, how.seconds * draw.lognormvariate(0, 0.5)
                text = "" if silent else how.text
                answers.add(Answer(arm, session, when, failed, False, took, text))
                if not failed:
                    value = 0.0 if silent else 0.75 if taken else -0.25
                    rewards.append(Reward(arm, session, value, when))
        now += EVERY
        ours = [reward.at for reward in rewards if reward.arm == "canary"]
        look = Look(
            comparison=compare_arms(rewards, now, settings),
            guards=watch_answers(answers, now, settings, gate),
            step_rewards=sum(at >= stepped for at in ours),
            step_seconds=now - stepped,
        )
        move = decide(rollout, look, settings)
        if move.action == "step":
            stepped = now
        rollout = apply(rollout, move.action, settings)
        if rollout.ended:
            exposed = sum(arms.values())
            return Ending(rollout.stage == "promoted", exposed, len(arms), now)


def main() -> None:
    options = arguments(__doc__ or "", runs=(20, "rollouts of each candidate"))
    runs = 3 if options.quick else options.runs
    settings = msgspec.structs.replace(CanarySettings(), session_rewards=ANSWERS)
    figures: dict[str, object] = {"runs": runs}
    rows: list[list[str | float | int]] = []
    for name, habit in CANDIDATES.items():
        endings = [simulate(habit, settings, seed) for seed in range(runs)]
        passed = sum(ending.promoted for ending in endings)
        exposed = [ending.exposed for ending in endings]
        share = sum(exposed) / sum(ending.users for ending in endings)
        seconds = statistics.median(ending.seconds for ending in endings)
        rows.append([name, passed, statistics.median(exposed), max(exposed), share, seconds])
        figures[name] = {
            "promoted": passed,
            "exposed_median": statistics.median(exposed),
            "exposed_most": max(exposed),
            "exposed_share": share,
            "seconds_median": seconds,
        }
    columns = ("candidate", "promoted", "users exposed", "at most", "of all users", "seconds")
    table(f"{runs} rollouts each, median", columns, rows)
    finish("canary", options, figures, {})


if __name__ == "__main__":
    main()
