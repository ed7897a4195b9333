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

_LONG = r"(?:way\ |far\ |much\ |a\ bit\ )?too\ (?:long|short|verbose|vague|complicated|wordy)"
_FAULT = r"(?:error|exception|traceback)"
_BACK = r"""
    (?: (?:^|[,;:(]|\b(?:and|but|because|since|so|sorry|think|seems|afraid|hmm+|no|yes|now|however
      |unfortunately|actually|honestly|answered))[\s\W]*
      (?:it|that|this|these|those|they|you|all\ of\ (?:it|this|that))
    | \b(?:your|the|this|that)\ (?:last\ |first\ |new\ |second\ |whole\ )?(?:answer|code|reply|fix
      |response|solution|output|result|example|explanation|translation|summary|version|suggestion
      |function|link)
    | ^\W* )
"""
"""What a complaint speaks of: what was answered, not some other thing. The beginning of a sentence
stands for it where it names nothing."""
_DISSATISFIED = re.compile(
    rf"""
    ^\W*(?:no+(?!\W+(?:problem|worr|further|more|need|thank|question|doubt|rush|hurry|matter|wonder
      |one|idea|longer|offen[cs]e))|nope|nah|ugh|wrong|incorrect|again(?!\W+thank))\b
    | ^\W*(?:false(?=\W*$|[.,;:!])|not\ (?:quite|really|what|that|right|correct)\b)
    | ^\W*(?:{_LONG}|useless|terrible|awful|nonsense|rubbish|bad\ answer)\b
    | ^\W*(?:(?:the\ |this\ )?same|another|(?:a\ )?new)\ (?:{_FAULT}|problem)\b
    | ^\W*still\ (?:wrong|broken|fails?|failing|not|the\ same|getting)\b
    | {_BACK}(?:['’]?s|['’]re|\ is|\ was|\ are|\ were)?(?:\ (?:still|just|really|simply|also|now
      |even|completely))?\ (?:a\ )?(?:not(?!\ (?:bad|urgent|necess|need|important|a\ prob))|wrong
      |incorrect|useless|nonsense|terrible|awful|rubbish|garbage|made\ up|hallucinat\w*|{_LONG})\b
    | {_BACK}(?:\ (?:still|just|really|simply|also|now|even))?\ ?(?:is|was|are|does|did|do|has|can
      |wo|ca)(?:n['’]?t|\ not)\ (?:work|run|compile|help|answer|what|right|correct|true
      |make\ sense|match|exist|do\ what|solve|fix)
    | {_BACK}(?:['’]?s)?\ still\ (?:wrong|broken|fails?|failing|not|the\ same|getting|gives?|gets?
      |does(?:n['’]?t|\ not))\b
    | {_BACK}\ (?:fails?|failed|crashe[sd]|broke)\b
    | \bnot\ what\ i\ (?:asked|meant|want|said|need)
    | (?<!if\ )\bi\ (?:said\ |asked\ (?:for|you)|told\ you|already\ (?:said|told)
      |meant\ (?!to\ ask))
    | (?<!do\ )(?<!can\ )(?<!if\ )(?<!did\ )(?<!when\ )(?<!should\ )(?<!would\ )\byou\ (?:forgot
      |missed|ignored|misunderstood|made\ (?:(?:a|an|it|that|this)\ )?(?:mistake|error|up)|keep
      |hallucinated|didn['’]?t|did\ not|got\ (?:it|that|this)\ wrong|are\ wrong)\b
    | (?:^|[,;:]|\bplease)\W*(?:try|do\ it|answer|read\ (?:it|that|my\ \w+))\ again\b
    | \bmade\ that\ up\b
    | \bi(?:['’]?m|\ am)?(?:\ still|\ now)?\ (?:get(?:ting)?|got|see(?:ing)?|saw)
      \ (?:the\ same|an?|this|another|that)\ (?:\w+\ )?{_FAULT}\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_SATISFIED = re.compile(
    r"""
    ^\W*(thanks?|thank\ you|thx|ty|great|perfect|excellent|awesome|nice|good|cool|brilliant|lovely
      |wonderful|amazing|exactly|that\ (works?|worked|helps?|helped|did\ it)|it\ works?|works|yes
      |correct|right|ok\ thanks|no\ (?:problem|worries)\W+thanks?)\b
    | \b(works|worked)\ (great|well|perfectly|now|like\ a\ charm)
    | \b(very|really|so|super)\ (helpful|useful|clear|good)
    | \bthat['’]?s\ (it|right|correct|perfect|great|exactly)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_TURN = re.compile(r"\b(but|however|except|although|though)\b", re.IGNORECASE)
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")


def lexical(text: str) -> Mood:
    """Read the first words of an English follow-up.

    Complaint about what was answered, contradiction, repetition of the request or a new error is
    dissatisfied; thanks and praise are satisfied, unless a "but" follows; anything else, above all
    the next question, is neutral. The two lists are short and err towards neutral: a neutral
    follow-up moves nothing.
    """
    head = text[:_HEAD]
    told = [one for one in map(str.strip, _SENTENCE.findall(head)) if not one.endswith("?")]
    if any(_DISSATISFIED.search(one) for one in told):
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
