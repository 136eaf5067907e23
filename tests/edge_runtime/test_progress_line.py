"""The line of progress is seen on a terminal alone, shares no line with an answer, and is gone at the end."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.progress_line import LEAST, ProgressLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Seconds that pass where a test lets them."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def screen(text: str) -> list[str]:
    """The lines of a terminal to which the text was written."""
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


def test_the_time_left_is_that_of_the_images_so_far():
    terminal, clock = Terminal(), Clock()
    with ProgressLine(40, terminal, clock) as line:
        for _ in range(10):
            clock.now += 0.5
            line.add({})
        assert screen(terminal.getvalue())[-1].startswith(
            "10 of 40 [#####---------------] 2.0 images a second, 0:15 left"
        )
        clock.now += 3 * 3600
        line.add({})
        assert re.search(r", \d:\d\d:\d\d left", screen(terminal.getvalue())[-1])
    assert screen(terminal.getvalue()) == [""]


def test_a_line_that_is_printed_stands_alone():
    terminal = Terminal()
    with ProgressLine(20, terminal) as line:
        for number in range(20):
            line.clear()
            terminal.write(f"answer {number}\n")
            line.add({})
    assert screen(terminal.getvalue()) == [*(f"answer {number}" for number in range(20)), ""]


@pytest.mark.parametrize(("total", "kind"), [(LEAST - 1, Terminal), (1000, io.StringIO)])
def test_few_images_or_no_terminal_get_none(total, kind):
    stream = kind()
    with ProgressLine(total, stream) as line:
        for _ in range(total):
            line.add({})
    assert stream.getvalue() == ""


def test_a_narrow_terminal_is_not_overrun(monkeypatch):
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((30, 10)))
    terminal = Terminal()
    with ProgressLine(20, terminal) as line:
        line.add({})
        assert len(screen(terminal.getvalue())[-1]) < 30


def test_a_terminal_that_goes_away_ends_nothing():
    terminal = Terminal()
    line = ProgressLine(20, terminal)
    line.add({})
    terminal.close()
    line.clear()
    line.add({})


def test_edge_infer_tells_it_on_a_terminal_and_keeps_the_answers_clean(tiny_bundle, golden_images, tmp_path):
    for number in range(LEAST):
        (tmp_path / f"{number}.png").write_bytes(golden_images[number % len(golden_images)].read_bytes())
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "edge_runtime.cli", "--model", str(tiny_bundle), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave, env=environment) as process:
        os.close(slave)
        told = b""
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # how Linux tells that the other end is closed
                break
            if not part:
                break
            told += part
        answers = process.stdout.read().decode()
    os.close(master)
    assert process.returncode == 1
    assert len(answers.splitlines()) == LEAST and "\r" not in answers and " left" not in answers
    text = told.decode()
    assert f" of {LEAST + 1} [" in text and "left" in text
    lines = [line for line in screen(text) if line]
    assert lines[0].startswith("error: ") and "broken.png" in lines[0]
    assert lines[-1].startswith(f"{LEAST + 1} images: ") and not any(" left" in line for line in lines)
