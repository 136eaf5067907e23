"""The store remembers across processes, is nobody else's to read, and says what is wrong with a damaged file."""

from __future__ import annotations

import _sqlite3
import ctypes
import sqlite3
import stat
from pathlib import Path

import pytest

from edge_runtime.errors import StorageError
from edge_runtime.serving.store import ANSWERED, FAILED, WAITING, Store

RECORD = {"decision": "fractured", "probability": 0.9}
WRITTEN_BYTES = 32 << 10  # an image may cost an SD card so much at the most


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "state")
    yield opened
    opened.close()


def test_an_item_is_answered_once_and_remembered(store, tmp_path):
    number = store.add("folder", "2026-01-02", "key", {"name": "x"})
    assert store.add("folder", "2026-01-02", "key", None) is None
    assert (store.begin(number), store.begin(number)) == (1, 2)
    assert [(item.id, item.state, item.attempts) for item in store.waiting()] == [(number, WAITING, 2)]
    store.finish(number, RECORD)
    store.close()
    again = Store(tmp_path / "state")
    (item,) = again.of_day("2026-01-02", 10)
    assert (item.state, item.record, item.identifiers) == (ANSWERED, RECORD, {"name": "x"})
    assert again.waiting() == [] and again.of_day("2026-01-03", 10) == []
    again.close()


def test_a_failure_is_an_answer_too(store):
    store.answered("rest", "2026-01-02", {"error": {"code": "unreadable", "message": "x"}}, None)
    assert store.of_day("2026-01-02", 10)[0].state == FAILED


def test_only_its_owner_may_read_it(store):
    store.keep_fact("x", "y")
    for path in (store.path.parent, *store.path.parent.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_facts_are_replaced(store):
    assert store.fact("x") is None
    store.keep_fact("x", "1")
    store.keep_fact("x", "2")
    assert store.fact("x") == "2"


def test_a_damaged_file_is_refused_by_name(store):
    for _ in range(400):
        store.answered("rest", "2026-01-02", RECORD | {"reason": "x" * 400}, None)
    store.close()
    content = bytearray(store.path.read_bytes())
    content[4096 : len(content) // 2] = b"\xff" * (len(content) // 2 - 4096)
    store.path.write_bytes(content)
    with pytest.raises(StorageError, match="damaged"):
        Store(store.path.parent)


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be read as one" * 40, None])
def test_a_file_of_another_program_is_left_alone(tmp_path, content):
    path = tmp_path / "store.sqlite"
    if content is None:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE theirs (x)")
        connection.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(StorageError, match="another program|damaged"):
        Store(tmp_path)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        Store(tmp_path / "file" / "state")


@pytest.mark.parametrize("told", ["nobody", "webhook", "results"])
def test_an_answer_wears_an_sd_card_little(store, told):
    def written() -> int:
        lines = Path("/proc/self/io").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))

    if not Path("/proc/self/io").exists():
        pytest.skip("this system does not tell what a process writes")
    record = RECORD | {"reason": "probability at or above threshold", "model": "m" * 64, "sha256": "0" * 64}
    if told == "webhook":
        store.open_channel(told, lambda: None)
    before = written()
    for number in range(1000):
        line = ("results", "x" * 700) if told == "results" else None
        item = store.answered("folder", "2026-01-02", record, None, f"folder:{number:016x}", line)
        if told != "nobody":
            store.delivered(told, item)
    store.close()
    assert (written() - before) / 1000 <= WRITTEN_BYTES


def test_what_is_to_be_told_waits_until_it_was_told_across_starts(store):
    woken: list[str] = []
    before = store.answered("rest", "2026-01-02", RECORD, None)  # nobody was to be told of it
    store.open_channel("webhook", lambda: woken.append("webhook"))
    first = store.answered("rest", "2026-01-02", RECORD, None)
    second = store.add("dicom", "2026-01-02", "key", None)
    store.finish(second, RECORD, durable=True)
    assert len(woken) == 2 and before not in {one.item for one in store.undelivered("webhook")}
    assert [one.item for one in store.undelivered("webhook")] == [first, second]
    assert [one.item for one in store.undelivered("webhook", after=first)] == [second]
    store.delivered("webhook", first)
    store.close()
    again = Store(store.path.parent)
    assert again.count_undelivered() == {"webhook": 1} and again.item(second).record == RECORD
    again.close()


def test_answers_of_an_earlier_program_are_taken_in_once(store):
    store.open_channel("webhook", lambda: None)
    answers = [("folder:1", "2025-01-01", RECORD), ("folder:2", "2025-01-02", {"error": {"code": "x", "message": ""}})]
    assert store.take_in("folder", iter(answers)) == 2 and store.take_in("folder", answers) == 0
    assert sorted(store.keys("folder")) == ["folder:1", "folder:2"] and list(store.keys("rest")) == []
    assert store.of_day("2025-01-02", 10)[0].state == FAILED and store.undelivered("webhook") == []


def test_a_store_of_the_first_release_is_used_on(store):
    number = store.answered("rest", "2026-01-02", RECORD, None)
    store.close()
    with sqlite3.connect(store.path) as connection:
        connection.execute("DROP TABLE deliveries")
    connection.close()
    again = Store(store.path.parent)
    again.open_channel("webhook", lambda: None)
    assert again.item(number).record == RECORD and again.answered("rest", "2026-01-02", RECORD, None) == number + 1
    assert [one.item for one in again.undelivered("webhook")] == [number + 1]
    again.close()


def test_memory_does_not_grow_with_the_answers_that_are_kept(store):
    sqlite = ctypes.CDLL(_sqlite3.__file__)  # its own count of bytes, with those of SQLite beneath it
    most = sqlite.sqlite3_memory_highwater
    most.restype = ctypes.c_int64
    record = {"probability": 0.5, "decision": "fractured", "model_sha256": "ab" * 32, "filling": "x" * 500}
    most(1)
    before = most(0)
    store.take_in("folder", ((str(number), "2026-01-01", record) for number in range(5000)))
    for key in range(0, 5000, 50):
        store.state_of(str(key))
    assert sum(row[-1] for row in store.answers_of("ab" * 32, "2026-01-01", None)) == 5000
    assert most(0) - before < 600_000  # SQLite keeps 2 MB of pages by itself, and sorts 5,000 rows in another
