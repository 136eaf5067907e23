"""What was received and what was answered, in one SQLite file that survives a power cut.

The only memory of the server. Images are not in it: those that wait lie beside it, mode 0600, until they are answered.
Names, times and numbers by which a patient could be found are stored only where the server was started to show them.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.errors import StorageError

WAITING, ANSWERED, FAILED = "waiting", "answered", "failed"

_APPLICATION_ID = 0x46524143  # marks the file as ours, in SQLite's own header
_SCHEMA = """
CREATE TABLE items (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    key TEXT UNIQUE,
    day TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    record TEXT,
    identifiers TEXT
);
CREATE INDEX items_by_day ON items (day, id);
CREATE INDEX items_waiting ON items (state) WHERE state = 'waiting';
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Item:
    """One image that was received."""

    id: int  # counts from 1
    source: str  # `page`, `rest`, or another way in
    day: str  # on which it was received, YYYY-MM-DD, of the device's clock
    state: str  # WAITING, ANSWERED or FAILED
    attempts: int  # how often a process began to judge it
    record: dict[str, Any] | None  # as edge-infer prints it; None while it waits
    identifiers: dict[str, Any] | None  # time, name and the like; None unless they are to be shown
    key: str | None = None  # under which the same image is known when it comes again

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types."""
        return {"id": self.id, "source": self.source, "day": self.day, "state": self.state} | {
            "result": self.record,
            "identifiers": self.identifiers,
        }


class Store:
    """An open store. Its methods may be called from any thread.

    Args:
        folder: of the store; made where it is missing, mode 0700.

    Raises:
        StorageError: the folder cannot be written, or what lies there is no store of ours, or a damaged one.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store.sqlite"
        self._lock = threading.Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Before SQLite makes it: its files take over the mode of the first.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be written: {error.strerror}") from error
        with self._translated():
            self._connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
            self._connection.row_factory = sqlite3.Row
            self._prepare()

    def _prepare(self) -> None:
        run = self._connection.execute
        found = run("PRAGMA application_id").fetchone()[0]
        tables = run("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and found != _APPLICATION_ID:
            raise StorageError(f"{self.path}: is a database of another program; give another --state")
        if run("PRAGMA quick_check").fetchone()[0] != "ok":
            raise StorageError(f"{self.path}: is damaged; move it away and start again, which begins a new one")
        run("PRAGMA journal_mode = WAL")
        # With a write-ahead log, NORMAL never corrupts the file; a power cut may take back the last answers alone.
        run("PRAGMA synchronous = NORMAL")
        if not tables:
            self._connection.executescript(f"BEGIN; PRAGMA application_id = {_APPLICATION_ID}; {_SCHEMA} COMMIT;")

    def close(self) -> None:
        """Closes the file; its write-ahead log is folded in."""
        with self._lock:
            self._connection.close()

    def add(self, source: str, day: str, key: str | None, identifiers: dict[str, Any] | None) -> int | None:
        """The number of a new item that waits; None where one with that key is there already.

        Args:
            source: the way in.
            day: of today, YYYY-MM-DD.
            key: under which the same image is known when it comes again; None: it never is.
            identifiers: what may be shown of it, or None.
        """
        with self._locked() as run:
            row = run(
                "INSERT INTO items (source, day, key, state, identifiers) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (key) DO NOTHING RETURNING id",
                (source, day, key, WAITING, None if identifiers is None else json.dumps(identifiers)),
            ).fetchone()
            return None if row is None else int(row["id"])

    def begin(self, item: int) -> int:
        """How often this item has been begun, this time included."""
        with self._locked() as run:
            row = run("UPDATE items SET attempts = attempts + 1 WHERE id = ? RETURNING attempts", (item,)).fetchone()
            return int(row["attempts"])

    def finish(self, item: int, record: dict[str, Any], durable: bool = False) -> None:
        """Keeps the answer of an item.

        Args:
            item: its number.
            record: the answer.
            durable: return only once it is on the disk, with all that was kept before.
        """
        state = FAILED if "error" in record else ANSWERED
        with self._locked() as run:
            if durable:
                run("PRAGMA synchronous = FULL")
            try:
                run("UPDATE items SET state = ?, record = ? WHERE id = ?", (state, json.dumps(record), item))
            finally:
                run("PRAGMA synchronous = NORMAL")

    def answered(self, source: str, day: str, record: dict[str, Any], identifiers: dict[str, Any] | None) -> int:
        """The number of a new item that is answered already: one write in place of three."""
        state = FAILED if "error" in record else ANSWERED
        known = None if identifiers is None else json.dumps(identifiers)
        with self._locked() as run:
            row = run(
                "INSERT INTO items (source, day, state, attempts, record, identifiers) VALUES (?, ?, ?, 1, ?, ?)"
                " RETURNING id",
                (source, day, state, json.dumps(record), known),
            ).fetchone()
            return int(row["id"])

    def waiting(self) -> list[Item]:
        """Items without an answer, oldest first."""
        with self._locked() as run:
            return [_item(row) for row in run("SELECT * FROM items WHERE state = ? ORDER BY id", (WAITING,))]

    def next_waiting(self, source: str) -> Item | None:
        """The item of a source that has waited longest."""
        with self._locked() as run:
            row = run(
                "SELECT * FROM items WHERE state = ? AND source = ? ORDER BY id LIMIT 1", (WAITING, source)
            ).fetchone()
            return None if row is None else _item(row)

    def count_waiting(self, source: str) -> int:
        """How many items of a source have no answer."""
        with self._locked() as run:
            found = run("SELECT count(*) FROM items WHERE state = ? AND source = ?", (WAITING, source)).fetchone()
            return int(found[0])

    def state_of(self, key: str) -> str | None:
        """The state of the item of that key; None where there is none."""
        with self._locked() as run:
            row = run("SELECT state FROM items WHERE key = ?", (key,)).fetchone()
            return None if row is None else str(row["state"])

    def is_waiting(self, item: int) -> bool:
        """Whether the item of that number has no answer yet."""
        with self._locked() as run:
            row = run("SELECT state FROM items WHERE id = ?", (item,)).fetchone()
            return row is not None and row["state"] == WAITING

    def of_day(self, day: str, most: int, below: int | None = None) -> list[Item]:
        """Items of a day, newest first.

        Args:
            day: YYYY-MM-DD.
            most: items at the most.
            below: only items with a smaller number, for the next page.
        """
        with self._locked() as run:
            rows = run(
                "SELECT * FROM items WHERE day = ? AND id < ? ORDER BY id DESC LIMIT ?",
                (day, below or 1 << 62, most),
            )
            return [_item(row) for row in rows]

    def answers_of(self, model_sha256: str, day: str | None, first: int | None) -> tuple[tuple[int, ...], int]:
        """(decided images by tenth of probability, images without a decision) of a network's answers.

        Args:
            model_sha256: of the network.
            day: of that day alone, YYYY-MM-DD; None: of all.
            first: only so many, the oldest; None: all.
        """
        chosen = (
            "SELECT json_extract(record, '$.probability') AS p, json_extract(record, '$.decision') AS d FROM items"
            " WHERE state = ? AND json_extract(record, '$.model_sha256') = ? AND (? IS NULL OR day = ?)"
            " ORDER BY id LIMIT ?"
        )
        with self._locked() as run:
            rows = run(
                f"SELECT d = 'abstain' AS abstained, min(9, CAST(p * 10 AS INTEGER)) AS tenth, count(*) AS n"
                f" FROM ({chosen}) GROUP BY 1, 2",
                (ANSWERED, model_sha256, day, day, -1 if first is None else first),
            ).fetchall()
        tenths = [0] * 10
        for row in rows:
            if not row["abstained"]:
                tenths[row["tenth"]] += row["n"]
        return tuple(tenths), sum(row["n"] for row in rows if row["abstained"])

    def fact(self, name: str) -> str | None:
        """What was kept under that name."""
        with self._locked() as run:
            row = run("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
            return None if row is None else str(row["value"])

    def keep_fact(self, name: str, value: str) -> None:
        """Keeps a value under a name."""
        with self._locked() as run:
            run(
                "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
            )

    @contextmanager
    def _locked(self) -> Iterator[Any]:
        with self._lock, self._translated():
            yield self._connection.execute

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            what = "is damaged" if "malformed" in str(error) or "not a database" in str(error) else "cannot be used"
            raise StorageError(f"{self.path}: {what}: {error}; move it away to begin a new one") from error


def _item(row: sqlite3.Row) -> Item:
    record, identifiers = (None if row[name] is None else json.loads(row[name]) for name in ("record", "identifiers"))
    return Item(row["id"], row["source"], row["day"], row["state"], row["attempts"], record, identifiers, row["key"])
