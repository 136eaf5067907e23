"""Sends on what is kept until its receiver has said that it has it: one thread a receiver, and pauses that grow."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable

from edge_runtime.errors import StorageError
from edge_runtime.serving.store import Item, Store

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 300.0  # doubled at each failure


class Sender(threading.Thread):
    """A thread that sends until nothing is left, and then waits.

    Args:
        name: of the receiver, for the log.
        what: that is sent, for the log.
        tell: for a line to the log.
    """

    def __init__(self, name: str, what: str, tell: Callable[[str], None]) -> None:
        super().__init__(name=f"send to {name}", daemon=True)
        self._receiver, self._what, self._tell = name, what, tell
        self._wake, self._ending = threading.Event(), threading.Event()

    @abstractmethod
    def _send_all(self) -> str | None:
        """Sends what waits; what went wrong, None where nothing is left. Ends early where `_ending` is set."""

    def wake(self) -> None:
        """Something waits."""
        self._wake.set()

    def stop(self) -> None:
        """Ends; what was not sent is sent after the next start."""
        self._ending.set()
        self._wake.set()
        self.join()

    def run(self) -> None:
        pause = _FIRST_PAUSE_S
        while not self._ending.is_set():
            self._wake.clear()
            problem = self._send_all()
            if problem is None:
                if pause > _FIRST_PAUSE_S:
                    self._tell(f"{self._receiver}: is there again")
                pause = _FIRST_PAUSE_S
                self._wake.wait()
                continue
            if pause == _FIRST_PAUSE_S and not self._ending.is_set():
                self._tell(f"{self._receiver}: {problem}; {self._what} are kept and sent again")
            self._ending.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)


class NotSent(Exception):
    """The receiver has not taken an answer; its text says why.

    Attributes:
        is_refusal: it was reached, and the next answers may be taken.
    """

    def __init__(self, why: str, is_refusal: bool = False) -> None:
        super().__init__(why)
        self.is_refusal = is_refusal


class AnswerSender(Sender):
    """Sends each answer of the store, whatever way its image came in.

    Args:
        store: of the answers.
        channel: name of the receiver in the store.
        name: of the receiver, for the log.
        tell: for a line to the log.
    """

    def __init__(self, store: Store, channel: str, name: str, tell: Callable[[str], None]) -> None:
        super().__init__(name, "answers", tell)
        self._store, self._channel = store, channel
        store.open_channel(channel, self.wake)

    @abstractmethod
    def _send(self, item: Item) -> None:
        """Returns once the receiver has said that it has the answer.

        Raises:
            NotSent: it has not.
        """

    def _send_all(self) -> str | None:
        problem, after = None, 0
        try:
            while (waiting := self._store.undelivered(self._channel, after=after)) and not self._ending.is_set():
                for delivery in waiting:
                    after = delivery.item
                    item = self._store.item(delivery.item)
                    try:
                        if self._ending.is_set():
                            return problem
                        if item is not None:
                            self._send(item)
                        self._store.delivered(self._channel, delivery.item)
                    except NotSent as error:
                        problem = str(error)
                        if not error.is_refusal:
                            return problem
        except StorageError as error:
            return str(error)
        return problem
