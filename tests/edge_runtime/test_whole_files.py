"""Files and folders that appear whole or not at all, and what killed processes leave."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from edge_runtime import whole_files
from edge_runtime.drafts import new_draft_folder, scratch_folder, temporary_files_of
from edge_runtime.errors import DataError
from edge_runtime.whole_files import whole_file, whole_folder, write_whole

# Begins a draft, says so, and waits to be killed.
HOLDER = """
import sys, time
from pathlib import Path
from edge_runtime.drafts import new_draft_folder
path, _ = new_draft_folder(Path(sys.argv[1]))
(path / "half").write_text("half")
print(path, flush=True)
time.sleep(60)
"""
# Dies right after the n-th rename of a folder that replaces another, where the system knows no exchange.
DIES_BETWEEN = """
import os, signal, sys
from pathlib import Path
from edge_runtime import whole_files
rename, left = os.rename, [int(sys.argv[2])]
def rename_then_die(*names):
    rename(*names)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
whole_files.exchange = lambda *names: False
os.rename = rename_then_die
with whole_files.whole_folder(Path(sys.argv[1]), lambda folder: True) as draft:
    (draft / "new").touch()
"""


def names(folder: Path) -> set[str]:
    return set(os.listdir(folder))


def is_ours(folder: Path) -> bool:
    return names(folder) <= {"old", "new"}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").touch()
    return target


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path):
    for content in ("first", "second\udcf6"):
        write_whole(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == b"second\xf6" and names(tmp_path) == {"file"}


def test_a_failure_leaves_the_earlier_file(tmp_path):
    write_whole(tmp_path / "file", "first")
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "file") as draft:
        draft.write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "file").read_text() == "first" and names(tmp_path) == {"file"}


def test_a_new_file_has_the_mode_that_the_user_set(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "file", "")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_folder_of_ours_is_replaced_whole(old, can_exchange, monkeypatch):
    if not can_exchange:
        monkeypatch.setattr(whole_files, "exchange", lambda *names: False)
    with whole_folder(old, is_ours) as draft:
        (draft / "new").touch()
        assert names(old) == {"old"}
    assert names(old) == {"new"} and names(old.parent) == {"target"}


def test_the_kernel_exchanges_two_folders_here(old, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    if not whole_files.exchange(old, other):
        pytest.skip("this file system cannot exchange two names")
    assert names(other) == {"old"} and not names(old)


@pytest.mark.parametrize("can_exchange", [True, False])
def test_what_somebody_puts_into_the_target_meanwhile_is_not_lost(old, can_exchange, monkeypatch):
    if not can_exchange:
        monkeypatch.setattr(whole_files, "exchange", lambda *names: False)
    with pytest.raises(DataError, match="nothing was overwritten"), whole_folder(old, is_ours) as draft:
        (draft / "new").touch()
        (old / "thesis.txt").touch()
    assert names(old) == {"old", "thesis.txt"} and names(old.parent) == {"target"}


@pytest.mark.parametrize("tells", [None, is_ours])
def test_a_foreign_folder_is_refused_before_anything_is_made(tmp_path, tells):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "thesis.txt").touch()
    with pytest.raises(DataError), whole_folder(tmp_path / "target", tells):
        pytest.fail("the block was entered")
    assert names(tmp_path) == {"target"} and names(tmp_path / "target") == {"thesis.txt"}


def test_a_link_to_a_folder_stays_a_link(old, tmp_path):
    (tmp_path / "link").symlink_to("target")
    with whole_folder(tmp_path / "link", is_ours) as draft:
        (draft / "new").touch()
    assert (tmp_path / "link").is_symlink() and names(old) == {"new"}


@pytest.mark.parametrize(("renames", "left"), [(1, {"old"}), (2, {"new"})])
def test_a_kill_between_two_renames_is_mended_at_the_next_start(old, renames, left):
    assert run(DIES_BETWEEN, old, renames).returncode == -9
    whole_files.recover_folder(old)
    assert names(old) == left and names(old.parent) == {"target"}


def test_drafts_of_killed_processes_go_and_those_of_living_ones_stay(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "a"], stdout=subprocess.PIPE, text=True)
    try:
        draft = Path(holder.stdout.readline().strip())
        write_whole(tmp_path / "b", "")
        assert (draft / "half").is_file()
    finally:
        holder.kill()
        holder.communicate()
    write_whole(tmp_path / "b", "")
    assert names(tmp_path) == {"b"}


def test_a_draft_of_an_earlier_version_goes_where_its_process_is_gone(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for process in (gone.pid, os.getpid()):
        (tmp_path / f".bundle.{process}.draft").mkdir()
    write_whole(tmp_path / "b", "")
    assert names(tmp_path) == {"b", f".bundle.{os.getpid()}.draft"}


def test_what_only_looks_like_a_draft_stays(tmp_path):
    kept = {".notes.draft", ".a.xyz.draft", "a.x0123456789abcdef.draft"}
    for name in kept:
        (tmp_path / name).touch()
    (tmp_path / ".link.x0123456789abcdef.draft").symlink_to(tmp_path / ".notes.draft")
    write_whole(tmp_path / "b", "")
    assert kept <= names(tmp_path)


def test_a_file_system_without_locks_keeps_every_draft(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.ENOTSUP, "no locks")

    monkeypatch.setattr("edge_runtime.drafts.fcntl.flock", refuse)
    draft, held = new_draft_folder(tmp_path / "a")
    os.close(held)
    write_whole(tmp_path / "b", "content")
    assert names(tmp_path) == {"b", draft.name}


def test_scratch_folders_of_killed_processes_go_at_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = HOLDER.replace("time.sleep(60)", "")
    assert run(code, tmp_path / "edge-export").returncode == 0
    assert len(names(tmp_path)) == 1
    with scratch_folder("package") as folder:
        assert names(tmp_path) == {folder.name} and folder.stat().st_mode & 0o777 == 0o700
    assert not names(tmp_path)


def test_temporary_files_of_a_command_and_of_its_children_lie_in_one_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("TMPDIR", raising=False)
    with temporary_files_of("export"):
        (folder,) = tmp_path.iterdir()
        assert Path(tempfile.mkdtemp()).parent == folder
        child = run("import tempfile; print(tempfile.mkdtemp())")
        assert Path(child.stdout.strip()).parent == folder
    assert not names(tmp_path) and "TMPDIR" not in os.environ
