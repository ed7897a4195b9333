"""A completion product in small: ask, show, and say what became of it.

    pip install openai
    python examples/complete.py

`OPENAI_BASE_URL` and `OPENAI_API_KEY` say where the service is, as for any OpenAI client.
"""

import os
import uuid

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8090/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "none"),
)


def react(generation: str, signal: str, **said: str | int) -> None:
    """It returned: the feedback is durable. The id makes sending it twice harmless."""
    body = {"generation": generation, "signal": signal, "id": uuid.uuid4().hex, **said}
    client.post("/feedback", body=body, cast_to=object, options={"max_retries": 5})


def main() -> None:
    answer = client.completions.create(
        model="code",
        prompt="def area(width, height):\n    return",
        max_tokens=24,
        temperature=0,
        stop=["\n"],
        user="u-17",
        # The session stays on one side of a canary; the surface is where it was shown.
        extra_body={"metadata": {"session": "s-4", "surface": "editor", "language": "python"}},
    )
    text = answer.choices[0].text
    print(f"{answer.model_extra['checkpoint']} suggests {text!r}")
    if text.strip() == "width * height":
        react(answer.id, "accepted")
    else:
        react(answer.id, "rejected")
        react(answer.id, "correction", text=" width * height")

    stream = client.chat.completions.create(
        model="code",
        messages=[{"role": "user", "content": "Say hello in one word."}],
        max_tokens=16,
        stream=True,
        extra_body={"metadata": {"session": "s-5", "surface": "chat"}},
    )
    generation = ""
    for chunk in stream:
        generation = chunk.id
        print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()
    react(generation, "thumbs", value=1)
    react(generation, "comment", text="short, as I asked")
    print("recorded")


if __name__ == "__main__":
    main()
