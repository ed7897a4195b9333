"""OpenAI's Responses API, on top of the same generation as chat."""
