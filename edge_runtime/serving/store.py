"""What was received and what was answered, in one SQLite file that survives a power cut.

The only memory of the server. Images are not in it: those that wait lie beside it, mode 0600, until they are answered.
What is to be told to others once an answer is kept (a line of a results file, a webhook, MQTT) is written down in the
same step as the answer, and struck off once it was told: a kill in between tells it again, and never forgets it.
Names, times and numbers by which a patient could be found are stored only where the server was started to show them.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
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
_DEVICE = "device"  # name of a fact
_ADDED = """
CREATE TABLE IF NOT EXISTS deliveries (channel TEXT, item INTEGER, line TEXT, PRIMARY KEY (channel, item)) WITHOUT ROWID
"""

_LAST = 1 << 62  # above the number of any item
# Of the pages of the file that a connection keeps in memory, kB; SQLite's own 2 MB fill up with answers that nobody
# asks for again.
_CACHE_KB = 256

# Figures of an answer that are counted by tenths of their range, by their place in its record, and where that ends.
SPANS = {"probability": 1.0, "pixels.mean": 255.0, "pixels.deviation": 127.5}


def tenths_of(figures: Sequence[float]) -> list[int]:
    """The tenth, 0 to 9, of each of the figures of SPANS, in that order: as `Store.answers_of` counts them."""
    return [min(9, int(figure * 10 / most)) for figure, most in zip(figures, SPANS.values(), strict=True)]


@dataclass(frozen=True)
class Delivery:
    """An answer that a channel has not yet told."""

    item: int  # number of the item
    line: str | None  # what to tell; None: the item as it is kept


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
        self._channels: dict[str, Callable[[], None]] = {}
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
        run(f"PRAGMA cache_size = -{_CACHE_KB}")
        if not tables:
            self._connection.executescript(f"BEGIN; PRAGMA application_id = {_APPLICATION_ID}; {_SCHEMA} COMMIT;")
        run(_ADDED)  # not there in stores of the first release

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
                with self._together(run):
                    run("UPDATE items SET state = ?, record = ? WHERE id = ?", (state, json.dumps(record), item))
                    self._note_deliveries(run, item, None)
            finally:
                run("PRAGMA synchronous = NORMAL")
        self._wake_channels()

    def answered(
        self,
        source: str,
        day: str,
        record: dict[str, Any],
        identifiers: dict[str, Any] | None,
        key: str | None = None,
        line: tuple[str, str] | None = None,
    ) -> int:
        """The number of a new item that is answered already: one write in place of three.

        Args:
            source: the way in.
            day: of today, YYYY-MM-DD.
            record: the answer.
            identifiers: what may be shown of it, or None.
            key: under which the same image is known when it comes again; None: it never is.
            line: (channel, text) of what that channel is to tell of it.
        """
        state = FAILED if "error" in record else ANSWERED
        known = None if identifiers is None else json.dumps(identifiers)
        with self._locked() as run, self._together(run):
            row = run(
                "INSERT INTO items (source, day, key, state, attempts, record, identifiers)"
                " VALUES (?, ?, ?, ?, 1, ?, ?) RETURNING id",
                (source, day, key, state, json.dumps(record), known),
            ).fetchone()
            number = int(row["id"])
            self._note_deliveries(run, number, line)
        self._wake_channels()
        return number

    def take_in(self, source: str, answers: Iterable[tuple[str, str, dict[str, Any]]]) -> int:
        """How many answers of an earlier program were new, and are kept now; nobody is told of them.

        Args:
            source: the way in.
            answers: (key, day, record) of each; keys that are known are passed over.
        """
        with self._locked() as run, self._together(run):
            before = int(run("SELECT total_changes()").fetchone()[0])
            for key, day, record in answers:
                state = FAILED if "error" in record else ANSWERED
                run(
                    "INSERT INTO items (source, day, key, state, attempts, record) VALUES (?, ?, ?, ?, 1, ?)"
                    " ON CONFLICT (key) DO NOTHING",
                    (source, day, key, state, json.dumps(record)),
                )
            return int(run("SELECT total_changes()").fetchone()[0]) - before

    def keys(self, source: str) -> Iterator[str]:
        """Keys of all items of a source."""
        last = 0
        while True:
            with self._locked() as run:
                rows = run(
                    "SELECT id, key FROM items WHERE source = ? AND id > ? AND key IS NOT NULL ORDER BY id LIMIT 1000",
                    (source, last),
                ).fetchall()
            if not rows:
                return
            yield from (str(row["key"]) for row in rows)
            last = int(rows[-1]["id"])

    def open_channel(self, channel: str, wake: Callable[[], None]) -> None:
        """From now on each answer waits in that channel until it was told; `wake` is called when one is kept."""
        self._channels[channel] = wake

    def undelivered(self, channel: str, most: int = 100, after: int = 0) -> list[Delivery]:
        """What a channel has to tell, oldest first.

        Args:
            channel: its name.
            most: answers at the most; -1: all.
            after: only items with a larger number.
        """
        with self._locked() as run:
            rows = run(
                "SELECT item, line FROM deliveries WHERE channel = ? AND item > ? ORDER BY item LIMIT ?",
                (channel, after, most),
            )
            return [Delivery(row["item"], row["line"]) for row in rows]

    def count_undelivered(self) -> dict[str, int]:
        """{channel: answers that it has not yet told}."""
        with self._locked() as run:
            found = dict.fromkeys(self._channels, 0)
            return found | {row[0]: row[1] for row in run("SELECT channel, count(*) FROM deliveries GROUP BY channel")}

    def delivered(self, channel: str, item: int) -> None:
        """A channel has told the answer of an item."""
        with self._locked() as run:
            run("DELETE FROM deliveries WHERE channel = ? AND item = ?", (channel, item))

    def item(self, number: int) -> Item | None:
        """The item of that number."""
        with self._locked() as run:
            row = run("SELECT * FROM items WHERE id = ?", (number,)).fetchone()
            return None if row is None else _item(row)

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
                (day, below or _LAST, most),
            )
            return [_item(row) for row in rows]

    def answers_of(
        self, model_sha256: str, day: str | None, first: int | None, after: int = 0, upto: int | None = None
    ) -> list[tuple[Any, ...]]:
        """(abstained, probability, mean, deviation, count) of a network's answers, figures by tenth of their range.

        Tenths are from 0 to 9: of 0 to 1, of 0 to 255, and of 0 to 127.5; None where an answer does not have it.

        Args:
            model_sha256: of the network.
            day: of that day alone, YYYY-MM-DD; None: of all.
            first: only so many, the oldest; None: all.
            after: only items with a larger number.
            upto: only items with no larger number; None: all.
        """
        figures = ", ".join(
            f"min(9, CAST(json_extract(record, '$.{path}') * 10 / {most} AS INTEGER))" for path, most in SPANS.items()
        )
        of_day = "" if day is None else "day = :day AND "  # said only where it is, so that the index by day is used
        with self._locked() as run:
            rows = run(
                f"SELECT json_extract(record, '$.decision') = 'abstain', {figures} FROM items"
                f" WHERE {of_day}id > :after AND id <= :upto AND state = :state"
                " AND json_extract(record, '$.model_sha256') = :model ORDER BY id LIMIT :first",
                {
                    "day": day,
                    "after": after,
                    "upto": _LAST if upto is None else upto,
                    "state": ANSWERED,
                    "model": model_sha256,
                    "first": -1 if first is None else first,
                },
            )
            # Not by GROUP BY: SQLite would sort all rows in memory, and a day may have many.
            counts = Counter(map(tuple, rows))
        return [(*figures_of_one, count) for figures_of_one, count in counts.items()]

    def settled(self) -> int:
        """The number up to which every item has its answer, which will not change any more."""
        with self._locked() as run:
            waiting = run("SELECT min(id) FROM items WHERE state = ?", (WAITING,)).fetchone()[0]
            return int(run("SELECT ifnull(max(id), 0) FROM items").fetchone()[0] if waiting is None else waiting - 1)

    def fact(self, name: str) -> str | None:
        """What was kept under that name."""
        with self._locked() as run:
            row = run("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
            return None if row is None else str(row["value"])

    def device(self) -> str:
        """What tells this store's numbers from those of others: drawn once."""
        found = self.fact(_DEVICE)
        if found is None:
            found = secrets.token_hex(8)
            self.keep_fact(_DEVICE, found)
        return found

    def keep_fact(self, name: str, value: str) -> None:
        """Keeps a value under a name."""
        with self._locked() as run:
            run(
                "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
            )

    def _note_deliveries(self, run: Any, item: int, line: tuple[str, str] | None) -> None:
        rows: list[tuple[str, int, str | None]] = [(channel, item, None) for channel in self._channels]
        rows += [] if line is None else [(line[0], item, line[1])]
        for row in rows:
            run("INSERT OR IGNORE INTO deliveries VALUES (?, ?, ?)", row)

    def _wake_channels(self) -> None:
        for wake in self._channels.values():
            wake()

    @contextmanager
    def _together(self, run: Any) -> Iterator[None]:
        """All or nothing of what the block writes."""
        run("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:  # a full disk has ended it already
                run("ROLLBACK")
            raise
        run("COMMIT")

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
