"""The check for private data that stands before every export."""

from __future__ import annotations

from collections.abc import Sequence

from liveweights.catalog.template import TemplateSettings
from liveweights.learn.continuations import continue_text
from liveweights.learn.job import spread
from liveweights.learn.passages import read_in_tokens
from liveweights.learn.settings import LearnSettings
from liveweights.sharing.continuations import continue_both
from liveweights.sharing.repetition import LONGEST, Probe, Repetition, find_repeated
from liveweights.sharing.source import Source
from liveweights.sharing.texts import Taught, make_probes, read_canaries
from liveweights.weights.models import load_tokenizer


def check_repetition(
    source: Source,
    taught: Taught,
    settings: LearnSettings,
    template: TemplateSettings,
    *,
    ngram: int,
    most: int,
    canaries: Sequence[str] = (),
) -> Repetition:
    """Show the checkpoint the beginnings of at most ``most`` texts that it learnt from, and of all
    ``canaries``, and count those that it ends as they were, where its root does not.

    Raises BrokenModel, OSError, ValueError.
    """
    if not (taught.examples or canaries):
        return Repetition(
            rows=taught.claimed, gone=taught.gone, texts=0, asked=0, ngram=ngram, repeated=()
        )
    tokenizer = load_tokenizer(source.root)
    encode = continue_text(tokenizer)
    _, (examples,) = read_in_tokens(tokenizer, template, taught.examples)
    texts, unasked = make_probes(examples, encode, ngram)
    planted = read_canaries(canaries, encode)
    long = [one for one in texts if one.is_long_enough]
    asked: list[Probe] = [*spread(long, most), *planted]
    repeated = ()
    if asked:
        answers, base_answers = continue_both(
            source, [one.shown_ids for one in asked], LONGEST, settings
        )
        repeated = find_repeated(asked, answers, base_answers)
    return Repetition(
        rows=taught.claimed,
        gone=taught.gone,
        texts=len(texts) + unasked + len(planted),
        asked=len(asked),
        unasked=unasked,
        ngram=ngram,
        repeated=repeated,
    )
