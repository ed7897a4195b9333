"""Answers of families, as their own templates and documents have them, and what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Called = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Transcript:
    """``template`` is what of the family's own tells the syntax; ``opened``: its prompt has begun
    the thinking."""

    template: str
    answer: str
    thought: str = ""
    text: str = ""
    calls: Sequence[Called] = ()
    opened: bool = False


ROME: Called = ("get_weather", {"city": "Rome"})
TOKYO: Called = ("get_weather", {"city": "東京 <b>"})
THINK = "{{ '<think>' if false }}"
KIMI = THINK + "{{ tools and '<|tool_calls_section_begin|>' }}"
V31 = THINK + "{{ tools and '<｜tool▁calls▁begin｜>' }}"
R1 = V31 + "{# ```json #}"
GLM = THINK + "{{ tools and '<tool_call><arg_key>' }}"
CODER = "{{ tools and '<tool_call><function=' }}"
MINIMAX = THINK + "{{ tools and '<minimax:tool_call>' }}"
NEMOTRON = THINK + "{{ tools and '<TOOLCALL>' }}"
HARMONY = "{{ tools and '<|channel|>' }}"
HERMES = THINK + "{{ tools and '<tool_call>' }}"

TRANSCRIPTS = {
    "qwen3": Transcript(
        HERMES,
        "<think>\nThe user wants the weather.\nI call it.\n</think>\n\n<tool_call>\n"
        '{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>',
        "The user wants the weather.\nI call it.",
        calls=[ROME],
    ),
    "qwen3 without": Transcript(
        HERMES, "It is <think> that Qwen writes.", "", "It is <think> that Qwen writes."
    ),
    "qwq": Transcript(HERMES, "\nHm.\n</think>\n\nSunny.\n", "Hm.", "Sunny.\n", opened=True),
    "quoting": Transcript(
        HERMES,
        "<think>\nShe asks for '</think>', or `</think>`.\n</think>\n\nIt is </think>.",
        "She asks for '</think>', or `</think>`.",
        "It is </think>.",
    ),
    "cut": Transcript(HERMES, "<think>\nI wonder ", "I wonder "),
    "coder": Transcript(
        CODER,
        "I'll look.\n<tool_call>\n<function=get_weather>\n<parameter=city>\n東京 <b>\n"
        "</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>",
        text="I'll look.",
        calls=[("get_weather", {"city": "東京 <b>", "days": 3})],
    ),
    "kimi k2 thinking": Transcript(
        KIMI,
        "<think>Weather.</think>I look.<|tool_calls_section_begin|><|tool_call_begin|>"
        'functions.get_weather:0<|tool_call_argument_begin|>{"city": "Rome"}<|tool_call_end|>'
        '<|tool_call_begin|>functions.get_weather:1<|tool_call_argument_begin|>{"city": "東京 <b>"}'
        "<|tool_call_end|><|tool_calls_section_end|>",
        "Weather.",
        "I look.",
        [ROME, TOKYO],
    ),
    "deepseek v3.1": Transcript(
        V31,
        "Weather, then.</think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
        '{"city": "Rome"}<｜tool▁call▁end｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>'
        '{"city": "東京 <b>"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        "Weather, then.",
        calls=[ROME, TOKYO],
        opened=True,
    ),
    "deepseek r1": Transcript(
        R1,
        "<think>\nWeather.\n</think>\n\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function"
        '<｜tool▁sep｜>get_weather\n```json\n{"city": "Rome"}\n```<｜tool▁call▁end｜>\n'
        '<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{"city": "東京 <b>"}\n```'
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "Weather.",
        calls=[ROME, TOKYO],
    ),
    "glm 4.5": Transcript(
        GLM,
        "\n<think>Rome.</think>\n<tool_call>get_weather\n<arg_key>city</arg_key>\n"
        "<arg_value>Rome</arg_value>\n</tool_call>\n<tool_call>get_weather\n"
        "<arg_key>city</arg_key>\n<arg_value>東京 <b></arg_value>\n<arg_key>days</arg_key>\n"
        "<arg_value>2</arg_value>\n</tool_call>",
        "Rome.",
        calls=[ROME, ("get_weather", {"city": "東京 <b>", "days": 2})],
    ),
    "minimax m2": Transcript(
        MINIMAX,
        "\nTwo cities.\n</think>\n\nI look.\n\n<minimax:tool_call>\n"
        '<invoke name="get_weather">\n<parameter name="city">Rome</parameter>\n</invoke>\n'
        '<invoke name="get_weather">\n<parameter name="city">東京 <b></parameter>\n</invoke>\n'
        "</minimax:tool_call>",
        "Two cities.",
        "I look.",
        [ROME, TOKYO],
        opened=True,
    ),
    "nemotron nano 2": Transcript(
        NEMOTRON,
        '<think>\nRome.\n</think>\n\n<TOOLCALL>[{"name": "get_weather", "arguments": '
        '{"city": "Rome"}}, {"name": "get_weather", "arguments": {"city": "東京 <b>"}}]</TOOLCALL>',
        "Rome.",
        calls=[ROME, TOKYO],
    ),
    "gpt-oss": Transcript(
        HARMONY,
        "<|channel|>analysis<|message|>Need to use function get_weather.<|end|><|start|>assistant"
        "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>"
        '{"city":"Rome"}<|call|>',
        "Need to use function get_weather.",
        calls=[ROME],
    ),
    "gpt-oss, with a preamble": Transcript(
        HARMONY,
        "<|channel|>analysis<|message|>A plan first.<|end|><|start|>assistant<|channel|>commentary"
        "<|message|>**Plan**: I look.<|end|><|start|>assistant to=functions.get_weather<|channel|>"
        'commentary json<|message|>{"city":"東京 <b>"}',
        "A plan first.",
        "**Plan**: I look.",
        [TOKYO],
    ),
    "gpt-oss, to the end": Transcript(
        HARMONY,
        '<|channel|>analysis<|message|>User asks: "What is 2 + 2?" Simple.<|end|><|start|>assistant'
        "<|channel|>final<|message|>2 + 2 = 4.<|return|>",
        'User asks: "What is 2 + 2?" Simple.',
        "2 + 2 = 4.",
    ),
    "gpt-oss, no harmony": Transcript(HARMONY, "Just text.", text="Just text."),
}
