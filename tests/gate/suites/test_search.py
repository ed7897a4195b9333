from __future__ import annotations

import asyncio
import json
import re

from tests.gate.suites.doubles import ScriptedModel, always

from liveweights.gate.suites.search import find_documents, make_world, open_search
from liveweights.gate.suites.suite import ToolCall


def test_a_question_names_what_one_or_two_documents_hold() -> None:
    documents, cases = make_world()
    assert make_world() == (documents, cases)
    texts = " ".join(one.text for one in documents.values())
    assert len(cases) == len({case.id for case in cases}) == 84
    assert all(str(case.target) in texts for case in cases)


def test_whoever_searches_and_opens_finds_the_answer() -> None:
    """Follows names from document to document, as a reader would."""
    suite = open_search()
    titles = {one.title: one.id for one in suite.documents.values()}

    async def solve(text: str) -> str:
        seen = text
        for _ in range(3):
            for title, id_ in titles.items():
                if title in seen and suite.documents[id_].text not in seen:
                    opened = ToolCall(id="c", name="open", arguments=json.dumps({"id": id_}))
                    seen += " " + suite.use(opened)
        return seen

    for case in suite.cases():
        assert case.messages is not None
        assert str(case.target) in asyncio.run(solve(case.messages[0]["content"]))


def test_an_agent_works_in_turns_and_its_last_words_count() -> None:
    suite = open_search()
    case = suite.cases()[0]
    person = re.findall(r"does (.*) work", (case.messages or [{}])[0]["content"])[0]

    def answer(prompt: str, seed: int) -> str:
        if prompt.startswith("["):
            (first, *_) = json.loads(prompt)
            return f'call open {{"id": "{first["id"]}"}}'
        if "works for" in prompt:
            return prompt.replace("works for", "is paid by")
        return f'call search {{"query": "{person} works"}}'

    solved = asyncio.run(suite.attempt(case, ScriptedModel("agent", answer), 0))
    assert (solved.score, solved.detail) == (1.0, "2 calls")
    guess = asyncio.run(suite.attempt(case, always("guess", "I do not know."), 0))
    assert guess.score == 0.0
    loop = asyncio.run(suite.attempt(case, always("loop", 'call search {"query": "x"}'), 0))
    assert (loop.score, loop.detail) == (0.0, "out of turns")


def test_what_a_tool_cannot_do_is_said_to_the_model() -> None:
    suite = open_search()
    for name, arguments in (
        ("open", '{"id": "d999"}'),
        ("open", '{"id": 3}'),
        ("open", "no JSON"),
        ("search", "{}"),
        ("delete", '{"id": "d1"}'),
    ):
        assert suite.use(ToolCall(id="c", name=name, arguments=arguments)).startswith("error: ")
    assert find_documents("nothing-alike", suite.documents.values()) == []
