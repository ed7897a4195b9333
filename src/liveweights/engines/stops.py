"""Stop strings in a text that comes in pieces."""

from __future__ import annotations

from collections.abc import Sequence


class Stops:
    """Finds the string that is complete first; of several that are, the longest.

    Each character is looked at once for each string, whatever the pieces (Knuth, Morris and Pratt
    1977, "Fast pattern matching in strings").
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = sorted({string for string in strings if string}, key=len, reverse=True)
        self._fallbacks = [_fallbacks(string) for string in self._strings]
        self._begun = [0] * len(self._strings)

    @property
    def begun(self) -> int:
        """Length of the longest end of the text that a string begins with."""
        return max(self._begun, default=0)

    def find(self, text: str) -> tuple[int, int] | None:
        """In the next piece: where the first string ends, and its length. Not to be asked again
        then."""
        if not self._strings:
            return None
        for place, character in enumerate(text):
            for number, string in enumerate(self._strings):
                begun, fallbacks = self._begun[number], self._fallbacks[number]
                while begun and string[begun] != character:
                    begun = fallbacks[begun]
                begun += string[begun] == character
                if begun == len(string):
                    return place + 1, begun
                self._begun[number] = begun
        return None


def _fallbacks(string: str) -> list[int]:
    """For each length of a beginning: the longest shorter beginning that it ends with."""
    lengths = [0, 0]
    length = 0
    for character in string[1:-1]:
        while length and string[length] != character:
            length = lengths[length]
        length += string[length] == character
        lengths.append(length)
    return lengths
