"""LlamaIndex's OpenAILike: a tool is called and its answer is told, streamed and whole."""

import json
import sys

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike

url, streamed = sys.argv[1], sys.argv[3] == "streamed"
cities: list[str] = []


def get_weather(city: str) -> str:
    """The weather in a city."""
    cities.append(city)
    return f"sunny in {city}"


model = OpenAILike(
    model="tiny",
    api_base=url,
    api_key="any",
    is_chat_model=True,
    is_function_calling_model=True,
    context_window=100_000,
    max_retries=0,
)
tool = FunctionTool.from_defaults(get_weather)
messages = [ChatMessage(role="user", content="How is the weather in Rome?")]
while True:
    if streamed:
        *_, answer = model.stream_chat_with_tools([tool], chat_history=messages)
    else:
        answer = model.chat_with_tools([tool], chat_history=messages)
    messages.append(answer.message)
    calls = model.get_tool_calls_from_response(answer, error_on_no_tool_call=False)
    if not calls:
        break
    for call in calls:
        told = str(tool(**call.tool_kwargs))
        more = {"tool_call_id": call.tool_id}
        messages.append(ChatMessage(role="tool", content=told, additional_kwargs=more))
print(json.dumps({"text": answer.message.content, "cities": cities}))
