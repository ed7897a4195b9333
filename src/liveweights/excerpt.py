"""What is shown of a text that is too long."""

from __future__ import annotations


def shorten(text: str, most: int) -> str:
    """The beginning and the end of a text of more than ``most`` characters, and how much is cut."""
    if len(text) <= most:
        return text
    head, tail = most * 3 // 4, most // 4
    cut = len(text) - head - tail
    return f"{text[:head]}\n[... {cut} characters are cut ...]\n{text[len(text) - tail :]}"
