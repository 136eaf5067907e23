"""What all commands do alike: signals, closed streams, names in messages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

# A command that makes a folder, says so, and waits; `close` runs in it first.
COMMAND = """
import sys, time
from pathlib import Path
import click
from edge_runtime.command import Command
from edge_runtime.errors import DataError, GateError
from edge_runtime.whole_files import whole_folder

@click.command(cls=Command)
@click.argument("what")
def main(what):
    if what == "fail":
        raise DataError("a\\nb\\x1b[31m: no such file")
    if what == "table":
        raise GateError("a table\\na row\\x1b")
    if what == "say":
        open("file", "w").write("own")
        click.echo("said")
        print("said")
        return
    if what == "result":
        sys.stdout.buffer.write(b"result")
        return
    with whole_folder(Path("target")) as draft:
        (draft / "half").touch()
        print("begun", flush=True)
        time.sleep(60)

main()
"""


def start(what: str, folder, shell_suffix: str = "", **options) -> subprocess.Popen[str]:
    command = ["sh", "-c", f'exec "$0" "$@" {shell_suffix}', sys.executable, "-c", COMMAND, what]
    # Where the tests run in the background of a shell, an interrupt is ignored, and children inherit that.
    listens = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": folder} | listens | options
    return subprocess.Popen(command, **options)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_command_cleanly(tmp_path, number):
    process = start("wait", tmp_path)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr.strip()) == (130, "interrupted")
    assert not os.listdir(tmp_path)


def test_a_name_cannot_forge_a_line_of_an_error(tmp_path):
    process = start("fail", tmp_path)
    assert process.communicate()[1] == "error: a\\nb\\x1b[31m: no such file\n" and process.returncode == 2


def test_an_error_with_lines_of_its_own_keeps_them(tmp_path):
    process = start("table", tmp_path)
    assert process.communicate()[1] == "error: a table\na row\\x1b\n" and process.returncode == 4


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_neither_end_a_command_nor_get_into_its_files(tmp_path, closed):
    process = start("say", tmp_path, closed)
    _, stderr = process.communicate()
    assert (process.returncode, stderr) == (0, "") and (tmp_path / "file").read_text() == "own"


def test_a_result_that_goes_nowhere_is_a_failure(tmp_path):
    process = start("result", tmp_path, ">&-")
    assert process.communicate()[1] == "error: standard output: closed, and results go there\n"
    assert process.returncode == 6
