"""What a string's grammar lets through is what it lets through of the text that is escaped in it,
whatever tokens the string is cut into."""

from __future__ import annotations

import asyncio
import json
import random
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from liveweights.engines.guide import GuideMaker
from liveweights.engines.json_strings import StringVocabulary, spelled
from liveweights.engines.protocol import (
    STRING_CHARACTERS,
    Constraint,
    InvalidConstraint,
    StringGrammar,
)

OPENING = '{"input": "'
PIECES = (  # tokens of several characters, as large vocabularies have them
    *("\\n", '\\"', "\\\\", "\\\\\\", "a\\", "n\\", '."', '"}', '"}}', '\\""', ': "', ': "a'),
    *("ab", "+a", "na", "**", "*** Begin", '{"', "input", '"}\n', "\\nb", "é", "é\\"),
    *("\\n\\n", '{"input": "', '{"input": "a', "\\u", "\\/", ' "a\\', "na\\", 'n"}'),
)  # fmt: skip
PATCH = """start: begin hunk+ end
begin: "*** Begin Patch" LF
end: "*** End Patch" LF?
hunk: "*** Add File: " filename LF add_line+
filename: /(.+)/
add_line: "+" /(.*)/ LF -> line
%import common.LF
"""
GRAMMARS = {
    "patch": ("lark", PATCH),
    "lines": ("lark", 'start: (/[^\\n]*/ "\\n")+'),
    "quoted": ("lark", 'start: (ESCAPED_STRING | WORD)+\n%import common (ESCAPED_STRING, WORD)\n'
                       "%ignore /[ ]+/"),
    "sum": ("lark", 'start: expr\nexpr: expr "+" term | term\nterm: "(" expr ")" | /[ab]+/'),
    "json": ("lark", 'start: %json {"type": "array", "items": {"enum": ["a\\"b", "é"]}}'),
    "regex": ("regex", r'(a|\\|"|\n)*b?'),
    "slashes": ("regex", r"[a/]+"),
    "any": ("regex", r"(?s:.*)"),
}  # fmt: skip
TEXTS = st.one_of(
    st.text(st.sampled_from('ab+()"\\\n /é*n.[],{}\t'), max_size=14),
    st.lists(
        st.sampled_from(["*** Begin Patch\n", "*** Add File: ", "a\\", "+", "\n", "*** End Patch",
                         '"', '["a\\"b", "é"]', "a"]),
        max_size=9,
    ).map("".join),
)  # fmt: skip


