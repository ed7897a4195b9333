"""LangChain's ChatOpenAI: a tool is called and its answer is told, streamed and whole."""

import json
import sys

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

url, dialect, streamed = sys.argv[1], sys.argv[2], sys.argv[3] == "streamed"
cities: list[str] = []


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    cities.append(city)
    return f"sunny in {city}"


model = ChatOpenAI(
    model="tiny",
    base_url=url,
    api_key="any",
    max_retries=0,
    use_responses_api=dialect == "responses",
).bind_tools([get_weather])
messages = [HumanMessage("How is the weather in Rome?")]
while True:
    if streamed:
        answer = None
        for chunk in model.stream(messages):
            answer = chunk if answer is None else answer + chunk
    else:
        answer = model.invoke(messages)
    messages.append(answer)
    if not answer.tool_calls:
        break
    for call in answer.tool_calls:
        messages.append(ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]))
text = answer.text() if callable(answer.text) else answer.text
print(json.dumps({"text": text, "cities": cities}))
