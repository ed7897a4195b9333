"""The rows of the headline's matrix."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from liveweights.gate.settings import GateSettings
from liveweights.learn.settings import LearnSettings

LEARN, GATE = LearnSettings(), GateSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run of the headline. ``model`` is a name that `_models.find_model` takes;
    ``signals`` are what users send: corrections beside their clicks, or clicks alone."""

    name: str
    why: str
    """What it varies."""
    kind: Literal["completion", "chat"] = "completion"
    model: str = "packaged"
    engine: str = "llama"
    precision: str = "q8_0"
    updater: str = "lora"
    language: Literal["python", "typescript"] = "python"
    signals: str = "corrections"
    silence_weight: float = 0.1
    learning_rate: float = LEARN.learning_rate
    """Of either updater."""
    nodes: int = LEARN.nodes
    reject_alpha: float = LEARN.reject_alpha

    def settings(self, threads: int) -> LearnSettings:
        rate = "full_learning_rate" if self.updater == "full" else "learning_rate"
        varied: dict[str, Any] = {"updater": self.updater, rate: self.learning_rate}
        return LearnSettings(
            threads=threads,
            silence_weight=self.silence_weight,
            nodes=self.nodes,
            reject_alpha=self.reject_alpha,
            **varied,
        )


def _full(name: str, why: str, **varied: Any) -> Row:
    return Row(name=name, why=why, updater="full", learning_rate=LEARN.full_learning_rate, **varied)


ROWS = (
    Row(name="usual", why="SmolLM2-135M, LoRA, q8_0 by llama.cpp, Python, corrections"),
    Row(name="clicks", why="clicks only", signals="clicks"),
    Row(name="default-silence", why="silence_weight as it is by default",
        silence_weight=LEARN.silence_weight),
    Row(name="f16", why="served at 16 bits", precision="f16"),
    Row(name="torch", why="the torch engine", engine="torch"),
    _full("full", "all weights change"),
    Row(name="mixture", why="a mixture of experts made of it", model="mixture", engine="torch"),
    Row(name="gemma", why="another family, torch engine", model="gemma", engine="torch"),
    Row(name="typescript", why="another language", language="typescript"),
    Row(name="larger-step", why="four times the step size", learning_rate=4 * LEARN.learning_rate),
    Row(name="largest-step", why="ten times the step size",
        learning_rate=10 * LEARN.learning_rate),
    Row(name="gemma-larger-step", why="the other family, four times the step size",
        model="gemma", engine="torch", learning_rate=4 * LEARN.learning_rate),
    Row(name="gemma-clicks", why="the other family, clicks only", model="gemma", engine="torch",
        signals="clicks"),
    Row(name="gemma-typescript", why="the other family, another language", model="gemma",
        engine="torch", language="typescript"),
    Row(name="mixture-clicks", why="a mixture of experts, clicks only", model="mixture",
        engine="torch", signals="clicks"),
    Row(name="typescript-clicks", why="another language, clicks only", language="typescript",
        signals="clicks"),
    _full("full-f16", "all weights change, served at 16 bits", precision="f16"),
    _full("full-clicks", "all weights change, clicks only", signals="clicks"),
    Row(name="chat", why="chat: thumbs, edits, follow-ups", kind="chat"),
    Row(name="chat-clicks", why="chat: thumbs and follow-ups", kind="chat", signals="clicks"),
    Row(name="chat-larger-step", why="chat, four times the step size", kind="chat",
        learning_rate=4 * LEARN.learning_rate),
    Row(name="chat-mixture", why="chat, a mixture of experts", kind="chat", model="mixture",
        engine="torch"),
    _full("chat-full", "chat, all weights change", kind="chat"),
)  # fmt: skip


def find_row(name: str) -> Row:
    """Raises SystemExit, with the names that there are."""
    for row in ROWS:
        if row.name == name:
            return row
    raise SystemExit(f"there is no row {name!r}; there are {', '.join(r.name for r in ROWS)}")


def changed(row: Row, over: Mapping[str, Any]) -> Row:
    """The row with other values; it is no longer the one of that name, and says so."""
    different = {key: value for key, value in over.items() if value != getattr(row, key)}
    if not different:
        return row
    said = ", ".join(f"{key}={value}" for key, value in different.items())
    return dataclasses.replace(row, name=f"{row.name} with {said}", **different)
