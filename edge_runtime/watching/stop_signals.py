"""SIGTERM and SIGINT, held back until they are asked for: no step of the work is cut in two."""

from __future__ import annotations

import signal


class Terminated(Exception):
    """SIGTERM has come: the clean end of a service."""


class StopSignals:
    """Holds the signals back while the block runs.

    To be entered before numpy and an engine are imported: threads that these start inherit what is held back, and a
    signal for the process goes to any thread that takes it.
    """

    def __enter__(self) -> StopSignals:
        self._held = {signal.SIGTERM, signal.SIGINT}
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            self._held.remove(signal.SIGINT)  # a shell starts background jobs so
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, self._held)
        return self

    def __exit__(self, *_: object) -> None:
        while signal.sigtimedwait(self._held, 0) is not None:
            pass  # asked twice: the end is under way
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def wait(self, seconds: float) -> None:
        """Returns after so many seconds; 0 asks whether a signal has come.

        Raises:
            Terminated: SIGTERM came, or had come.
            KeyboardInterrupt: SIGINT did.
        """
        came = signal.sigtimedwait(self._held, seconds)
        if came is None:
            return
        raise Terminated if came.si_signo == signal.SIGTERM else KeyboardInterrupt