@cache
def make_tokenizer() -> Any:
    """Byte-level, with tokens that its own encoding never uses and a model may draw."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    more = ["".join(part for part, _ in spell.pre_tokenize_str(piece)) for piece in PIECES]
    vocabulary = {token: id for id, token in enumerate(dict.fromkeys([*alphabet, *more]))}
    backend = Backend(models.BPE(vocabulary, []))
    backend.pre_tokenizer = spell
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>")


@cache
def make_guides() -> GuideMaker:
    tokenizer = make_tokenizer()
    return GuideMaker(tokenizer, {tokenizer.eos_token_id})


@cache
def token_bytes() -> list[bytes]:
    return StringVocabulary(asyncio.run(make_guides()._tables())).tokens  # type: ignore[attr-defined]


def constraint_of(*grammars: tuple[str, str]) -> Constraint:
    """Calls of tools f0, f1, ..., each with such an input, one after the other."""
    rules = ["start: call+", "call: " + " | ".join(f"fn_{i}" for i in range(len(grammars)))]
    for i in range(len(grammars)):
        rules += [
            f'fn_{i}: "f{i}(" input_{i} {STRING_CHARACTERS} "\\"}})"',
            f"input_{i}[capture]: {json.dumps(OPENING)}",
        ]
    strings = tuple(
        StringGrammar(f"input_{i}", OPENING, kind, source, f"the grammar of f{i}")  # type: ignore[arg-type]
        for i, (kind, source) in enumerate(grammars)
    )
    return Constraint("lark", "\n".join(rules), "a call", strings)


def cut(rng: random.Random, *texts: str) -> list[int]:
    """A call of each tool, in order. Within a string in any tokens that fit, even across its end;
    else a byte at a time, as this tokenizer does by itself."""
    ids: list[int] = []
    for place, text in enumerate(texts):
        ids += [bytes_at(byte) for byte in f"f{place}({OPENING}".encode()]
        inside = json.dumps(text, ensure_ascii=False)[1:].encode()
        left = inside + b"})"
        while len(left) > len(b"})"):
            id, token = rng.choice(
                [(id, t) for id, t in enumerate(token_bytes()) if t and left.startswith(t)]
            )
            ids.append(id)
            left = left[len(token) :]
        ids += [bytes_at(byte) for byte in left]
    return ids


def bytes_at(byte: int) -> int:
    return token_bytes().index(bytes([byte]))


async def accepts(constraint: Constraint, ids: list[int]) -> bool:
    tokenizer = make_tokenizer()
    guide = await make_guides().make(constraint)
    for id in (*ids, tokenizer.eos_token_id):
        try:
            allowed = guide.allowed(len(tokenizer))
        except InvalidConstraint:
            return False
        if not allowed[id]:
            return False
        guide.push(id)
    return True


@cache
def plain() -> Any:
    return LLTokenizer("byte")


def follows(kind: str, source: str, text: str) -> bool:
    """Whether the grammar lets the text through, written as it is."""
    make: Any = LLMatcher
    grammar = make.grammar_from_lark(source) if kind == "lark" else make.grammar_from_regex(source)
    matcher = make(plain(), grammar, log_level=0)
    said = list(text.encode())
    return matcher.try_consume_tokens(said) == len(said) and matcher.is_accepting()


@pytest.mark.parametrize("name", GRAMMARS)
@settings(deadline=None, max_examples=150)
@given(text=TEXTS, seed=st.integers(0, 9))
def test_it_lets_through_what_the_grammar_does(name: str, text: str, seed: int) -> None:
    kind, source = GRAMMARS[name]
    ids = cut(random.Random(seed), text)
    taken = asyncio.run(accepts(constraint_of((kind, source)), ids))
    assert taken == follows(kind, source, text)


@settings(deadline=None, max_examples=60)
@given(texts=st.lists(TEXTS, min_size=2, max_size=2), seed=st.integers(0, 9))
def test_each_call_follows_its_own(texts: list[str], seed: int) -> None:
    grammars = (GRAMMARS["lines"], GRAMMARS["regex"])
    ids = cut(random.Random(seed), *texts)
    taken = asyncio.run(accepts(constraint_of(*grammars), ids))
    assert taken == all(follows(*g, text) for g, text in zip(grammars, texts, strict=True))


@pytest.mark.parametrize("name", GRAMMARS)
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_whatever_is_drawn_can_go_on_and_reads_as_the_text(name: str, seed: int) -> None:
    """A walk over what is allowed never ends in front of nothing; where it ends, the input that a
    client gets follows the grammar."""
    kind, source = GRAMMARS[name]
    tokenizer, rng = make_tokenizer(), random.Random(seed)

    async def walk() -> bytes | None:
        guide = await make_guides().make(constraint_of((kind, source)))
        said = b""
        for _ in range(60):
            allowed = guide.allowed(len(tokenizer)).nonzero()[0].tolist()
            id = rng.choice(allowed)
            if tokenizer.eos_token_id in allowed:
                return said
            said += token_bytes()[id]
            guide.push(id)
        return None

    said = asyncio.run(walk())
    if said is not None:
        body = said.removeprefix(b"f0(").removesuffix(b")").decode(errors="replace")
        assert follows(kind, source, json.loads(body)["input"])


def test_a_string_begins_with_a_token_of_its_own() -> None:
    tokenizer, tokens = make_tokenizer(), token_bytes()

    async def follow() -> list[set[bytes]]:
        guide = await make_guides().make(constraint_of(("regex", "a+")))
        found: list[set[bytes]] = []
        for byte in b'f0({"input": "':
            found.append({tokens[id] for id in guide.allowed(len(tokenizer)).nonzero()[0]})
            guide.push(bytes_at(byte))
        return found

    *_, colon, blank, quote = asyncio.run(follow())
    assert (colon, blank, quote) == ({b":", b': "'}, {b" "}, {b'"'})


@pytest.mark.parametrize(
    ("token", "escaping", "found"),
    [
        (b"ab", False, (b"ab", False)),
        (b"\\n\\", False, (b"\n", True)),
        (b'n"}', True, (b"\n\xfe", False)),
        (b'a"', False, (b"a\xfe", False)),
        (b'\\"', False, (b'"', False)),
        (b"\\u0041", False, None),
        (b"u", True, None),
        (b"\n", False, None),
        ("é".encode()[:1], False, ("é".encode()[:1], False)),
    ],
)
def test_tokens_are_read_as_what_they_spell(
    token: bytes, escaping: bool, found: tuple[bytes, bool] | None
) -> None:
    assert spelled(token, escaping=escaping) == found


@pytest.mark.parametrize(
    ("kind", "source", "said"),
    [
        ("lark", "start: nowhere", 'unknown name: "nowhere"'),
        ("lark", "start: <|im_end|>", "unknown special token"),
        ("lark", 'start: "a"\n}\nx: "b"', "2(1)"),
        ("lark", "rule: /a/", "no start rule"),
        ("lark", "", "Empty grammar"),
        ("regex", "[", "unclosed character class"),
        ("regex", "(?=a)b", "look-around"),
    ],
)
def test_a_grammar_that_makes_no_sense_is_named(kind: str, source: str, said: str) -> None:
    constraint = constraint_of(("regex", "a"), (kind, source))
    with pytest.raises(InvalidConstraint, match=r"^the grammar of f1 is not") as caught:
        asyncio.run(make_guides().make(constraint))
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert "available" not in message
