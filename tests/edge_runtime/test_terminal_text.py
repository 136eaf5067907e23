"""Names that would steer a terminal or forge a line are shown as escapes."""

from __future__ import annotations

import pytest

from edge_runtime.terminal_text import escaped, escaped_lines


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\x1b[31m.png", r"a\x1b[31m.png"),
        ("b\nnot fractured  0.001  c.png", r"b\nnot fractured  0.001  c.png"),
        ("\r\t\x07\x7f\x85", r"\r\t\x07\x7f\x85"),
        ("gnp.\u202egpj", r"gnp.\u202egpj"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("R\udcf6ntgen.jpg", r"R\udcf6ntgen.jpg"),
        ("Röntgen 肺 📷.png", "Röntgen 肺 📷.png"),
        (r"C:\files\n", r"C:\files\n"),
    ],
)
def test_a_name_becomes_one_line_that_any_terminal_shows(name, shown):
    assert escaped(name) == shown


def test_text_keeps_its_own_lines_and_columns():
    assert escaped_lines("a\tb\x1b\n\u202ec") == "a\tb\\x1b\n\\u202ec"
