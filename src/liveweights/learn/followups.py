"""What a user's next message says about the answer before it.

`lexical` is the default classifier. Another one is any function from text to `Mood`, named in the
settings as ``package.module:function``; what it gets wrong is neutral.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Callable
from functools import cache
from typing import cast, get_args

from liveweights.record.feedback import Mood

log = logging.getLogger(__name__)

Classifier = Callable[[str], Mood]

_HEAD = 300
"""Characters that are read: what a user thinks of an answer stands at the beginning."""

_DISSATISFIED = re.compile(
    r"""
    ^\W*(no+|nope|wrong|incorrect|false|not\ (quite|really|what|that|right|correct)|nah|ugh|again)\b
    | \bthat('s|\ is|\ was|s)?\ (not|n't|wrong|incorrect|useless|nonsense)
    | \b(is|was|are|does|did|do|has|can|would|should)(n['’]?t|\ not)\ (work|run|compile|help|answer
      |what|right|correct|true|make\ sense|match|exist|do\ what|solve|fix)
    | \bnot\ what\ i\ (asked|meant|want|said|need)
    | \bi\ (said|asked\ (for|you)|told\ you|meant|already\ (said|told))
    | \byou\ (forgot|missed|ignored|misunderstood|made\ (a|an|it)?\ ?(mistake|error|up)|didn['’]?t
      |did\ not|got\ (it|that|this)\ wrong|are\ wrong|keep)
    | \b(try|do\ it|answer|read\ (it|that|my))\ again\b
    | \bstill\ (wrong|broken|fails?|failing|not|the\ same|getting|does)
    | \b(useless|terrible|awful|nonsense|hallucinat\w*|made\ that\ up|bad\ answer|too\ (long|short
      |verbose|vague|complicated|wordy))\b
    | \b(same|an?|the|this|another)\ (error|exception|traceback)\b
    | \bactually,?\ (it|that|this|i|the)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_SATISFIED = re.compile(
    r"""
    ^\W*(thanks?|thank\ you|thx|ty|great|perfect|excellent|awesome|nice|good|cool|brilliant|lovely
      |wonderful|amazing|exactly|that\ (works?|worked|helps?|helped|did\ it)|it\ works?|works|yes
      |correct|right|ok\ thanks)\b
    | \b(works|worked)\ (great|well|perfectly|now|like\ a\ charm)
    | \b(very|really|so|super)\ (helpful|useful|clear|good)
    | \bthat['’]?s\ (it|right|correct|perfect|great|exactly)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_TURN = re.compile(r"\b(but|however|except|although|though)\b", re.IGNORECASE)


def lexical(text: str) -> Mood:
    """Read the first words of an English follow-up.

    Complaint, contradiction, repetition of the request or a new error is dissatisfied; thanks and
    praise are satisfied, unless a "but" follows; anything else, above all the next question, is
    neutral. The two lists are short and err towards neutral: a neutral follow-up moves nothing.
    """
    head = text[:_HEAD]
    if _DISSATISFIED.search(head):
        return "dissatisfied"
    if _SATISFIED.search(head):
        return "neutral" if _TURN.search(head) else "satisfied"
    return "neutral"


@cache
def load_classifier(name: str) -> Classifier:
    """The function ``package.module:function``. Raises ValueError if there is none."""
    module, _, function = name.partition(":")
    try:
        classifier = getattr(importlib.import_module(module), function)
    except Exception as error:  # a module may raise anything while it is imported
        told = f"{type(error).__name__}: {error}"
        raise ValueError(f"there is no classifier {name!r}: {told}") from error
    if not callable(classifier):
        raise ValueError(f"the classifier {name!r} is not a function")
    return cast(Classifier, classifier)


def read_mood(name: str, text: str) -> Mood:
    """What the classifier ``name`` says of ``text``; neutral, which moves nothing, where it raises
    or returns another word: neither a cycle nor a canary depends on it. The first such text of a
    process is warned of. Raises ValueError if there is no such classifier."""
    classifier = load_classifier(name)
    try:
        mood = cast(object, classifier(text))  # as it should, but may not
    except Exception as error:
        _warn(name, f"raised {type(error).__name__}", error)
        return "neutral"
    if isinstance(mood, str) and mood in get_args(Mood):
        return cast(Mood, mood)
    _warn(name, f"returned {repr(mood)[:_TOLD]}, not one of {', '.join(get_args(Mood))}")
    return "neutral"


_TOLD = 80
"""Characters of what a classifier returned."""
_warned: set[str] = set()


def _warn(name: str, what: str, error: Exception | None = None) -> None:
    if name not in _warned:
        _warned.add(name)
        log.warning("the classifier %r %s: such texts count as neutral", name, what, exc_info=error)
