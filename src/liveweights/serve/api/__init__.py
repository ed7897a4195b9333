"""OpenAI's HTTP dialect, pure ASGI."""
