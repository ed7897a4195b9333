"""What weights that were brought compute, by Transformers: every engine is held to it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from liveweights.catalog.template import TemplateSettings, rendering
from liveweights.learn.dialogue import read_dialogue
from liveweights.learn.policy import Policy
from liveweights.learn.probes import CHOICE, make_probes, make_probes_apart, public_prompts
from liveweights.learn.settings import LearnSettings
from liveweights.weights.checkpoint import Kind
from liveweights.weights.delta import restore
from liveweights.weights.models import read_tokenizer
from liveweights.weights.probes import FILE


def write_probes(
    base: Path, folder: Path, kind: Kind, settings: LearnSettings, template: TemplateSettings
) -> None:
    """Write to ``folder``, which holds an adapter on ``base`` or the difference of whole weights
    from it, what they make of public texts, as an update does of its own. Raises OSError,
    ValueError where they do not load."""
    tokenizer = read_tokenizer(base)

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False).input_ids)

    with rendering(tokenizer, template) as render:
        dialogue = read_dialogue(tokenizer, render)
    prompts = public_prompts(encode, dialogue, CHOICE * settings.probes)
    # An adapter that was not moved yet changes nothing.
    still = msgspec.structs.replace(settings, updater="lora")
    if kind == "adapter":
        policy = Policy(base, folder, still)
        probes = make_probes(policy, prompts, still.nodes, most=still.probes)
    else:
        with tempfile.TemporaryDirectory() as cache:
            whole = restore(base, folder, "brought", Path(cache))
            probes = make_probes_apart(
                Policy(whole, None, still),
                lambda: Policy(base, None, still),
                prompts,
                still.nodes,
                still.probes,
            )
    (folder / FILE).write_bytes(msgspec.json.encode(probes))
