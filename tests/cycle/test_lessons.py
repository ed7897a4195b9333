"""What may be learnt from, and how another model's answers teach."""

from __future__ import annotations

from dataclasses import replace

from tests.record.rows import make_feedback, make_generation

from liveweights.catalog.licences import Duty
from liveweights.cycle.lessons import Lessons, as_lesson
from liveweights.learn.baseline import Baseline
from liveweights.learn.rewards import RewardMap
from liveweights.learn.rows import Rows, build_rows
from liveweights.learn.settings import LearnSettings
from liveweights.record.example import Example
from liveweights.terms.criteria import Candidate
from liveweights.terms.current import Terms
from liveweights.terms.facts import Facts, Origin, unknown_facts

BAN = Duty(kind="output-training", text="no other model may learn from its answers")


def test_a_ban_on_training_with_outputs_is_asked_for_once_and_noted() -> None:
    origin = Origin(name="o/big", licence="LicenseRef-Own", duties=(BAN,))
    big = Candidate(facts=Facts(name="big", origins=(origin,)))
    terms = Terms([big, Candidate(facts=unknown_facts("code"))])
    lessons = Lessons(terms, "code")
    for _ in range(3):
        assert lessons.may_learn("code", "acme")
        assert not lessons.may_learn("big", "acme")
    assert len(terms._denied) == 1
    assert lessons.describe() == (
        "; output-training does not allow it of big: its licence does not let other models learn "
        "from its answers (output-training in licence LicenseRef-Own)"
    )
    assert Lessons(terms, "big").may_learn("big", "acme")  # from its own
    assert Lessons(terms, "code").describe() == ""


def test_what_is_owed_for_learning_is_known() -> None:
    name = Duty(kind="derivative-naming", text="its name begins with 'Dear'")
    origin = Origin(name="o/big", licence="LicenseRef-Own", duties=(name,))
    big = Candidate(facts=Facts(name="big", origins=(origin,)))
    lessons = Lessons(Terms([big, Candidate(facts=unknown_facts("code"))]), "code")
    assert lessons.owed() == []
    assert lessons.owed([("big", None)]) == ["its name begins with 'Dear'"]


def test_on_another_base_a_model_is_another_and_has_the_licence_of_that() -> None:
    name = Duty(kind="derivative-naming", text="its name begins with 'Dear'")
    old = Origin(name="o/old", licence="LicenseRef-Own", duties=(BAN, name))
    terms = Terms([Candidate(facts=unknown_facts("code"))])
    terms.know_on({("code", "old@1"): Facts(name="code", origins=(old,))})
    lessons = Lessons(terms, "code", "new@2")
    for base, may in (("new@2", True), (None, True), ("old@1", False), ("lost@3", True)):
        assert lessons.may_learn("code", "acme", base) is may
    assert [asked.learner for _, asked, _ in terms._denied] == ["another"]
    assert lessons.owed() == []
    assert lessons.owed([("code", "old@1")]) == ["its name begins with 'Dear'"]
    assert Lessons(terms, "code", "old@1").may_learn("code", "acme", "old@1")  # from its own
    assert Lessons(terms, "code", "old@1").owed() == ["its name begins with 'Dear'"]


def build(example: Example) -> Rows:
    return build_rows(
        [example],
        Baseline.empty(),
        RewardMap(),
        LearnSettings(),
        encode=lambda text: [ord(one) for one in text],
    )


def test_what_was_taken_of_another_model_is_a_demonstration() -> None:
    answered = make_generation("g", alias="big", output="ok", prompt='{"prompt": "a"}')
    # As an upstream says it, which tells no tokens.
    answered = replace(answered, usage={"completion_tokens": 60, "reasoning_tokens": 50})
    lesson = as_lesson(Example(answered, (make_feedback("f", "g"),)), "code")
    assert lesson.generation.prompt_ids == lesson.generation.output_ids == []
    with_prompt = replace(lesson, generation=replace(lesson.generation, prompt_ids=[7]))
    (row,) = build(with_prompt).rows
    assert (row.role, row.prompt_ids, row.answer_ids) == ("correction", [7], [ord("o"), ord("k")])
    assert row.weight > 0
    assert build(lesson).rows == []  # its prompt cannot be said to this model


def test_its_own_answers_stay_as_they_are() -> None:
    own = Example(make_generation("g", alias="code"), ())
    assert as_lesson(own, "code") is own
