"""File names and other people's text on a terminal: what would steer it or forge a line is shown as an escape.

A file may be named with a line feed and a result of its own, with the codes that colour or rename a terminal, or with
marks that turn the direction of writing. JSON output holds names as they are, by its own escapes.
"""

from __future__ import annotations

import unicodedata

# Of Unicode: control characters, marks without a picture (direction of writing among them), the separators of lines and
# of paragraphs, and halves of pairs, which stand for the bytes of a name that is no text.
_ESCAPED = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})


def escaped(text: str) -> str:
    r"""The text as one line that any terminal can show: `a\x1b[31m.png`, `R\udcf6ntgen.jpg`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def escaped_lines(text: str) -> str:
    """The same of text that has lines and columns of its own: line feeds and tabs stay."""
    return "\n".join("\t".join(map(escaped, line.split("\t"))) for line in text.split("\n"))


def one_line(error: object) -> str:
    """What somebody else's error says, its lines joined."""
    return " ".join(str(error).split())


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _ESCAPED:
        return character
    return character.encode("ascii", "backslashreplace").decode() if ord(character) > 0x7F else _short(character)


def _short(character: str) -> str:
    return repr(character)[1:-1]
