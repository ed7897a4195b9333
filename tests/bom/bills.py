"""A bill to write: a base, two cycles' adapters on it, an alias with a canary, a hosted model."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from liveweights.bom.facts import (
    Alias,
    Bill,
    Hosted,
    Metric,
    Model,
    Origin,
    Package,
    Service,
    Window,
)
from liveweights.bom.merkle import hash_reaction, root_of
from liveweights.catalog.catalogue import Catalogue

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
BASE, ONE, TWO = "qwen3-8b@0123456789ab", "qwen3-8b@111111111111", "qwen3-8b@222222222222"
CATALOGUE = Catalogue()


def make_origin(name: str) -> Origin:
    card = CATALOGUE.find(name)
    return Origin(
        card=card,
        by="name",
        licence=CATALOGUE.licence(card),
        duties=CATALOGUE.duties(card),
        ancestors=tuple(CATALOGUE.ancestry(card)),
    )


def make_leaves(cycle: int, count: int = 5) -> list[bytes]:
    return sorted(hash_reaction("acme", f"g{cycle}-{n}", f"f{cycle}-{n}") for n in range(count))


def make_window(cycle: int) -> Window:
    leaves = make_leaves(cycle)
    return Window(
        cycle=cycle,
        alias="chat",
        began=START + timedelta(hours=cycle),
        ended=START + timedelta(hours=cycle, minutes=40),
        trained=4,
        held_back=2,
        reactions=len(leaves),
        root=root_of(leaves).hex(),
        signals={"accepted": 3, "rejected": 1},
    )


def make_models() -> dict[str, Model]:
    base = Model(
        id=BASE,
        kind="base",
        created_at=START,
        base=None,
        parent=None,
        files={"model.safetensors": "a" * 64, "tokenizer.json": "b" * 64, "config.json": "c" * 64},
        card={
            "architecture": "Qwen3ForCausalLM",
            "parameters": 7_600_000_000,
            "context": 32768,
            "origin": "hf://Qwen/Qwen3-8B@" + "d" * 40,
        },
        origin=make_origin("Qwen/Qwen3-8B"),
    )
    adapters = {
        id: Model(
            id=id,
            kind="adapter",
            created_at=START + timedelta(hours=cycle, minutes=20),
            base=BASE,
            parent=parent,
            files={"adapter_model.safetensors": f"{cycle}" * 64, "adapter_config.json": "e" * 64},
            card={"code": "0.1.0"},
            window=make_window(cycle),
            outcome="promoted",
            verdict="PASS",
            reasons=("held-back reward is better: +0.0800",),
            metrics=(
                Metric(
                    name="held-back reward, candidate minus incumbent",
                    value=0.08,
                    where="200 cases of 90 sessions, held back from training",
                    low=0.01,
                    high=0.15,
                ),
            ),
        )
        for cycle, id, parent in ((1, ONE, BASE), (2, TWO, ONE))
    }
    return {BASE: base, **adapters}


def make_bill(subject: str = "", author: str = "Acme") -> Bill:
    models = make_models()
    return Bill(
        subject=subject,
        as_of=START + timedelta(hours=2, minutes=40),
        service=Service(
            version="0.1.0",
            author=author,
            application="Suggestions while people write code.",
            hardware="2 cores",
            compliance="none yet",
            security_policy="https://acme.example/.well-known/security.txt",
            controls=("no code that comes with a model is run",),
        ),
        models=models,
        aliases=(Alias(name="chat", live=ONE, canary=TWO, share=0.25),),
        hosted=(
            Hosted(
                alias="big",
                model="Kimi-K2.5",
                url="https://upstream.example/v1",
                origin=make_origin("moonshotai/Kimi-K2.5"),
            ),
        ),
        packages=(
            Package(name="liveweights", version="0.1.0", requires=("msgspec",)),
            Package(name="msgspec", version="0.20.0", licence="BSD-3-Clause"),
        ),
    )
