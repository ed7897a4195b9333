from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.learn.voters import SOMEBODY

from liveweights.learn.job import Report, Step
from liveweights.learn.policy import Policy
from liveweights.learn.resume import Kept, Resume
from liveweights.learn.rows import Row
from liveweights.learn.settings import LearnSettings
from liveweights.learn.tree import TokenRow, TreeBuilder
from liveweights.learn.update import schedule, update


def row(role: Any, prompt: list[int], answer: list[int], weight: float, mu: list[float]) -> Row:
    return Row(role, "g", "s", SOMEBODY, prompt, answer, weight, mu, 1.0)


def total(policy: Policy, path: TokenRow) -> float:
    return float(policy.score([path], [1.0], 512)[0].sum())


def likeliest(policy: Policy, prompt: list[int]) -> int:
    """The most likely next token: what a server would have sampled."""
    logits_1V, _, _ = policy.logits([TokenRow(prompt, [0])])
    return int(logits_1V[0].argmax())


def test_a_packed_pass_is_the_rows_one_by_one(tiny: Path) -> None:
    policy = Policy(tiny, None, LearnSettings())
    paths = [
        TokenRow([1, 2, 3], [4, 5]),
        TokenRow([1, 2, 3], [4, 6, 7]),
        TokenRow([1, 2, 3, 4, 5], [8]),
        TokenRow([9, 2], [3]),
    ]
    together = policy.score(paths, [1.0, 0.5, 2.0, 1.0], 512)
    alone = [
        policy.score([p], [t], 512)[0] for p, t in zip(paths, [1.0, 0.5, 2.0, 1.0], strict=True)
    ]
    for one, other in zip(together, alone, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_packed_gradients_are_those_of_the_rows_one_by_one(tiny: Path) -> None:
    policy = Policy(tiny, None, LearnSettings())
    paths = [TokenRow([1, 2, 3], [4, 5]), TokenRow([1, 2, 3], [4, 6, 7]), TokenRow([1, 2], [3, 4])]
    heat = torch.ones(3)

    def gradients(groups: list[list[TokenRow]]) -> list[torch.Tensor]:
        policy.model.zero_grad()
        for group in groups:
            policy.logprobs(group, heat)[0].sum().backward()
        return [p.grad.clone() for p in policy.parameters()]

    for one, other in zip(gradients([paths]), gradients([[p] for p in paths]), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_the_accepted_rises_the_rejected_falls_the_correction_rises(tiny: Path) -> None:
    settings = LearnSettings(learning_rate=5e-3, epochs=4, nodes=64)
    policy = Policy(tiny, None, settings)
    said = likeliest(policy, [5, 6])
    good, bad, shown = TokenRow([1, 2], [3, 4]), TokenRow([5, 6], [said]), TokenRow([5, 6], [8])
    before = [policy.score([p], [1.0], 64)[0] for p in (good, bad, shown)]
    rows = [
        row("policy", [1, 2], [3, 4], 0.8, before[0].tolist()),
        row("policy", [5, 6], [said], -0.5, before[1].tolist()),
        row("correction", [5, 6], [8], 0.3, []),
    ]
    report = update(policy, rows, settings)
    assert report.taught == 3
    assert report.masked == 0
    assert report.ratio == pytest.approx(1.0, abs=1e-4)
    assert total(policy, good) > float(before[0].sum())
    assert total(policy, bad) < float(before[1].sum())
    assert total(policy, shown) > float(before[2].sum())


def test_an_answer_too_far_off_policy_is_masked_and_counted(tiny: Path) -> None:
    settings = LearnSettings()
    policy = Policy(tiny, None, settings)
    before = total(policy, TokenRow([1, 2], [3]))
    report = update(policy, [row("policy", [1, 2], [3], 0.8, [before - 5.0])], settings)
    assert (report.masked, report.taught, report.steps) == (1, 0, 0)
    assert total(policy, TokenRow([1, 2], [3])) == before


def test_a_saved_adapter_computes_the_same(tiny: Path, tmp_path: Path) -> None:
    settings = LearnSettings(learning_rate=1e-2)
    policy = Policy(tiny, None, settings)
    path = TokenRow([1, 2], [3, 4])
    with policy.base():
        base = total(policy, path)
    update(policy, [row("correction", [1, 2], [3, 4], 1.0, [])], settings)
    policy.finish()
    policy.save(tmp_path / "adapter")
    again = Policy(tiny, tmp_path / "adapter", settings)
    assert total(again, path) == pytest.approx(total(policy, path), abs=1e-5)
    assert total(again, path) > base


@pytest.mark.parametrize("loss", ["topr", "cispo", "gspo"])
def test_every_policy_loss_raises_the_good_and_lowers_the_bad(tiny: Path, loss: Any) -> None:
    settings = LearnSettings(learning_rate=2e-3, epochs=3, nodes=64, loss=loss)
    policy = Policy(tiny, None, settings)
    said = likeliest(policy, [5, 6])
    good, bad = TokenRow([1, 2], [3, 4]), TokenRow([5, 6], [said])
    before = [policy.score([p], [1.0], 64)[0] for p in (good, bad)]
    rows = [
        row("policy", [1, 2], [3, 4], 0.8, before[0].tolist()),
        row("policy", [5, 6], [said], -0.8, before[1].tolist()),
    ]
    update(policy, rows, settings)
    assert total(policy, good) > float(before[0].sum())
    assert total(policy, bad) < float(before[1].sum())


def test_answers_without_probabilities_are_learnt_too(tiny: Path) -> None:
    settings = LearnSettings(learning_rate=2e-3, epochs=3, nodes=64)
    policy = Policy(tiny, None, settings)
    good, bad = TokenRow([1, 2], [3, 4]), TokenRow([5, 6], [7])
    before = [total(policy, p) for p in (good, bad)]
    rows = [
        row("preference", [1, 2], [3, 4], 0.8, []),
        row("preference", [5, 6], [7], -0.8, []),
    ]
    report = update(policy, rows, settings)
    assert report.taught == 2
    assert total(policy, good) > before[0]
    assert total(policy, bad) < before[1]


def test_words_of_the_user_teach_in_hindsight(tiny: Path) -> None:
    """Tokens move to where the policy that knows the reaction has them."""
    settings = LearnSettings(learning_rate=5e-3, epochs=4, nodes=64, kl_weight=0.0)
    policy = Policy(tiny, None, settings)
    prompt, knowing, answers = [1, 2], [1, 2, 9, 9], range(10, 20)
    plain = [total(policy, TokenRow(prompt, [a])) for a in answers]
    told = [total(policy, TokenRow(knowing, [a])) for a in answers]
    rows = [
        Row("hindsight", "g", "s", SOMEBODY, prompt, [a], 1.0, [p], 1.0, teacher_ids=knowing)
        for a, p in zip(answers, plain, strict=True)
    ]
    update(policy, rows, settings)
    after = [total(policy, TokenRow(prompt, [a])) for a in answers]
    moved = torch.tensor(after) - torch.tensor(plain)
    wanted = torch.tensor(told) - torch.tensor(plain)
    assert float(torch.corrcoef(torch.stack([moved, wanted]))[0, 1]) > 0.5


def test_a_server_that_differs_from_the_trainer_raises_an_alarm(tiny: Path) -> None:
    settings = LearnSettings(nodes=64, max_mismatch=0.2)
    served = total(Policy(tiny, None, settings), TokenRow([1, 2], [3]))

    def report(off: float, fresh: bool) -> Report:
        answer = Row(
            "policy", "g", "s", SOMEBODY, [1, 2], [3], 0.5, [served + off], 1.0, fresh=fresh
        )
        return update(Policy(tiny, None, settings), [answer], settings)

    assert report(0.1, True).mismatch == pytest.approx(0.1, abs=1e-4)
    assert report(0.1, True).alarms == []
    assert "differ by 0.300 nats" in report(0.3, True).alarms[0]
    # Another checkpoint's answers are off-policy, not a mismatch.
    assert report(0.3, False).mismatch is None


def test_a_step_of_several_trees_is_that_of_one(tiny: Path) -> None:
    def weights(nodes: int, step_rows: int) -> list[torch.Tensor]:
        policy = Policy(tiny, None, LearnSettings())
        rows = [
            row("correction", [*range(1 + n, 40 + n)], [n, 9], 0.5, [])
            if n % 2
            else row("policy", [*range(1 + n, 40 + n)], [n, 9], 0.5, [-4.0, -4.0])
            for n in range(5)
        ]
        settings = LearnSettings(nodes=nodes, step_rows=step_rows, ratio_band=1e6)
        assert update(policy, rows, settings).steps == 1
        return [weight.detach().clone() for weight in policy.parameters()]

    for one, other in zip(weights(1024, 1), weights(64, 5), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_preferences_of_a_step_are_held_against_one_point(tiny: Path) -> None:
    """However many passes the step takes; from the second step on that point is not 0."""

    def weights(nodes: int) -> tuple[Report, list[torch.Tensor]]:
        policy = Policy(tiny, None, LearnSettings())
        rows = [
            row("preference", [*range(1 + n, 40 + n)], [n, 9 + n][: 1 + n % 2], 0.5 * (-1) ** n, [])
            for n in range(3)
        ]
        settings = LearnSettings(nodes=nodes, step_rows=3, epochs=4, learning_rate=5e-3)
        told: list[Step] = []
        report = update(policy, rows, settings, told.append)
        assert report.steps == len(told) == 4
        return report, [weight.detach().clone() for weight in policy.parameters()]

    (whole, ours), (parts, theirs) = weights(1024), weights(64)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_step_without_sampled_answers_leaves_the_penalty_as_it_is(tiny: Path) -> None:
    settings = LearnSettings(learning_rate=5e-3, epochs=1, nodes=64, step_rows=1, seed=1)
    policy = Policy(tiny, None, settings)
    demonstrations = [row("correction", [*range(1 + n, 60 + n)], [5], 0.5, []) for n in range(4)]
    weights: list[float] = []

    class Hears(Resume):
        def load(self, fingerprint: str) -> Kept | None:
            return None

        def keep(
            self, fingerprint: str, parameters: Any, optimizer: Any, numbers: dict[str, Any]
        ) -> None:
            weights.append(numbers["kl_weight"])

    update(policy, demonstrations, settings, resume=Hears(Path("nowhere")))
    assert weights == [settings.kl_weight] * 4


def test_a_step_without_finite_numbers_is_skipped_and_counted(tiny: Path) -> None:
    settings = LearnSettings(learning_rate=5e-3, epochs=2, nodes=32, step_rows=1)
    policy = Policy(tiny, None, settings)
    shown, broken = TokenRow([1, 2], [3]), float("nan")
    before = total(policy, shown)
    # Prompts of that length leave no room for another row: each is a step of its own.
    rows = [
        row("correction", [1, 2], [3], 1.0, []),
        row("correction", [*range(2, 62)], [4], broken, []),
        row("correction", [*range(3, 63)], [5], float("inf"), []),
    ]
    steps: list[Step] = []
    report = update(policy, rows, settings, steps.append)
    assert (report.steps, report.skipped) == (2, 4)
    assert "4 of 6 gradient steps were skipped" in report.alarms[0]
    assert total(policy, shown) > before
    # What is told and kept on the way are numbers, and so can be read again.
    for told in (report, *steps):
        assert msgspec.json.decode(msgspec.json.encode(told), type=type(told)) == told


def test_where_every_step_is_skipped_nothing_moves(tiny: Path) -> None:
    settings = LearnSettings(nodes=64)
    policy = Policy(tiny, None, settings)
    before = [weight.detach().clone() for weight in policy.parameters()]
    report = update(policy, [row("correction", [1], [3], float("nan"), [])], settings)
    assert (report.steps, report.skipped, report.loss) == (0, 1, 0.0)
    for weight, was in zip(policy.parameters(), before, strict=True):
        assert torch.equal(weight, was)


def test_a_ratio_beyond_all_numbers_is_none(tiny: Path) -> None:
    policy = Policy(tiny, None, LearnSettings())
    unlikely = row("policy", [1, 2], [3], 0.5, [-9999.0])
    report = update(policy, [unlikely], LearnSettings())
    assert (report.masked, report.ratio) == (1, None)


def test_progress_tells_where_it_stands(tiny: Path) -> None:
    settings = LearnSettings(nodes=64, epochs=2)
    steps: list[Step] = []
    policy = Policy(tiny, None, settings)
    said = total(policy, TokenRow([1, 2], [63]))
    rows = [row("correction", [1, 2], [3], 1.0, []), row("policy", [1, 2], [63], 0.2, [said])]
    report = update(policy, rows, settings, steps.append)
    assert [(s.done, s.total) for s in steps] == [(2, 4), (4, 4)]
    assert steps[-1].grad_norm <= report.grad_norm_max
    assert report.roles == {"correction": 1, "policy": 1}


@given(st.integers(1, 500))
def test_the_step_size_rises_and_falls(steps: int) -> None:
    rates = [schedule(step, steps) for step in range(steps)]
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert all(0.1 <= rate <= 1.0 for rate in rates[top:])
    assert max(rates) == 1.0
    assert steps < 20 or rates[-1] < 0.2


def test_an_episodes_gradients_in_the_tree_are_those_of_its_steps_one_by_one(tiny: Path) -> None:
    """Each step's prompt goes on from the answer before it and what a tool said: the trees share
    them, and nothing but the sampled tokens is scored."""
    policy = Policy(tiny, None, LearnSettings())
    asked, tool, user = [1, 2, 3], [7, 8], [9, 2]
    answers = [[4, 5], [4, 6, 7], [5]]
    steps = [TokenRow(asked, answers[0])]
    for told, answer in zip((tool, user), answers[1:], strict=True):
        before = steps[-1]
        steps.append(TokenRow([*before.prompt_ids, *before.answer_ids, *told], answer))
    builder = TreeBuilder()
    for step in steps:
        builder.add(step)
    tree = builder.build()
    # The last step's own path is the whole tree: the episode is computed once.
    assert len(tree.token_N) == len(steps[-1].prompt_ids) + len(steps[-1].answer_ids) - 1
    assert tree.target_T.tolist() == [token for answer in answers for token in answer]
    heat, advantage = torch.ones(len(steps)), 0.75

    def gradients(groups: list[list[TokenRow]]) -> list[torch.Tensor]:
        policy.model.zero_grad()
        for group in groups:
            (advantage * policy.logprobs(group, heat)[0].sum()).backward()
        return [p.grad.clone() for p in policy.parameters()]

    together, alone = gradients([steps]), gradients([[step] for step in steps])
    assert any(bool(one.abs().max() > 1e-6) for one in alone)
    for one, other in zip(together, alone, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_what_a_tool_or_the_user_said_is_scored_by_nothing(tiny: Path) -> None:
    """So no loss has a gradient on it: a loss reads the logits of sampled tokens alone."""
    policy = Policy(tiny, None, LearnSettings())
    first = TokenRow([1, 2, 3], [4, 5])
    second = TokenRow([*first.prompt_ids, *first.answer_ids, 7, 8], [6])
    builder = TreeBuilder()
    builder.add(first)
    builder.add(second)
    tree = builder.build()
    logits_TV, target_T, _ = policy.logits([first, second])
    assert target_T.tolist() == [4, 5, 6]
    read = {int(node) for node in tree.reader_T}
    # Nodes 4 and 5 predict the tool's tokens 7 and 8: nobody reads them.
    assert read == {2, 3, 6}
    assert len(logits_TV) == len(read)
