"""Text as it is searched and sorted: without case, accents and punctuation."""

import re
import unicodedata

_WORD = re.compile(r"\w+")


def folded(text: str) -> str:
    """`Ängström` and `angstrom` become the same."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(part for part in parts if not unicodedata.combining(part))


def words(text: str) -> tuple[str, ...]:
    """The folded words of a text, each once, in order of the alphabet."""
    return tuple(sorted(set(_WORD.findall(folded(text)))))
