"""OpenAI's Agents SDK: an agent with a tool, over both dialects, streamed and whole."""

import asyncio
import json
import sys

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

url, dialect, streamed = sys.argv[1], sys.argv[2], sys.argv[3] == "streamed"
cities: list[str] = []


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    cities.append(city)
    return f"sunny in {city}"


async def main() -> None:
    set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=url, api_key="any", max_retries=0)
    kind = OpenAIResponsesModel if dialect == "responses" else OpenAIChatCompletionsModel
    model = kind(model="tiny", openai_client=client)
    agent = Agent(name="guide", instructions="Be brief.", tools=[get_weather], model=model)
    question = "How is the weather in Rome?"
    if streamed:
        run = Runner.run_streamed(agent, question)
        async for _ in run.stream_events():
            pass
    else:
        run = await Runner.run(agent, question)
    print(json.dumps({"text": run.final_output, "cities": cities}))


asyncio.run(main())
