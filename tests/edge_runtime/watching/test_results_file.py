"""The file that remembers what was judged: whole lines, one writer, and nothing of anyone else's is harmed."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import closing

import pytest

from edge_runtime.errors import StorageError
from edge_runtime.json_lines import encode_line
from edge_runtime.watching.results_file import ResultsFile

LINES = [encode_line({"path": f"/in/{name}.png", "probability": 0.5}) for name in ("röntgen", "b", "c" * 70_000)]


def test_lines_come_back_in_order(tmp_path):
    path = tmp_path / "results.jsonl"
    with closing(ResultsFile(path)) as results:
        assert all(results.append(line) for line in LINES)
        assert list(results.records()) == [json.loads(line) for line in LINES]
    with closing(ResultsFile(path)) as results:
        assert (results.repair, len(list(results.records()))) == ("", 3)
    assert path.read_bytes() == b"".join(LINES)


@pytest.mark.parametrize("whole", [0, 1, 2])
@pytest.mark.parametrize("lost", ["one byte", "some", "all but one byte", "zeros in their place", "all zeros"])
def test_a_line_cut_short_is_repaired(tmp_path, whole, lost):
    path = tmp_path / "results.jsonl"
    line = LINES[whole]
    rest = {
        "one byte": line[:-1],
        "some": line[: len(line) * 2 // 3],
        "all but one byte": line[:1],
        "zeros in their place": line[:20] + bytes(len(line) - 20),
        "all zeros": bytes(len(line)),
    }[lost]
    path.write_bytes(b"".join(LINES[:whole]) + rest)
    with closing(ResultsFile(path)) as results:
        assert results.repair
        assert results.append(LINES[0])
    kept = LINES[: whole + 1] if lost == "one byte" else LINES[:whole]
    assert path.read_bytes() == b"".join([*kept, LINES[0]])


def test_every_cut_of_a_line_leaves_it_whole_or_away(tmp_path):
    path, line = tmp_path / "results.jsonl", LINES[0]
    for length in range(len(line) + 1):
        path.write_bytes(line + line[:length])
        ResultsFile(path).close()
        assert path.read_bytes() == (line + line if length >= len(line) - 1 else line)


@pytest.mark.parametrize(
    "content", [b"notes of mine", b"notes\nof mine", b"\x89PNG\r\n\x1a\n", b'{"path": "x"}\nnotes']
)
def test_a_file_that_holds_something_else_is_left_alone(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(StorageError, match="something other than results"):
        ResultsFile(path)
    assert path.read_bytes() == content


def test_damage_in_the_middle_hides_no_other_line(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_bytes(LINES[0] + bytes(500) + b"\n" + b"[1]\n" + LINES[1])
    with closing(ResultsFile(path)) as results:
        assert [record["path"] for record in results.records()] == ["/in/röntgen.png", "/in/b.png"]


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path):
    path = tmp_path / "results.jsonl"
    with closing(ResultsFile(path)), pytest.raises(StorageError, match="another edge-infer writes to it"):
        ResultsFile(path)
    ResultsFile(path).close()


def test_the_lock_ends_with_its_process(tmp_path):
    code = "from edge_runtime.watching.results_file import *; import sys; "
    code += "r = ResultsFile(Path(sys.argv[1])); print(flush=True)"
    command = [sys.executable, "-c", f"{code}; input()", str(tmp_path / "r")]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    with pytest.raises(StorageError, match="another edge-infer"):
        ResultsFile(tmp_path / "r")
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    ResultsFile(tmp_path / "r").close()


@pytest.mark.parametrize("change", ["removed", "replaced", "emptied", "added to"])
def test_a_file_that_another_program_touches_is_an_error(tmp_path, change):
    path = tmp_path / "results.jsonl"
    with closing(ResultsFile(path)) as results:
        results.append(LINES[0])
        if change in ("removed", "replaced"):
            path.unlink()
        if change == "replaced":
            path.write_bytes(LINES[0])
        elif change == "emptied":
            os.truncate(path, 0)
        elif change == "added to":
            with path.open("ab") as other:
                other.write(LINES[1])
        with pytest.raises(StorageError, match="removed|changed by another program"):
            results.append(LINES[0])


@pytest.mark.parametrize("room", [1, 50])
def test_without_room_nothing_is_written_and_the_line_fits_later(tmp_path, room):
    # The limit on the size of files acts as a full disk does: some bytes are taken, then the system refuses.
    path = tmp_path / "results.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with closing(ResultsFile(path)) as results:
        results.append(LINES[0])
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(LINES[0]) + room, limits[1]))
            assert not results.append(LINES[2])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_bytes() == LINES[0]
        assert results.append(LINES[2])
    assert path.read_bytes() == LINES[0] + LINES[2]


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "absent" / "results.jsonl"):
        with pytest.raises(StorageError):
            ResultsFile(path)
