"""Chat templates in their process, whatever they do there."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.processes import is_alive, list_children
from tests.serve.api.doubles import make_tokenizer

from liveweights.catalog.template import (
    ChatTemplate,
    TemplateRefusal,
    TemplateSettings,
    find_fault,
    rendering,
)
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import load_tokenizer

HI = [{"role": "user", "content": "hi"}]
BAD = [{"role": "user", "content": "bad"}]
LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
MACRO = "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}"
QUICK = TemplateSettings(seconds=0.3)


def on_bad(text: str) -> str:
    """A template that answers anybody but a message "bad"."""
    return (
        "{% if messages[0].content == 'bad' %}" + text + "{% endif %}ok {{ messages[0].content }}"
    )


def children() -> list[int]:
    """Processes of this one that render; a whole run of tests has others."""
    return list_children("liveweights.catalog.template_host")


def proc(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


def use(
    template: Any,
    work: Callable[[ChatTemplate], Awaitable[None]],
    settings: TemplateSettings = QUICK,
    **tokens: str,
) -> None:
    async def run() -> None:
        tokenizer = SimpleNamespace(chat_template=template, special_tokens_map=tokens)
        made = ChatTemplate(tokenizer, settings)
        try:
            async with asyncio.timeout(200):
                await work(made)
        finally:
            await made.close()

    asyncio.run(run())


# What Jinja could compute when it compiles is made to depend on the conversation's length, 1.
HARMFUL = {
    "nested loops": (LOOP, "it computes for more than 1 s"),
    "long output": ("{{ 'x' * (n * 100000000) }}", "it makes 100,000,"),
    "memory": ("{{ 'x' * (n * 10000000000) }}", "it needs more memory than it may have"),
    "memory in steps": (
        "{% set s = namespace(x='x') %}"
        "{% for i in range(60) %}{% set s.x = s.x + s.x %}{% endfor %}",
        "it needs more memory than it may have",
    ),
    "division": ("{{ n // 0 }}", "ZeroDivisionError"),
    "overflow": ("{{ (9.0 + n) ** 400 }}", "OverflowError"),
    "recursion": (MACRO, "it calls itself too many times"),
    "undefined": ("{{ nothing.at.all }}", "UndefinedError: 'nothing' is undefined"),
    "digits": ("{{ (9 + n) ** 100000 }}", "ValueError"),
    "long computation": ("{{ (9 + n) ** 100000000 }}", "it computes for more than 1 s"),
    "escape": ("{{ ''.__class__.__mro__ }}", "SecurityError"),
    "wrong type": ("{{ messages + n }}", "TypeError"),
}  # fmt: skip


def test_what_harms_is_a_sentence_and_others_go_on() -> None:
    cases = [
        f"{{% elif messages[0].content == '{what}' %}}{text}" for what, (text, _) in HARMFUL.items()
    ]
    template = (
        "{% set n = messages|length %}{% if false %}"
        + "".join(cases)
        + "{% else %}ok {{ messages[0].content }}{% endif %}"
    )

    async def work(made: ChatTemplate) -> None:
        for what, (_, why) in HARMFUL.items():
            refused = made.render([{"role": "user", "content": what}], None)
            others = [made.render(HI, None) for _ in range(5)]
            error, *texts = await asyncio.gather(refused, *others, return_exceptions=True)
            assert isinstance(error, TemplateRefusal), what
            assert str(error).startswith("fails at these messages: "), what
            assert why in str(error), what
            assert texts == ["ok hi"] * 5, what

    use(template, work, TemplateSettings(seconds=1))


def test_what_a_template_refuses_it_says_itself() -> None:
    async def work(made: ChatTemplate) -> None:
        with pytest.raises(TemplateRefusal, match=r"^refuses these messages: no system here$"):
            await made.render(BAD, None)

    use(on_bad("{{ raise_exception('no system here') }}"), work)


def test_a_process_that_dies_is_replaced() -> None:
    async def work(made: ChatTemplate) -> None:
        assert await made.render(HI, None) == "ok hi"
        (pid,) = children()
        os.kill(pid, signal.SIGKILL)
        while pid in children():
            await asyncio.sleep(0.01)
        # Its death may be seen before the next question, or instead of its answer.
        (first,) = await asyncio.gather(made.render(HI, None), return_exceptions=True)
        assert first == "ok hi" or "it ended the process that rendered it" in str(first)
        assert await made.render(HI, None) == "ok hi"
        assert children() != [pid]

    use(on_bad(""), work)
    assert not children()


def test_one_that_was_ended_while_it_waited_costs_no_answer() -> None:
    async def work(made: ChatTemplate) -> None:
        assert await made.render(HI, None) == "ok hi"
        process = made._short._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        await process.ended.wait()
        assert await made.render(HI, None) == "ok hi"

    use(on_bad(""), work)
    assert not children()


def test_long_conversations_are_not_in_the_way_of_short_ones() -> None:
    async def work(made: ChatTemplate) -> None:
        await made.start()
        long = asyncio.create_task(
            made.render([*BAD, {"role": "user", "content": "x" * 99_999}], None)
        )
        await asyncio.sleep(0.05)
        assert await made.render(HI, None) == "ok hi"
        assert not long.done()
        with pytest.raises(TemplateRefusal, match="computes for more than 5 s"):
            await long

    use(on_bad(LOOP), work, TemplateSettings(seconds=5))


def test_who_does_not_wait_any_more_spoils_nothing() -> None:
    async def work(made: ChatTemplate) -> None:
        await made.start()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await made.render(BAD, None)
        assert await made.render(HI, None) == "ok hi"

    use(on_bad(LOOP), work, TemplateSettings(seconds=60))


def test_anything_that_json_can_say_arrives() -> None:
    strange = {"n": 10**30, "x": float("inf"), "half": "\ud800", "none": None, "\0": ["é"]}

    async def work(made: ChatTemplate) -> None:
        said = [{"role": "user", "content": "a", "tool_calls": [strange]}]
        assert await made.render(said, [strange]) == f"{[strange]} {[strange]}"
        deep: Any = []
        for _ in range(100_000):
            deep = [deep]
        with pytest.raises(TemplateRefusal, match="nested"):
            await made.render([{"role": "user", "content": deep}], None)
        assert await made.render(said, None) == f"{[strange]} None"

    use("{{ messages[0].tool_calls }} {{ tools }}", work)


def test_of_several_templates_the_one_for_tools_is_taken() -> None:
    async def work(made: ChatTemplate) -> None:
        assert await made.render(HI, None) == "plain <s>"
        assert await made.render(HI, [{}]) == "tools <s>"

    several = {"default": "plain {{ bos_token }}", "tool_use": "tools {{ bos_token }}"}
    use(several, work, bos_token="<s>")
    with pytest.raises(TemplateRefusal, match="none is called 'default'"):
        use({"rag": ""}, work)


@pytest.mark.skipif(sys.platform != "linux", reason="it is read from /proc")
def test_secrets_of_the_environment_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEWEIGHTS_UPSTREAM_KEY", "sk-secret")

    async def work(made: ChatTemplate) -> None:
        await made.render(HI, None)
        (pid,) = children()
        assert b"sk-secret" not in proc(pid, "environ")

    use(on_bad(""), work)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_memory_is_limited_by_the_kernel() -> None:
    async def work(made: ChatTemplate) -> None:
        await made.render(HI, None)
        (pid,) = children()
        limit, _ = resource.prlimit(pid, resource.RLIMIT_AS)
        mapped = int(proc(pid, "statm").split()[0]) * resource.getpagesize()
        assert 0 < limit <= mapped + (512 << 20)

    use(on_bad(""), work)


def test_the_fault_of_a_template_that_answers_nobody() -> None:
    def fault(template: Any) -> str | None:
        return asyncio.run(find_fault(SimpleNamespace(chat_template=template), QUICK))

    assert fault(None) is None
    assert fault("{{ messages[0].content }}") is None
    assert fault("{{ raise_exception('system first') }}") is None
    why = "its chat template fails at a plain question: "
    assert fault(LOOP) == why + "it computes for more than 0.3 s"
    assert fault("{% if %}").startswith(why + "it cannot be read, at line 1")  # type: ignore[union-attr]
    assert fault({"rag": ""}) == "its chat template is one of ['rag'], and none is called 'default'"


def test_as_the_library_does_it() -> None:
    tokenizer = make_tokenizer()
    with rendering(tokenizer) as render:
        said = [{"role": "system", "content": "Be brief."}, *HI]
        assert render(said) == tokenizer.apply_chat_template(
            said, tokenize=False, add_generation_prompt=True
        )
    with (
        rendering(SimpleNamespace(chat_template=None)) as render,
        pytest.raises(TemplateRefusal, match="is missing"),
    ):
        render(HI)


@pytest.mark.model
def test_the_packaged_models_own(base: Checkpoint) -> None:
    tokenizer: Any = load_tokenizer(base)
    said = [*HI, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "é ✓"}]
    with rendering(tokenizer) as render:
        text = render(said)
    ids = tokenizer.apply_chat_template(said, add_generation_prompt=True, return_dict=False)
    assert tokenizer.encode(text, add_special_tokens=False) == ids


def test_it_ends_with_its_parent() -> None:
    program = (
        "import asyncio\n"
        "from types import SimpleNamespace\n"
        "from liveweights.catalog.template import ChatTemplate\n"
        "async def main():\n"
        "    made = ChatTemplate(SimpleNamespace(chat_template='x'))\n"
        "    await made.start()\n"
        "    print(made._short._process.pid, made._long._process.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )

    async def run() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, env=os.environ
        )
        assert process.stdout is not None
        pids = [int(pid) for pid in (await process.stdout.readline()).split()]
        assert len(pids) == 2
        process.kill()
        await process.wait()
        async with asyncio.timeout(60):
            while any(map(is_alive, pids)):
                await asyncio.sleep(0.05)

    asyncio.run(run())
