"""How feedback becomes weights."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from liveweights import bounds

TOLERANCE = 0.1
"""Share of ``kl_target`` by which the divergence may exceed it."""

PolicyLoss = Literal["topr", "cispo", "gspo"]


class LearnSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[learn]`` table."""

    updater: Annotated[
        Literal["lora", "full"],
        Meta(description="What a cycle changes: a LoRA adapter on the base, or all weights."),
    ] = "lora"
    adapt: Annotated[
        tuple[Literal["attention", "mlp", "experts"], ...],
        Meta(
            min_length=1,
            description=(
                "The parts of the model that LoRA adapts; no router is. Of a new adapter: one that"
                " is live goes on as it is."
            ),
        ),
    ] = ("attention", "mlp", "experts")
    rank: Annotated[
        int, Meta(ge=1, le=2**16, description="Rank of the LoRA update, of a new adapter as above.")
    ] = 16
    alpha: Annotated[
        int,
        Meta(
            ge=1,
            le=2**20,
            description="LoRA alpha, likewise; the update is scaled alpha/rank.",
        ),
    ] = 32
    learning_rate: Annotated[float, Meta(gt=0, le=1, description="AdamW's step size.")] = 5e-4
    full_learning_rate: Annotated[
        float, Meta(gt=0, le=1, description="The same where all weights are changed.")
    ] = 1e-5
    epochs: Annotated[int, Meta(ge=1, le=1000, description="Passes over a cycle's rows.")] = 1
    nodes: Annotated[
        int, Meta(ge=64, le=2**24, description="Most tokens of one packed prefix tree: one pass.")
    ] = 1024
    step_rows: Annotated[
        int,
        Meta(
            ge=1,
            le=bounds.COUNT,
            description="Fewest rows of one gradient step: it takes as many trees as they need.",
        ),
    ] = 16
    grad_norm: Annotated[
        float, Meta(gt=0, le=bounds.WEIGHT, description="Gradients are clipped to this norm.")
    ] = 1.0
    loss: Annotated[
        PolicyLoss,
        Meta(
            description=(
                "Policy-gradient loss: 'topr' (truncated, asymmetric), 'cispo' (clipped weights),"
                " 'gspo' (one ratio per answer, for mixture-of-experts models)."
            )
        ),
    ] = "topr"
    ratio_max: Annotated[
        float,
        Meta(
            ge=1,
            le=bounds.WEIGHT,
            description="Truncation of the token ratio in 'topr' and 'cispo'.",
        ),
    ] = 2.0
    sequence_clip: Annotated[
        float, Meta(gt=0, lt=1, description="Clip of the answer's ratio in 'gspo'.")
    ] = 0.2
    reject_alpha: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description=(
                "How far 'topr' and 'cispo' push each token of a rejected answer down in proportion"
                " to its probability. 0: all tokens alike."
            ),
        ),
    ] = 0.8
    kto_beta: Annotated[
        float,
        Meta(
            gt=0,
            le=bounds.WEIGHT,
            description="Sharpness of KTO, for answers recorded without probabilities.",
        ),
    ] = 0.1
    ratio_band: Annotated[
        float,
        Meta(
            gt=1,
            le=bounds.WEIGHT,
            description="Answers whose geometric-mean ratio leaves [1/band, band] are masked.",
        ),
    ] = 3.0
    kl_target: Annotated[
        float,
        Meta(
            gt=0,
            le=bounds.WEIGHT,
            description=(
                "Divergence from the incumbent on rows that were not trained on, nats per token: an"
                " update that went further, by more than a tenth, is shortened."
            ),
        ),
    ] = 0.1
    kl_weight: Annotated[
        float,
        Meta(
            ge=0,
            le=bounds.WEIGHT,
            description="First weight of the divergence; it adapts to the target.",
        ),
    ] = 0.1
    correction_weight: Annotated[
        float,
        Meta(
            ge=0,
            le=bounds.WEIGHT,
            description="Weight of the likelihood of what the user wrote instead.",
        ),
    ] = 0.3
    silence_weight: Annotated[
        float,
        Meta(
            ge=0,
            le=bounds.WEIGHT,
            description=(
                "Factor on what saying nothing would have saved where a completion was rejected:"
                " the price of an interruption, relative to the reward map. 0: silence is not"
                " taught."
            ),
        ),
    ] = 1.0
    hindsight_weight: Annotated[
        float,
        Meta(
            ge=0,
            le=bounds.WEIGHT,
            description="Weight of self-distillation from what users said of answers.",
        ),
    ] = 0.2
    credit: Annotated[
        Literal["outcome", "discounted", "steps"],
        Meta(
            description=(
                "How the outcome of an episode is credited to its steps: all alike; 'discounted',"
                " the last most; 'steps', a step that was reacted to by its own reaction."
            )
        ),
    ] = "outcome"
    discount: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="With credit = 'discounted': the share that a step has of the next one's.",
        ),
    ] = 0.9
    user_share: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description=(
                "Most of a cycle's total weight that one user may hold, or twice an equal part"
                " where that is more."
            ),
        ),
    ] = 0.1
    new_share: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description=(
                "The same for all users of a key together who are new or whom requests do not name."
            ),
        ),
    ] = 0.2
    known_votes: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description=(
                "Votes in earlier cycles with which a user is not new; while nobody has them, votes"
                " in the same cycle."
            ),
        ),
    ] = 8
    key_share: Annotated[
        float,
        Meta(gt=0, le=1, description="The same for an API key; it holds before users' shares do."),
    ] = 0.5
    tenant_share: Annotated[float, Meta(gt=0, le=1, description="The same for a tenant.")] = 0.5
    outlier_distance: Annotated[
        float,
        Meta(
            gt=0,
            le=bounds.WEIGHT,
            description=(
                "Users, and new users together, whose votes stand so many standard errors further"
                " from their segment's than others' do are left out of the cycle."
            ),
        ),
    ] = 4.0
    max_mismatch: Annotated[
        float,
        Meta(
            gt=0,
            le=bounds.WEIGHT,
            description=(
                "Alarm where the server's and the trainer's log-probabilities of the incumbent's"
                " answers differ by more, in mean nats per token."
            ),
        ),
    ] = 0.3
    baseline_keep: Annotated[
        float, Meta(ge=0, le=1, description="What the baseline keeps of its past in each cycle.")
    ] = 0.8
    baseline_prior: Annotated[
        float,
        Meta(gt=0, le=bounds.WEIGHT, description="Rewards' worth of shrinkage to the global mean."),
    ] = 20.0
    held_back_share: Annotated[
        float, Meta(gt=0, lt=1, description="Share of sessions kept from learning for the gate.")
    ] = 0.25
    max_rows: Annotated[
        int,
        Meta(
            ge=1,
            le=bounds.COUNT,
            description=(
                "Most generations that a cycle learns from, the newest first; the rest is left for"
                " the next ones."
            ),
        ),
    ] = 1500
    max_held_back: Annotated[
        int,
        Meta(
            ge=1,
            le=bounds.COUNT,
            description="Most generations that a cycle holds back to be judged on.",
        ),
    ] = 1000
    max_scored: Annotated[
        int,
        Meta(
            ge=1,
            le=bounds.COUNT,
            description=(
                "Most of those that the learner scores under candidate and incumbent: for drift,"
                " likelihood and off-policy estimates."
            ),
        ),
    ] = 500
    probes: Annotated[
        int,
        Meta(ge=2, le=bounds.COUNT, description="Public texts that a checkpoint is probed with."),
    ] = 24
    routing: Annotated[
        Literal["free", "kept"],
        Meta(
            description="Mixture of experts: 'kept' sends every token of an update through the"
            " experts that served it, where the engine recorded them, else those that the"
            " incumbent chooses for it."
        ),
    ] = "kept"
    device: Annotated[
        str, Meta(description="Where the update computes: auto, cpu, cuda, cuda:1.")
    ] = "auto"
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Meta(
            description="Precision of the pass; auto: bfloat16 on a GPU and on a CPU that"
            " multiplies it (AMX, AVX-512 BF16), else float32."
        ),
    ] = "auto"
    memory_gib: Annotated[
        float,
        Meta(
            gt=0,
            le=2**20,
            description="Memory for the activations of one step. A step that needs more computes"
            " them twice instead (activation checkpointing).",
        ),
    ] = 8.0
    workers: Annotated[
        int,
        Meta(
            ge=1,
            le=4096,
            description="Processes that share an update, by Ray Train (extra 'ray'): one for each"
            " GPU. 1: the learner's own, without Ray.",
        ),
    ] = 1
    threads: Annotated[
        int,
        Meta(
            ge=0,
            le=1024,
            description="CPU threads of the update; 0: one per core, or half as many where other"
            " work makes these faster. It runs at low priority: answers go first.",
        ),
    ] = 0
    per_tenant: Annotated[
        bool,
        Meta(
            description="Whether each tenant gets an adapter of its own, learnt from its own"
            " feedback alone, gated and released for it alone; until it has one, the shared"
            " checkpoint answers it. See docs/tenants.md."
        ),
    ] = False
    tenant_min_feedback: Annotated[
        int,
        Meta(
            ge=1,
            le=bounds.COUNT,
            description="Answers with a reaction that a tenant must have given before its first"
            " cycle, and that start its next one before its time. A quarter is held back: with 200,"
            " 50 judge the candidate; with much fewer no gate tells better from worse, and a cycle"
            " costs the same.",
        ),
    ] = 200
    seed: Annotated[
        int,
        Meta(
            ge=-bounds.COUNT,
            le=bounds.COUNT,
            description="Fixes the adapter's start and the rows' order.",
        ),
    ] = 0
